"""PixMo-Points-Eval: expressions of the split `test` whose every point has a mask that a person accepted."""

from collections.abc import Iterator, Sequence
from itertools import compress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sqlalchemy import Text, cast, select

from pixmo.export.calls import offsets
from pixmo.export.models import ImageSplit, Split
from pixmo.export.pages import Columns, Reading, check_points, count, from_json, kept, read_revised, text
from pixmo.export.provenance import STEPS_TYPE, annotators, people, step
from pixmo.export.published import MEANING, PUBLISHED
from pixmo.export.segments import Cuts, RowInvalid
from pixmo.export.sets import IMAGE_COLUMNS, PEOPLE_COLUMNS, DataSet, Measure, enriched
from pixmo.export.sources.points import POINTS, percent
from pixmo.points.models import PointMask, PointSet

ROWS = 8
PIXELS = 2**26
"""A page ends after so many rows, or where their masks pass so many pixels; one bit holds a pixel."""
_MOST_PIXELS = 2**31 - 1
"""Of the masks of one row: Arrow's lists number what they hold in 32 bits."""
_BATCH = 5_000
"""Ids asked for in one statement."""
_RUNS = pa.list_(pa.int64())

Masks = dict[int, list[Any]]
"""Rows of `PointMask`, but for the runs, by revision of the point set, in the order of the points."""


def rows(reading: Reading) -> Iterator[pa.Table]:
    """One row for every expression of the split `test` of which all points have masks."""
    columns = {
        "image_id": PointSet.image_id, "label": PointSet.label, "points": PointSet.points, "revision": PointSet.id,
    }  # fmt: skip
    if reading.enriched:
        columns |= {
            "campaign_id": PointSet.campaign_id, "agreement": PointSet.agreement, "created_at": PointSet.created_at,
        }  # fmt: skip
    for page in read_revised(reading, PointSet, columns):
        masks: Masks = {}
        page = _chosen(page, _in_test(reading, page))
        if page["row_id"]:
            masks = _masks(reading, page["revision"])
            page = _chosen(page, _complete(reading, page, masks))
        if page["row_id"]:
            yield from _pages(reading, _table(reading, page, masks), masks)


def _chosen(page: Columns, keep: Sequence[bool]) -> Columns:
    return {name: list(compress(values, keep)) for name, values in page.items()}


def _in_test(reading: Reading, page: Columns) -> list[bool]:
    wanted, tested = sorted(set(page["image_id"])), set[str]()
    statement = select(ImageSplit.image_id).where(ImageSplit.split == Split.test)
    for start in range(0, len(wanted), _BATCH):
        some = statement.where(ImageSplit.image_id.in_(wanted[start : start + _BATCH]))
        tested.update(reading.session.scalars(some))
    keep = [image_id in tested for image_id in page["image_id"]]
    reading.left_out["not_in_test"] += keep.count(False)
    return keep


def _masks(reading: Reading, revisions: Sequence[int]) -> Masks:
    masks: Masks = {revision: [] for revision in revisions}
    statement = select(
        PointMask.id, PointMask.point_set_id, PointMask.number, PointMask.height, PointMask.width, PointMask.model
    ).order_by(PointMask.point_set_id, PointMask.number)
    for start in range(0, len(revisions), _BATCH):
        some = statement.where(PointMask.point_set_id.in_(revisions[start : start + _BATCH]))
        for mask in reading.session.execute(some):
            masks[mask.point_set_id].append(mask)
    return masks


def _complete(reading: Reading, page: Columns, masks: Masks) -> list[bool]:
    """Rows whose every point has a mask; the masks of an earlier revision do not count."""
    keep = []
    points = pc.fill_null(pc.list_value_length(from_json(page["points"], POINTS, page["row_id"])), 0).to_pylist()
    for row_id, revision, number in zip(page["row_id"], page["revision"], points, strict=True):
        numbers = [mask.number for mask in masks[revision]]
        if numbers and not 0 <= numbers[0] <= numbers[-1] < number:
            raise RowInvalid(
                f"Row {row_id} has {number} points, but masks of the points {numbers[0]} to {numbers[-1]} (the first "
                "is 0). Correct or withdraw it, then export again."
            )
        keep.append(len(numbers) == number)
    reading.left_out["no_masks"] += keep.count(False)
    return keep


def _table(reading: Reading, page: Columns, masks: Masks) -> pa.Table:
    """Everything but the masks themselves, and `revision`."""
    frame = reading.frame(page["image_id"])
    points = from_json(page["points"], POINTS, page["row_id"])
    check_points(points, page["row_id"])
    sizes = zip(
        frame.column("height", pa.int32()).to_pylist(), frame.column("width", pa.int32()).to_pylist(), strict=True
    )
    for row_id, revision, size in zip(page["row_id"], page["revision"], sizes, strict=True):
        _check_sizes(row_id, masks[revision], size)
    table = {
        **frame.published(),
        "label": text(page["label"], "label", page["row_id"]),
        "points": percent(points),
        "row_id": pa.array(page["row_id"], pa.int64()),
        "annotators": annotators(reading, page),
        "original_sha256": frame.column("sha256"),
        "revision": pa.array(page["revision"], pa.int64()),
    }
    if reading.enriched:
        table |= {"image": frame.picture(), "image_file": frame.picture(), **frame.provenance()}
        table |= people(reading, page)
        table["agreement"] = pa.array(page["agreement"], pa.float64())
        table["steps"] = pa.array([_steps(masks[revision]) for revision in page["revision"]], STEPS_TYPE)
    return kept(table, frame.keep)


