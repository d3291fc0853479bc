"""PixMo-Clocks: watch faces and the time that each shows. The images are rendered elsewhere; there are none here."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.orm import InstrumentedAttribute

from pixmo.export.models import Split
from pixmo.export.pages import Columns, Reading, count, read_revised, text
from pixmo.export.provenance import annotators, people, step
from pixmo.export.published import MEANING, PUBLISHED
from pixmo.export.segments import RowInvalid
from pixmo.export.sets import PEOPLE_COLUMNS, DataSet, Measure, enriched
from pixmo.export.splits import split_of
from pixmo.synthetic.models import ClockFace

_COLUMNS = PUBLISHED["clocks"]["default"]
_GREATEST = {"hour_visible": 23, "minute_visible": 59, "second_visible": 59}
_HIDDEN = -1
_STEPS = [step(name, "script", saw_image=False) for name in ("watch_time", *_GREATEST, "text")]


def rows(reading: Reading) -> Iterator[pa.Table]:
    """One row for every rendering of a watch face."""
    columns: dict[str, InstrumentedAttribute[Any]] = {name: getattr(ClockFace, name) for name in _COLUMNS}
    if reading.enriched:
        columns |= {"campaign_id": ClockFace.campaign_id, "created_at": ClockFace.created_at}
    for page in read_revised(reading, ClockFace, columns):
        yield _table(reading, page)


def _table(reading: Reading, page: Columns) -> pa.Table:
    table = {
        name: text(page[name], name, page["row_id"])
        if feature == "string"
        else pa.array(page[name], pa.type_for_alias(str(feature)))
        for name, feature in _COLUMNS.items()
    }
    for name, greatest in _GREATEST.items():
        _check(table[name], name, greatest, page)
    table |= {
        "row_id": pa.array(page["row_id"], pa.int64()),
        "split": _splits(reading, table["watchface_id"]),
        "annotators": annotators(reading, page),
        "original_sha256": pa.nulls(len(page["row_id"]), pa.string()),
    }
    if reading.enriched:
        made = people(reading, page, _STEPS)
        table |= {name: made[name] for name in ("annotated_on", "steps")}
    return pa.table(table)


def _check(values: pa.Array, name: str, greatest: int, page: Columns) -> None:
    outside = pc.or_(pc.less(values, _HIDDEN), pc.greater(values, greatest))
    if (place := pc.index(outside, True).as_py()) >= 0:
        raise RowInvalid(
            f"Row {page['row_id'][place]} has the {name} {values[place]}, which is not between 0 and {greatest}, nor "
            f"{_HIDDEN} for what is not visible. Correct or withdraw it, then export again."
        )


def _splits(reading: Reading, faces: pa.Array) -> pa.Array:
    """The split of each face, so that no design stands in two. What would be `test` is `validation`, as published."""
    encoded = faces.dictionary_encode()
    splits = [split_of(face, reading.shares) for face in encoded.dictionary.to_pylist()]
    held_out = [split if split == Split.train else Split.validation.value for split in splits]
    return pa.array(held_out, pa.string()).take(encoded.indices)


SET = DataSet(
    name="clocks",
    title="Clocks",
    about="renderings of watch faces and the time that each shows",
    configs=PUBLISHED["clocks"],
    enriched=enriched(_COLUMNS, {name: PEOPLE_COLUMNS[name] for name in ("annotators", "steps", "annotated_on")}),
    rows=rows,
    count=lambda reading: count(reading, ClockFace),
    tables=[ClockFace],
    meaning=MEANING["clocks"],
    measures=[
        Measure("Hour on the face", "hours, -1 if not visible", lambda page: page.column("hour_visible")),
        Measure("Minute on the face", "minutes, -1 if not visible", lambda page: page.column("minute_visible")),
    ],
    tags=["clocks", "synthetic"],
    statement=[
        "Code set the time and rendered the watch faces, so the time on the face is known and nobody read it off.",
        "The set holds no images and no addresses of images: `watchface_id` and `watch_time` say what to render.",
        "A watch face never stands in two splits.",
    ],
)
