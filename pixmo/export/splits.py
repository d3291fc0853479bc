"""Splits: by near-duplicate cluster, the same in all data sets, and for ever.

An image gets its split when it is first exported, from a hash of its cluster; it keeps it. A later image that
resembles images of two splits stands in none: moving those would spoil every model that was tested on them, and
publishing it would show the same picture in training and in the test.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import aliased

from pixmo.campaigns.models import Campaign
from pixmo.database import ReadSession, WriteSession
from pixmo.errors import Conflict, NotFound
from pixmo.export.models import ImageSplit, Split
from pixmo.images.models import Image
from pixmo.settings import Settings
from pixmo.tasks.models import Task

SALT = "pixmo-split-v1"
_BATCH = 5_000


class SplitTaken(Conflict):
    """The image, or one that resembles it, stands in another split already."""

    code = "split_taken"
    title = "An image never changes its split"


def shares_of(settings: Settings) -> dict[str, float]:
    """The shares of the splits for evaluation; the rest is `train`."""
    return {"validation": settings.split_validation, "test": settings.split_test}


def split_of(group: str, shares: Mapping[str, float]) -> str:
    """The split of a group, by its hash alone: the same on every machine, whatever else is stored."""
    place = int.from_bytes(hashlib.sha256(f"{SALT}:{group}".encode()).digest()[:8]) / 2**64
    for name, share in shares.items():
        if place < share:
            return name
        place -= share
    return Split.train.value


def assign(session: WriteSession, shares: Mapping[str, float]) -> int:
    """Give every image that has none its split; how many got one."""
    assigned, after = 0, ""
    while rows := _unassigned(session, after):
        taken = _taken(session, {row.cluster_id for row in rows})
        new = []
        for row in rows:
            splits = taken[row.cluster_id]
            if not splits:
                splits.add(split_of(row.root or row.cluster_id, shares))
            split = next(iter(splits)) if len(splits) == 1 else Split.withheld.value
            new.append({"image_id": row.id, "split": split, "cluster_id": row.cluster_id})
        session.execute(insert(ImageSplit), new)
        assigned, after = assigned + len(new), rows[-1].id
    return assigned


def pinnable(
    session: WriteSession, *, campaign: str | None = None, names: Sequence[str] | None = None
) -> set[str]:  # fmt: skip
    """Ids of the images of a campaign, or of those with these SHA-256 digests or addresses. Raises `NotFound`."""
    if campaign is not None:
        statement = select(Task.image_id).join(Campaign, Campaign.id == Task.campaign_id)
        return set(session.scalars(statement.where(Campaign.name == campaign)))
    found: dict[str, str] = {}
    wanted = list(names or [])
    for start in range(0, len(wanted), _BATCH):
        some = wanted[start : start + _BATCH]
        images = select(Image.id, Image.sha256, Image.source_url).where(
            Image.sha256.in_(some) | Image.source_url.in_(some)
        )
        for row in session.execute(images):
            found |= {row.sha256: row.id, row.source_url: row.id}
    if missing := [name for name in wanted if name not in found]:
        raise NotFound(
            f"The store has no image {missing[0]} ({len(missing):,} of these are missing). Nothing was pinned."
        )
    return {found[name] for name in wanted}


def pin(session: WriteSession, image_ids: Iterable[str], split: Split | str) -> int:
    """Put images, with all that resemble them, into `split` for ever; how many were new to it.

    Raises `SplitTaken` if one of them stands in another split, `NotFound`.
    """
    split, wanted = Split(split), set(image_ids)
    clusters = set(session.scalars(select(Image.cluster_id).where(Image.id.in_(wanted))))
    if not clusters:
        raise NotFound("None of these images is in the store.")
    members = session.execute(
        select(Image.id, Image.sha256, Image.cluster_id, ImageSplit.split)
        .outerjoin(ImageSplit, ImageSplit.image_id == Image.id)
        .where(Image.cluster_id.in_(clusters))
        .order_by(Image.id)
    ).all()
    if elsewhere := [row for row in members if row.split is not None and row.split is not split]:
        raise SplitTaken(
            f"Image {elsewhere[0].sha256} stands in {elsewhere[0].split.value}; of these and their near-duplicates, "
            f"{len(elsewhere):,} cannot go to {split.value}. Pin images before their first export."
        )
    new = [
        {"image_id": row.id, "split": split, "cluster_id": row.cluster_id, "pinned": True}
        for row in members
        if row.split is None
    ]
    if new:
        session.execute(insert(ImageSplit), new)
    return len(new)


def summary(session: ReadSession) -> dict[str, int]:
    """How many images each split has; `none`: those that were not exported yet."""
    rows = session.execute(
        select(ImageSplit.split, func.count(Image.id))
        .select_from(Image)
        .outerjoin(ImageSplit, ImageSplit.image_id == Image.id)
        .group_by(ImageSplit.split)
    )
    counts = {(split.value if split else "none"): number for split, number in rows}
    return {name: counts.get(name, 0) for name in (*(split.value for split in Split), "none")}


def _unassigned(session: WriteSession, after: str) -> list[Any]:
    root = aliased(Image)
    return list(
        session.execute(
            select(Image.id, Image.cluster_id, root.sha256.label("root"))
            .outerjoin(ImageSplit, ImageSplit.image_id == Image.id)
            .outerjoin(root, root.id == Image.cluster_id)
            .where(ImageSplit.image_id.is_(None), Image.id > after)
            .order_by(Image.id)
            .limit(_BATCH)
        )
    )


def _taken(session: WriteSession, clusters: set[str]) -> dict[str, set[str]]:
    """The splits in which the images of clusters stand."""
    taken: dict[str, set[str]] = defaultdict(set)
    rows = session.execute(
        select(Image.cluster_id, ImageSplit.split)
        .join(ImageSplit, ImageSplit.image_id == Image.id)
        .where(Image.cluster_id.in_(clusters), ImageSplit.split != Split.withheld)
        .distinct()
    )
    for cluster, split in rows:
        taken[cluster].add(split.value)
    return taken