def _check_sizes(row_id: int, masks: Sequence[Any], size: tuple[int, int]) -> None:
    """Masks are of the size (height, width) of the upright image, and fit into a row."""
    for mask in masks:
        if (mask.height, mask.width) != size:
            raise RowInvalid(
                f"Row {row_id}, mask of point {mask.number}: it has {mask.height} x {mask.width} pixels, but the upright "
                f"image has {size[0]} x {size[1]}. Make the mask again, then export again."
            )
    if len(masks) * size[0] * size[1] > _MOST_PIXELS:
        raise RowInvalid(
            f"Row {row_id}: {len(masks)} masks of {size[0]} x {size[1]} pixels are more than one row can hold "
            f"({_MOST_PIXELS:,} pixels). Withdraw it, then export again."
        )


def _steps(masks: Sequence[Any]) -> list[dict[str, Any]]:
    """People click and accept; a model that segments may have drawn the masks."""
    drawn = dict.fromkeys(mask.model for mask in masks if mask.model)
    steps = [step("points", "human", saw_image=True)]
    steps += [step("masks", "detector", model, saw_image=True) for model in drawn]
    return [*steps, step("masks", "human", saw_image=True)] if masks else steps


def _pages(reading: Reading, table: pa.Table, masks: Masks) -> Iterator[pa.Table]:
    """The rows of `table` with their masks, a few at a time."""
    revisions, row_ids = (table.column(name).to_pylist() for name in ("revision", "row_id"))
    table = table.drop_columns("revision")
    start = 0
    for end in page_ends([sum(mask.height * mask.width for mask in masks[revision]) for revision in revisions]):
        some = [masks[revision] for revision in revisions[start:end]]
        yield table.slice(start, end - start).append_column("masks", _decoded(reading, some, row_ids[start:end]))
        start = end


def page_ends(pixels: Sequence[int]) -> Iterator[int]:
    """Where pages end, as positions after their last row, from the pixels of the masks of each row."""
    start = held = 0
    for row, more in enumerate(pixels):
        if row > start and (row - start == ROWS or held + more > PIXELS):
            yield row
            start, held = row, 0
        held += more
    if start < len(pixels):
        yield len(pixels)


def _decoded(reading: Reading, masks: Sequence[Sequence[Any]], row_ids: Sequence[int]) -> pa.Array:
    """`list<list<list<bool>>>`: for each row its masks, each [height][width]."""
    flat = [mask for of_row in masks for mask in of_row]
    of = [row_id for row_id, of_row in zip(row_ids, masks, strict=True) for _ in of_row]
    statement = select(PointMask.id, cast(PointMask.runs, Text).label("runs")).where(
        PointMask.id.in_([mask.id for mask in flat])
    )
    texts = {mask.id: mask.runs for mask in reading.session.execute(statement)}
    pixels = [pa.array([], pa.bool_())]
    if flat:
        runs = pc.fill_null(from_json([texts[mask.id] for mask in flat], _RUNS, of), pa.scalar([], _RUNS))
        values, starts = runs.flatten().to_numpy(zero_copy_only=False), runs.offsets.to_numpy()
        for row_id, mask, begin, end in zip(of, flat, starts[:-1], starts[1:], strict=True):
            try:
                pixels.append(pa.array(decode(values[begin:end], mask.height, mask.width).ravel()))
            except ValueError as error:
                raise RowInvalid(
                    f"Row {row_id}, mask of point {mask.number}: {error}. Make the mask again, then export again."
                ) from error
    heights = np.array([mask.height for mask in flat], np.int64)
    lines = np.repeat(np.array([mask.width for mask in flat], np.int64), heights)
    by_line = pa.ListArray.from_arrays(offsets(lines), pa.concat_arrays(pixels))
    by_mask = pa.ListArray.from_arrays(offsets(heights), by_line)
    return pa.ListArray.from_arrays(offsets(np.array([len(of_row) for of_row in masks], np.int64)), by_mask)


def decode(runs: NDArray[Any], height: int, width: int) -> NDArray[np.bool_]:
    """bool [height, width] from the lengths of alternating runs, row by row, beginning with false.

    Raises `ValueError` if they are not those of such a mask.
    """
    size = height * width
    if not np.logical_and(runs >= 0, runs <= size).all() or runs.sum() != size:
        raise ValueError(f"the runs are not those of {height} x {width} pixels")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs.astype(np.int64)).reshape(height, width)


def _clicked(page: pa.Table) -> Any:
    return pc.list_value_length(page.column("points"))


SET = DataSet(
    name="points-eval",
    title="Points for evaluation",
    about="referring expressions of held-out images, with a mask of everything that they refer to",
    configs=PUBLISHED["points-eval"],
    enriched=enriched(PUBLISHED["points-eval"]["default"], {"image": "image"}, IMAGE_COLUMNS, PEOPLE_COLUMNS),
    rows=rows,
    count=lambda reading: count(reading, PointSet),
    tables=[PointSet, PointMask],
    meaning=MEANING["points-eval"],
    measures=[Measure("Points of an expression", "points", _clicked)],
    image_once=True,
    cuts=Cuts(least=2, typical=2, most=8, group=2),
    coordinates="percent (0-100) of the upright image's width and height, origin top left",
    tags=["pointing", "grounding", "evaluation"],
    statement=[
        "Annotators saw an image and clicked everything that an expression refers to; for every point, a person "
        "accepted a mask of what it points at.",
        "A predicted point is a hit if it lies in the mask of the point that it is matched with.",
    ],
)
