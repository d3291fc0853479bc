"""Reading annotations out of the store in pages of Arrow columns: bounded memory, and no object for every value.

A page is a `pa.Table` with a column for everything that a data set publishes, and two that the engine needs: `row_id`
(int64, growing; it identifies the row for ever) and `split`. Columns of images hold names, `<sha256>.<format>`.
"""

import hashlib
import hmac
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Executable, Integer, Text, cast, func, select
from sqlalchemy.orm import InstrumentedAttribute

from pixmo.accounts.models import Consent, User
from pixmo.annotations import Annotation
from pixmo.campaigns.models import Campaign
from pixmo.database import ReadSession, among
from pixmo.errors import Unprocessable
from pixmo.export.models import ImagePublication, ImageSplit, Split, Subject, Takedown
from pixmo.export.segments import RowInvalid
from pixmo.images.models import Image
from pixmo.language.models import LlmCall

PAGE = 8_192
_IDS = 5_000
"""Ids asked for in one statement."""

Columns = Mapping[str, Sequence[Any]]


class Unlicensed(Unprocessable):
    code = "unlicensed"
    title = "An image has no licence"


@dataclass
class Reading:
    """One pass over the store, in one snapshot: what to read, how to name things, and what was left out and why.

    `address(image)` gives `image_url` and `image_sha256` of an image row. `balanced_eval`: rows of each count in the
    splits for evaluation. `shares` of the splits, for rows without an image.
    """

    session: ReadSession
    pseudonym_key: bytes
    address: Callable[[Any], tuple[str, str]]
    campaign: Campaign | None = None
    enriched: bool = True
    require_licence: bool = False
    balanced_eval: int | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def execute(self, statement: Executable) -> Sequence[Any]:
        """Rows of columns, without what the ORM does for entities: a third of the time."""
        return self.session.connection().execute(statement).fetchall()

    @cached_property
    def pseudonyms(self) -> dict[str | None, str | None]:
        """Annotators as they appear in exports."""
        return {
            None: None,
            **{id_: pseudonym(self.pseudonym_key, id_) for id_ in self.session.scalars(select(User.id))},
        }

    @cached_property
    def consents(self) -> dict[str | None, str | None]:
        """Versions of the consents that people gave."""
        rows = self.session.execute(select(Consent.id, Consent.version))
        return {None: None, **{row.id: row.version for row in rows}}

    @cached_property
    def campaigns(self) -> dict[str | None, tuple[str | None, str | None]]:
        """Name and language of campaigns."""
        rows = self.session.execute(select(Campaign.id, Campaign.name, Campaign.language))
        return {None: (None, None), **{row.id: (row.name, row.language) for row in rows}}

    @cached_property
    def silenced(self) -> set[str]:
        """Annotators whose work was taken down."""
        return set(self.session.scalars(select(Takedown.subject_id).where(Takedown.subject == Subject.annotator)))

    def calls(self, ids: set[str]) -> dict[str, LlmCall]:
        """Calls of language models by id."""
        found: dict[str, LlmCall] = {}
        ordered = sorted(ids)
        for start in range(0, len(ordered), _IDS):
            some = select(LlmCall).where(among(LlmCall.id, ordered[start : start + _IDS]))
            found |= {call.id: call for call in self.session.scalars(some)}
        self.session.expunge_all()
        return found

    def frame(self, image_ids: Sequence[str]) -> "Frame":
        """What is known of the images of a page. Raises `Unlicensed`."""
        return Frame(self, image_ids)


