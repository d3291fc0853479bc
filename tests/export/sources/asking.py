"""Fill the tables of questions, documents and clocks, and read their rows as an export would."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
from sqlalchemy import insert, select

from pixmo.accounts.models import Consent
from pixmo.campaigns.models import Campaign
from pixmo.context import Context
from pixmo.database import Base
from pixmo.export.models import ImageSplit, Split, Subject, Takedown
from pixmo.export.pages import Reading, pseudonym
from pixmo.export.schemas import Feature, arrow_schema
from pixmo.export.sets import DataSet
from pixmo.images.models import Image
from pixmo.language.models import LlmCall
from tests.export.filling import Filler

KEY = b"k" * 32
WHEN = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
DAY = date(2026, 3, 1)
ALWAYS = ("row_id", "split", "annotators", "original_sha256")
TEXT = [{"role": "user", "content": "The caption says: a red kettle."}]
PICTURE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://photos.example/0"}}]}]
INLINE = [{"role": "user", "content": "What is in data:image/png;base64,AAAA?"}]


class Asking:
    """A store to which annotations are added by hand."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.filler = Filler(context)
        self.left_out: Counter[str] = Counter()

    def person(self) -> dict[str, str]:
        """Columns of what a new annotator makes, who gave consent `2026-01`."""
        [user] = self.filler.people(["somebody"])
        with self.context.db.read() as session:
            consent = session.scalars(select(Consent.id).where(Consent.user_id == user)).one()
        return {"user_id": user, "consent_id": consent}

    def image(self, number: int, split: str | None = "train") -> str:
        """An image in `split`, or in none."""
        source = f"https://photos.example/{number}.jpg" if number else None
        image = self.filler.image(number, source_url=source)
        if split:
            self.add(ImageSplit, image_id=image, split=Split(split), cluster_id=f"cluster-{number // 2}")
        return image

    def call(self, model: str = "writer-1", prompt: str = "draft@1", messages: Sequence[Any] = TEXT) -> str:
        """The record of a call of a language model."""
        id_ = self.filler.id()
        self.add(
            LlmCall, id=id_, purpose="answer", subject_id=id_, endpoint="http://127.0.0.1", model=model, parameters={},
            prompt=prompt, messages=list(messages), sha256="0" * 64, answer="A kettle.", latency=0.5,
        )  # fmt: skip
        return id_

    def add(self, model: type[Base], /, **columns: Any) -> Any:
        """A row of `model`, made at `WHEN` if it can be; its id."""
        if hasattr(model, "created_at"):
            columns = {"created_at": WHEN, **columns}
        with self.context.db.write() as session:
            row = model(**columns)
            session.add(row)
            session.flush()
            return getattr(row, "id", None)

    def add_many(self, model: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
        with self.context.db.write() as session:
            session.execute(insert(model), [{"created_at": WHEN, "llm_call_ids": [], **row} for row in rows])

    def take_down(self, subject: Subject, subject_id: str) -> None:
        self.add(Takedown, subject=subject, subject_id=subject_id)

    def pages(self, source: DataSet, *, campaign: str | None = None, **options: Any) -> list[pa.Table]:
        """All pages, each checked for its columns, types and order; `left_out` is what was counted."""
        with self.context.db.read() as session:
            wanted = session.get(Campaign, campaign) if campaign else None
            reading = Reading(session, KEY, _address, campaign=wanted, **options)
            pages = list(source.rows(reading))
        for page in pages:
            _check(source, page, enriched=reading.enriched)
        ids = [row_id for page in pages for row_id in page.column("row_id").to_pylist()]
        assert ids == sorted(set(ids))
        self.left_out = +reading.left_out
        return pages

    def rows(self, source: DataSet, **options: Any) -> list[dict[str, Any]]:
        """All rows."""
        return [row for page in self.pages(source, **options) for row in page.to_pylist()]

    def count(self, source: DataSet, *, campaign: str | None = None) -> int:
        with self.context.db.read() as session:
            wanted = session.get(Campaign, campaign) if campaign else None
            return source.count(Reading(session, KEY, _address, campaign=wanted))

    def of_image(self, image_id: str) -> dict[str, Any]:
        """What `enriched` says of an image and where it is."""
        with self.context.db.read() as session:
            image = session.get_one(Image, image_id)
        return {
            "image_url": image.source_url or f"urn:sha256:{image.sha256}", "image_sha256": image.sha256,
            "image_file": f"{image.served_sha256}.jpeg", "original_sha256": image.sha256,
            "served_sha256": image.served_sha256, "pixel_sha256": image.pixel_sha256, "width": 48, "height": 32,
            "topic": "kitchens", "licence": "CC0-1.0", "attribution": "A. Photographer",
            "source_url": image.source_url, "split_cluster": image.cluster_id,
        }  # fmt: skip


def by(person: Mapping[str, str]) -> list[str]:
    """`annotators` of what this person made."""
    return [pseudonym(KEY, person["user_id"])]


def made(field: str, origin: str, model: str | None = None, prompt: str | None = None, *, saw: bool) -> dict[str, Any]:
    """One entry of `steps`."""
    return {"field": field, "origin": origin, "model": model, "model_revision": prompt, "saw_image": saw}


def _address(image: Any) -> tuple[str, str]:
    return image.source_url or f"urn:sha256:{image.sha256}", image.sha256


def _check(source: DataSet, page: pa.Table, *, enriched: bool) -> None:
    """A page has all columns that it should, of the types that the files have; images are names."""
    features: dict[str, Feature] = {}
    for columns in (*source.configs.values(), source.enriched if enriched else {}):
        features |= columns
    expected = arrow_schema({name: "string" if feature == "image" else feature for name, feature in features.items()})
    for field in expected:
        assert page.schema.field(field.name).type == field.type, field.name
    assert page.schema.field("row_id").type == pa.int64()
    needed = {*features, *ALWAYS, *([source.part] if source.part else [])}
    assert needed <= set(page.column_names)
    page.validate(full=True)
    for measure in source.measures:
        assert pa.types.is_integer(measure.of(page).type)
        assert len(measure.of(page)) >= page.num_rows
    assert set(source.enriched) >= {"row_id", "steps", "annotated_on"}
