"""PixMo-Count: counts of frequent objects, proposed by a detector and checked by people; points in pixels."""

from collections import Counter
from collections.abc import Iterator
from itertools import compress

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pixmo.export.calls import offsets
from pixmo.export.models import Split
from pixmo.export.pages import Columns, Frame, Reading, check_points, count, from_json, kept, read_revised, text
from pixmo.export.provenance import STEPS_TYPE, annotators, people, step
from pixmo.export.published import MEANING, PUBLISHED
from pixmo.export.segments import RowInvalid
from pixmo.export.sets import IMAGE_COLUMNS, PEOPLE_COLUMNS, DataSet, Measure, enriched
from pixmo.export.sources.points import POINTS
from pixmo.points.models import CountCheck, Verdict

BALANCED = range(2, 11)
"""The counts of a balanced evaluation, as in the paper: 2 to 10, equally many of each."""
_GREATEST = np.iinfo(np.int32).max

Taken = Counter[tuple[str, int]]
"""Rows of each split and count that a balanced evaluation has so far."""


def rows(reading: Reading) -> Iterator[pa.Table]:
    """One row for every proposed count that a person confirmed or corrected, in the order in which they came."""
    columns = {
        "image_id": CountCheck.image_id, "label": CountCheck.label, "count": CountCheck.count,
        "points": CountCheck.points, "verdict": CountCheck.verdict,
    }  # fmt: skip
    if reading.enriched:
        columns |= {
            "campaign_id": CountCheck.campaign_id, "detector": CountCheck.detector, "created_at": CountCheck.created_at,
        }  # fmt: skip
    taken: Taken = Counter()
    for page in read_revised(reading, CountCheck, columns):
        page = _accepted(reading, page)
        if page["row_id"]:
            yield _table(reading, page, taken)


def balanced(reading: Reading, splits: pa.Array, counts: NDArray[np.int64], taken: Taken) -> NDArray[np.bool_]:
    """Which rows (bool [rows]) stand in a balanced evaluation: in validation and test, the first `balanced_eval` rows
    of every count from 2 to 10; in train all. `taken` carries what earlier pages hold, so that later rows never push
    out earlier ones; null in `splits` marks rows that are left out already.
    """
    keep = np.ones(len(counts), bool)
    if reading.balanced_eval is None:
        return keep
    for row in np.flatnonzero(pc.fill_null(pc.not_equal(splits, Split.train.value), False)):
        key = (splits[row].as_py(), int(counts[row]))
        keep[row] = key[1] in BALANCED and taken[key] < reading.balanced_eval
        taken[key] += bool(keep[row])
    reading.left_out["balanced_eval"] += int((~keep).sum())
    return keep


def _accepted(reading: Reading, page: Columns) -> Columns:
    """The rows whose proposal a person did not reject."""
    accepted = [verdict != Verdict.rejected for verdict in page["verdict"]]
    reading.left_out["rejected"] += accepted.count(False)
    return {name: list(compress(values, accepted)) for name, values in page.items()}


def _table(reading: Reading, page: Columns, taken: Taken) -> pa.Table:
    frame = reading.frame(page["image_id"])
    published = frame.published()
    splits = pc.if_else(pa.array(frame.keep), published["split"], pa.scalar(None, pa.string()))
    train = pc.fill_null(pc.equal(splits, Split.train.value), False)
    points = from_json(page["points"], POINTS, page["row_id"])
    check_points(points, page["row_id"])
    counts = _counts(page, points, train)
    table = {
        **published,
        "count": pa.array(counts, pa.int32()),
        "points": _pixels(points, frame, train),
        "label": text(page["label"], "label", page["row_id"]),
        "row_id": pa.array(page["row_id"], pa.int64()),
        "annotators": annotators(reading, page),
        "original_sha256": frame.column("sha256"),
    }
    if reading.enriched:
        table |= {"image": frame.picture(), "image_file": frame.picture(), **frame.provenance()}
        table |= people(reading, page)
        table["agreement"] = pa.nulls(len(counts), pa.float64())
        table["steps"] = _steps(page, train)
    return kept(table, frame.keep & balanced(reading, splits, counts, taken))


def _counts(page: Columns, points: pa.Array, train: pa.Array) -> NDArray[np.int64]:
    """int64 [rows]. Raises `RowInvalid` where a count is no count, or in train not that of the points."""
    counts: NDArray[np.int64] = np.array(page["count"], np.int64)
    clicked = pc.fill_null(pc.list_value_length(points), -1).to_numpy()
    for row in np.flatnonzero((counts < 0) | (counts > _GREATEST)):
        raise RowInvalid(
            f"Row {page['row_id'][row]} states that there are {counts[row]:,}. Correct or withdraw it, then export again."
        )
    for row in np.flatnonzero(np.asarray(train) & (counts != clicked)):
        raise RowInvalid(
            f"Row {page['row_id'][row]} states a count of {counts[row]:,}, but has {max(clicked[row], 0):,} points. "
            "Correct or withdraw it, then export again."
        )
    return counts


def _pixels(points: pa.Array, frame: Frame, train: pa.Array) -> pa.Array:
    """`struct<x: list<float32>, y: list<float32>>`: fractions as pixels in the rows of train, null in the others."""
    shown = pc.if_else(train, points, pa.scalar([], POINTS))
    flat, parents = shown.flatten(), pc.list_parent_indices(shown)
    starts = offsets(pc.list_value_length(shown).to_numpy())
    axes = []
    for axis, side in (("x", "width"), ("y", "height")):
        scale = frame.column(side, pa.float64()).take(parents)
        pixels = pc.multiply(pc.struct_field(flat, axis), scale).cast(pa.float32())
        axes.append(pa.ListArray.from_arrays(starts, pixels))
    return pa.StructArray.from_arrays(axes, ["x", "y"], mask=pc.invert(train))


def _steps(page: Columns, train: pa.Array) -> pa.Array:
    """What proposed count and points, if it was not the annotator, and who checked them."""
    kinds: dict[tuple[str | None, bool], int] = {}
    places = [kinds.setdefault(kind, len(kinds)) for kind in zip(page["detector"], train.to_pylist(), strict=True)]
    steps = []
    for detector, has_points in kinds:
        fields = ("count", "points") if has_points else ("count",)
        proposed = [step(field, "detector", detector, saw_image=True) for field in fields] if detector else []
        steps.append(proposed + [step(field, "human", saw_image=True) for field in fields])
    return pa.array(steps, STEPS_TYPE).take(pa.array(places, pa.int32()))


SET = DataSet(
    name="count",
    title="Counts",
    about="how many of a frequent object an image shows, proposed by a detector and checked by people",
    configs=PUBLISHED["count"],
    enriched=enriched(PUBLISHED["count"]["default"], {"image": "image"}, IMAGE_COLUMNS, PEOPLE_COLUMNS),
    rows=rows,
    count=lambda reading: count(reading, CountCheck),
    tables=[CountCheck],
    meaning=MEANING["count"],
    measures=[Measure("Count of an object", "objects", lambda page: page.column("count"))],
    image_once=True,
    coordinates="pixels of the upright image, origin top left",
    tags=["counting", "pointing"],
    statement=[
        "An object detector, which is no vision-language model, proposed an object with its count and points; "
        "annotators saw the image and confirmed or corrected them. Rejected proposals are left out.",
        "Points are published in train alone; in validation and test the count stands alone.",
    ],
)
