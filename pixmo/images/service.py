"""Images and their sources in the database. What a worker found becomes rows here, in the order of the sources."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pixmo.clock import now
from pixmo.database import WriteSession
from pixmo.errors import NotFound
from pixmo.ids import new_id
from pixmo.images.clusters import ClusterIndex
from pixmo.images.models import Image, ImageSource
from pixmo.images.normalise import BadImage
from pixmo.images.sources import Item, Meta


class NoSuchImage(NotFound):
    code = "image_unknown"


@dataclass(frozen=True)
class Outcome:
    """What became of an item: the columns of its image (`Workers.run`), or why there is none."""

    item: Item
    found: dict[str, Any] | BadImage


@dataclass(frozen=True)
class Known:
    """A source that was offered before. `image_id` is None if it was refused."""

    image_id: str | None
    reason: str
    detail: str
    missing: frozenset[str]
    """The fields of `Meta` that its image lacks."""


def get_image(session: Session, image_id: str) -> Image:
    """The image with this id. Raises `NoSuchImage`."""
    image = session.get(Image, image_id)
    if image is None:
        raise NoSuchImage(f"There is no image {image_id}.")
    return image


def count_images(session: Session) -> int:
    return session.execute(select(func.count()).select_from(Image)).scalar_one()


def image_url(sha256: str) -> str:
    """The address at which the server shows a stored image: an image's `served`, `web` or `thumb` version."""
    return f"/api/images/{sha256}"


def known_sources(session: Session, keys: Collection[str]) -> dict[str, Known]:
    """Those of `keys` that were offered before."""
    rows = session.execute(
        select(ImageSource, Image).outerjoin(Image, Image.id == ImageSource.image_id).where(ImageSource.key.in_(keys))
    )
    return {
        source.key: Known(
            source.image_id,
            source.reason or "",
            source.detail or "",
            frozenset(name for name in vars(Meta()) if image is not None and getattr(image, name) is None),
        )
        for source, image in rows
    }


def fill_missing(image: Image, meta: Meta) -> None:
    """Note what `meta` knows of an image and its row does not. What is there stays."""
    for name, value in vars(meta).items():
        if value is not None and getattr(image, name) is None:
            setattr(image, name, value)


def record(session: WriteSession, index: ClusterIndex, outcomes: Sequence[Outcome]) -> int:
    """Write the rows of `outcomes`, in their order, and return how many images are new.

    Bytes that the store has already, from whichever source, become no second image.
    """
    images = _images(session, (one.found["sha256"] for one in outcomes if isinstance(one.found, dict)))
    new = 0
    sources: list[ImageSource] = []
    for outcome in outcomes:
        item, found = outcome.item, outcome.found
        source = ImageSource(key=item.key, name=item.name, seen_at=now(), image_id=None, reason=None, detail=None)
        sources.append(source)
        if isinstance(found, BadImage):
            source.reason, source.detail = found.reason, found.detail
            continue
        image = images.get(found["sha256"])
        if image is None:
            image = Image(**found, **vars(item.meta), id=new_id(), created_at=now())
            image.cluster_id = index.join(session, image.id, image.pixel_sha256, image.pdq, image.pdq_quality)
            session.add(image)
            images[image.sha256] = image
            new += 1
        else:
            fill_missing(image, item.meta)
        source.image_id = image.id
    session.flush()
    for source in sources:
        session.merge(source)
    return new


def _images(session: Session, digests: Iterable[str]) -> dict[str, Image]:
    rows = session.execute(select(Image).where(Image.sha256.in_(list(digests))))
    return {image.sha256: image for image in rows.scalars()}
