"""PixMo-Points: expressions and what they refer to, as points in percent of the upright image."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.orm import InstrumentedAttribute

from pixmo.export.pages import Columns, Reading, check_points, count, from_json, kept, read_revised, text
from pixmo.export.provenance import annotators, people, step
from pixmo.export.published import MEANING, PUBLISHED
from pixmo.export.sets import IMAGE_COLUMNS, PEOPLE_COLUMNS, DataSet, Measure, enriched
from pixmo.points.models import PointSet

POINTS = pa.list_(pa.struct([("x", pa.float64()), ("y", pa.float64())]))
_DECIMALS = 3


def rows(reading: Reading) -> Iterator[pa.Table]:
    """One row for every expression and person (or consensus), in the order in which they came."""
    columns: dict[str, InstrumentedAttribute[Any]] = {
        "image_id": PointSet.image_id, "label": PointSet.label, "method": PointSet.method, "points": PointSet.points,
    }  # fmt: skip
    if reading.enriched:
        columns |= {
            "campaign_id": PointSet.campaign_id, "agreement": PointSet.agreement, "created_at": PointSet.created_at,
        }  # fmt: skip
    for page in read_revised(reading, PointSet, columns):
        yield _table(reading, page)


def _table(reading: Reading, page: Columns) -> pa.Table:
    frame = reading.frame(page["image_id"])
    points = from_json(page["points"], POINTS, page["row_id"])
    check_points(points, page["row_id"])
    table = {
        **frame.published(),
        "points": percent(points),
        "count": pc.list_value_length(points).cast(pa.int64()),
        "label": text(page["label"], "label", page["row_id"]),
        "collection_method": pa.array(page["method"], pa.string()),
        "row_id": pa.array(page["row_id"], pa.int64()),
        "annotators": annotators(reading, page),
        "original_sha256": frame.column("sha256"),
    }
    if reading.enriched:
        table |= {"image_file": frame.picture(), **frame.provenance()}
        table |= people(reading, page, [step("points", "human", saw_image=True)])
        table["agreement"] = pa.array(page["agreement"], pa.float64())
    return kept(table, frame.keep)


def percent(points: pa.Array) -> pa.Array:
    """Points in fractions as points in percent, to a thousandth: a sixteenth of a pixel on an image of 6,000."""
    flat = points.flatten()
    axes = [pc.round(pc.multiply(pc.struct_field(flat, axis), 100.0), _DECIMALS) for axis in ("x", "y")]
    return pa.ListArray.from_arrays(points.offsets, pa.StructArray.from_arrays(axes, ["x", "y"]))


SET = DataSet(
    name="points",
    title="Points",
    about="referring expressions with every point that they refer to, clicked by people",
    configs=PUBLISHED["points"],
    enriched=enriched(PUBLISHED["points"]["default"], IMAGE_COLUMNS, PEOPLE_COLUMNS),
    rows=rows,
    count=lambda reading: count(reading, PointSet),
    tables=[PointSet],
    meaning=MEANING["points"],
    measures=[Measure("Points of an expression", "points", lambda page: page.column("count"))],
    coordinates="percent (0-100) of the upright image's width and height, origin top left",
    tags=["pointing", "counting", "grounding"],
    statement=[
        "Annotators saw an image, wrote or were given a referring expression, and clicked everything that it refers to.",
        "An expression without points refers to nothing in the image.",
    ],
)