class Frame:
    """The images of a page: each is read once, and its columns are spread over the rows that show it.

    `keep` (bool [rows]) is false for rows whose image was taken down or stands in no split.
    """

    def __init__(self, reading: Reading, image_ids: Sequence[str]) -> None:
        wanted = pa.array(image_ids, pa.string()).dictionary_encode()
        distinct = wanted.dictionary.to_pylist()
        rows = {row[0]: row for row in _image_rows(reading, distinct)}
        self.rows = [rows[id_] for id_ in distinct]
        self._reading = reading
        self._places = wanted.indices
        self._columns = dict(zip(self.rows[0]._fields, zip(*self.rows, strict=True), strict=True)) if self.rows else {}
        withheld = np.array([split in (None, Split.withheld) for split in self._columns.get("split", ())], bool)
        taken_down = np.array([id_ is not None for id_ in self._columns.get("taken_down", ())], bool)
        published = [row for row, out in zip(self.rows, withheld | taken_down, strict=True) if not out]
        if reading.require_licence and (without := [row for row in published if not row.licence]):
            raise Unlicensed(
                f"Image {without[0].sha256} has no licence ({len(without):,} of this page). "
                "State it, or export without --require-licence."
            )
        places = self._places.to_numpy()
        self.keep: NDArray[np.bool_] = ~(withheld | taken_down)[places]
        reading.left_out["taken_down"] += int(taken_down[places].sum())
        reading.left_out["withheld"] += int((withheld & ~taken_down)[places].sum())

    def spread(self, values: Sequence[Any], kind: pa.DataType) -> pa.Array:
        """One value an image as one value a row."""
        return pa.array(values, kind).take(self._places)

    def column(self, name: str, kind: pa.DataType | None = None) -> pa.Array:
        """A column of the images, a value for each row."""
        return self.spread(self._columns.get(name, ()), kind or pa.string())

    def published(self) -> dict[str, pa.Array]:
        """`image_url`, `image_sha256` and `split`."""
        addresses = [self._reading.address(row) for row in self.rows]
        return {
            "image_url": self.spread([url for url, _ in addresses], pa.string()),
            "image_sha256": self.spread([sha256 for _, sha256 in addresses], pa.string()),
            "split": self.column("split"),
        }

    def provenance(self) -> dict[str, pa.Array]:
        """What `enriched` says of images, but for the picture itself. See `IMAGE_COLUMNS`."""
        return {
            "original_sha256": self.column("sha256"),
            "served_sha256": self.column("served_sha256"),
            "pixel_sha256": self.column("pixel_sha256"),
            "width": self.column("width", pa.int32()),
            "height": self.column("height", pa.int32()),
            "topic": self.column("topic"),
            "licence": self.column("licence"),
            "attribution": self.column("attribution"),
            "source_url": self.column("source_url"),
            "split_cluster": self.column("cluster_id"),
        }

    def picture(self) -> pa.Array:
        """The image as its annotators saw it, by name."""
        return self.spread([f"{row.served_sha256}.{row.served_format}" for row in self.rows], pa.string())


def pseudonym(key: bytes, user_id: str) -> str:
    """`a_` and 10 hex digits of HMAC-SHA256: stable while the key is, and not to be guessed without it."""
    return "a_" + hmac.new(key, user_id.encode(), hashlib.sha256).hexdigest()[:10]


def _image_rows(reading: Reading, ids: Sequence[str]) -> Iterator[Any]:
    statement = (
        select(
            Image.id, Image.sha256, Image.served_sha256, Image.served_format, Image.pixel_sha256, Image.width,
            Image.height, Image.topic, Image.licence, Image.attribution, Image.source_url, Image.cluster_id,
            cast(ImageSplit.split, Text).label("split"), Takedown.id.label("taken_down"),
            ImagePublication.version.label("published_in"),
        )
        .outerjoin(ImageSplit, ImageSplit.image_id == Image.id)
        .outerjoin(Takedown, (Takedown.subject == Subject.image) & (Takedown.subject_id == Image.id))
        .outerjoin(
            ImagePublication,
            (ImagePublication.image_id == Image.id) & (ImagePublication.repo == reading.session.info.get("repo", "")),
        )
    )  # fmt: skip
    for start in range(0, len(ids), _IDS):
        yield from reading.execute(statement.where(among(Image.id, ids[start : start + _IDS])))


def read_revised(
    reading: Reading, model: type[Annotation], columns: Mapping[str, InstrumentedAttribute[Any]], *, size: int = PAGE
) -> Iterator[Columns]:
    """Annotations in pages of lists: the newest revision of each, in the place of its first, without retracted ones.

    `columns`: name -> column; JSON columns come as text, times as their date. `row_id` and `user_id` are always there,
    `consent_id` if everything is read.
    """
    chosen = {
        "row_id": func.coalesce(model.root_id, model.id), "retracted": cast(model.retracted, Integer),
        "user_id": model.user_id,
    }  # fmt: skip
    if reading.enriched:
        chosen["consent_id"] = model.consent_id
    chosen |= {name: _raw(column) for name, column in columns.items()}
    labelled: list[Any] = [column.label(name) for name, column in chosen.items()]
    statement = select(*labelled)
    names = list(chosen)
    after = 0
    while True:
        first = statement.where(model.root_id.is_(None), model.id > after)
        if reading.campaign is not None:
            first = first.where(model.campaign_id == reading.campaign.id)
        rows = list(reading.execute(first.order_by(model.id).limit(size)))
        if not rows:
            return
        begin, end = rows[0][0], rows[-1][0]
        corrected = statement.where(model.root_id.between(begin, end)).order_by(model.id)
        rows = _standing(reading, rows, reading.execute(corrected))
        if rows:
            yield dict(zip(names, zip(*rows, strict=True), strict=True))
        after = end


def _standing(reading: Reading, rows: list[Any], corrected: Sequence[Any]) -> list[Any]:
    """Newest revisions that were not withdrawn, of rows in which nobody had a part whose work was taken down."""
    if silenced := reading.silenced:
        theirs = {row[0] for row in (*rows, *corrected) if row[2] in silenced}
        standing = [row for row in rows if row[0] not in theirs]
        reading.left_out["taken_down"] += len(rows) - len(standing)
        rows = standing
    if newest := {row[0]: row for row in corrected}:
        rows = [newest.get(row[0], row) for row in rows]
    standing = [row for row in rows if not row[1]]
    reading.left_out["withdrawn"] += len(rows) - len(standing)
    return standing


def _raw(column: InstrumentedAttribute[Any]) -> ColumnElement[Any]:
    """Without the conversions of the ORM: JSON and enumerations as text, a time as its date."""
    name = type(column.type).__name__
    if name in ("JSON", "Enum"):
        return cast(column, Text)
    if name == "UtcDateTime":
        return func.substr(cast(column, Text), 1, 10)
    return column.expression


def count(reading: Reading, model: type[Annotation]) -> int:
    """How many annotations will be read, for progress."""
    statement = select(func.count()).select_from(model).where(model.root_id.is_(None))
    if reading.campaign is not None:
        statement = statement.where(model.campaign_id == reading.campaign.id)
    return reading.session.scalar(statement) or 0


def from_json(texts: Sequence[str], kind: pa.DataType, row_ids: Sequence[int]) -> pa.Array:
    """JSON texts as an Arrow array of `kind`, by Arrow's own parser. Raises `RowInvalid`, naming the row."""
    try:
        return _parsed(texts, kind)
    except pa.ArrowInvalid as error:
        for row_id, text in zip(row_ids, texts, strict=True):
            try:
                _parsed([text], kind)
            except pa.ArrowInvalid as reason:
                raise RowInvalid(f"Row {row_id} holds what is no {kind}: {reason}") from error
        raise RowInvalid(f"Rows {row_ids[0]} to {row_ids[-1]}: {error}") from error


def _parsed(texts: Sequence[str], kind: pa.DataType) -> pa.Array:
    if not texts:
        return pa.array([], kind)
    data = ('{"v":' + '}\n{"v":'.join(texts) + "}").encode()
    table = pj.read_json(
        pa.BufferReader(data),
        read_options=pj.ReadOptions(use_threads=False, block_size=max(len(data) + 1, 1 << 16)),
        parse_options=pj.ParseOptions(
            explicit_schema=pa.schema([("v", kind)]), unexpected_field_behavior="error", newlines_in_values=False
        ),
    )
    if table.num_rows != len(texts):
        raise pa.ArrowInvalid(f"{len(texts)} texts hold {table.num_rows} values")
    return table.column(0).combine_chunks() if table.column(0).num_chunks != 1 else table.column(0).chunk(0)


def kept(columns: Mapping[str, pa.Array], keep: NDArray[np.bool_]) -> pa.Table:
    """A page of the rows that are kept."""
    table = pa.table(dict(columns))
    return table if keep.all() else table.filter(pa.array(keep))


def text(values: Sequence[str | None], column: str, row_ids: Sequence[int]) -> pa.Array:
    """Texts of which none may be empty. Raises `RowInvalid`, naming the row."""
    array = pa.array(values, pa.string())
    blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(array), ""), True)
    if (place := pc.index(blank, True).as_py()) >= 0:
        raise RowInvalid(f"Row {row_ids[place]} has no {column}. Correct or withdraw it, then export again.")
    return array


def check_points(points: pa.Array, row_ids: Sequence[int]) -> None:
    """Every coordinate of `list<struct<x, y>>` is a finite fraction. Raises `RowInvalid`, naming the row."""
    if points.null_count:
        row = row_ids[pc.index(points.is_null(), True).as_py()]
        raise RowInvalid(f"Row {row} has no list of points. Correct or withdraw it, then export again.")
    for axis in ("x", "y"):
        values = pc.struct_field(points.flatten(), axis)
        wrong = pc.invert(pc.fill_null(pc.and_(pc.greater_equal(values, 0.0), pc.less_equal(values, 1.0)), False))
        place = pc.index(wrong, True).as_py()
        if place >= 0:
            row = pc.list_parent_indices(points)[place].as_py()
            raise RowInvalid(
                f"Row {row_ids[row]} has a point outside of its image ({axis} = {values[place].as_py()}). "
                "Correct or withdraw it, then export again."
            )


def words(texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """How many words each text has, runs of anything but blanks: int64, 0 for null."""
    array = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    array = pc.fill_null(array, "")
    _, offsets, data = array.buffers()
    if data is None or not len(array):
        return pa.array(np.zeros(len(array), np.int64))
    places = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1]
    letters = np.frombuffer(data, np.uint8)[places[0] : places[-1]]
    places = (places - places[0]).astype(np.int64)
    blanks = np.flatnonzero(letters <= ord(" "))
    after = blanks[np.append(np.diff(blanks) != 1, True)[: len(blanks)]] + 1  # where words begin behind blanks
    begun = np.searchsorted(after, places[1:], "left") - np.searchsorted(after, places[:-1], "right")
    at_once = np.zeros(len(array), np.int64)
    there = places[:-1] < places[1:]
    at_once[there] = letters[places[:-1][there]] > ord(" ")
    return pa.array(np.maximum(begun, 0) + at_once)
