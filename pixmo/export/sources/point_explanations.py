"""PixMo-Point-Explanations: answers that point while they explain."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.orm import InstrumentedAttribute

from pixmo.export.calls import Calls, joined, offsets, once
from pixmo.export.pages import Columns, Reading, check_points, count, from_json, kept, read_revised, text
from pixmo.export.provenance import annotators, people, step
from pixmo.export.published import MEANING, PUBLISHED
from pixmo.export.segments import RowInvalid
from pixmo.export.sets import IMAGE_COLUMNS, PEOPLE_COLUMNS, DataSet, Measure, enriched
from pixmo.export.sources.points import POINTS, percent
from pixmo.language.models import LlmCall
from pixmo.questions.models import Explanation

PLACEHOLDER = "<|POINT|>"
"""Stands for a group of points in `parsed_response`."""
PARTS = pa.list_(
    pa.struct(
        [
            ("text", pa.string()),
            ("points", pa.list_(pa.list_(pa.float64()))),
            ("inline", pa.string()),
            ("alt", pa.string()),
        ]
    )
)
_TEXTS = pa.list_(pa.string())

Part = Mapping[str, Any]
"""{text} or {points: [[x, y]], inline, alt}, as in `Explanation`; the keys of the other kind are None."""


def rows(reading: Reading) -> Iterator[pa.Table]:
    """One row for every question, in the order in which they came."""
    columns: dict[str, InstrumentedAttribute[Any]] = {
        "image_id": Explanation.image_id,
        "question": Explanation.question,
        "parts": Explanation.parts,
    }
    if reading.enriched:
        columns |= {
            "campaign_id": Explanation.campaign_id, "created_at": Explanation.created_at,
            "llm_call_ids": Explanation.llm_call_ids,
        }  # fmt: skip
    for page in read_revised(reading, Explanation, columns):
        yield _table(reading, page)


def _table(reading: Reading, page: Columns) -> pa.Table:
    frame = reading.frame(page["image_id"])
    table = {
        **frame.published(),
        "question": text(page["question"], "question", page["row_id"]),
        **_answers(page),
        "row_id": pa.array(page["row_id"], pa.int64()),
        "annotators": annotators(reading, page),
        "original_sha256": frame.column("sha256"),
    }
    if reading.enriched:
        table |= {"image_file": frame.picture(), **frame.provenance()}
        table |= people(reading, page)
        table["agreement"] = pa.nulls(len(page["row_id"]), pa.float64())
        table["steps"] = _steps(Calls(reading, page), len(page["row_id"]))
    return kept(table, frame.keep)


def _answers(page: Columns) -> dict[str, pa.Array]:
    """The columns that tell the answer: as text with points in it, as text with placeholders, and the points."""
    answers = from_json(page["parts"], PARTS, page["row_id"]).to_pylist()
    for row_id, parts in zip(page["row_id"], answers, strict=True):
        _check(row_id, parts)
    groups = [[part for part in parts if part["text"] is None] for parts in answers]
    points = _points(groups, page["row_id"])
    tags = [
        [tag(clicked, group["alt"], group["inline"]) for clicked, group in zip(*of_row, strict=True)]
        for of_row in zip(points.to_pylist(), groups, strict=True)
    ]
    filled = [_filled(parts, iter(of_row)) for parts, of_row in zip(answers, tags, strict=True)]
    return {
        "response": pa.array(filled, pa.string()),
        "parsed_response": pa.array([_filled(parts, repeat(PLACEHOLDER)) for parts in answers], pa.string()),
        "alt_text": pa.array([[group["alt"] for group in of_row] for of_row in groups], _TEXTS),
        "inline_text": pa.array([[group["inline"] for group in of_row] for of_row in groups], _TEXTS),
        "points": points,
    }


def tag(points: Sequence[Sequence[float]], alt: str, inline: str) -> str:
    """A group of points ([x, y] in percent) as Molmo spells it: tenths, halves to even, and no escaping.

    `<point x="10.5" y="20.0" alt="ALT">INLINE</point>`, `<points x1="10.5" y1="20.0" x2="30.0" ...>` if several.
    """
    tenths = (np.round(np.array(points, np.float64), 1) + 0.0).tolist()  # no -0.0
    if len(tenths) == 1:
        return f'<point x="{tenths[0][0]:.1f}" y="{tenths[0][1]:.1f}" alt="{alt}">{inline}</point>'
    places = " ".join(f'x{number}="{x:.1f}" y{number}="{y:.1f}"' for number, (x, y) in enumerate(tenths, start=1))
    return f'<points {places} alt="{alt}">{inline}</points>'


def _check(row_id: int, parts: Sequence[Part | None] | None) -> None:
    """An answer has text or points, and every part is one of the two. Raises `RowInvalid`."""
    reason = None
    if not parts or all(part and not (part["text"] or "").strip() and part["points"] is None for part in parts):
        reason = "has no answer"
    elif not all(part and (_is_text(part) or _is_group(part)) for part in parts):
        reason = "has a part that is neither text nor points with `inline` and `alt`"
    elif any(PLACEHOLDER in (part["text"] or "") for part in parts if part):
        reason = f"has {PLACEHOLDER} in its text, which stands for points"
    if reason:
        raise RowInvalid(f"Row {row_id} {reason}. Correct or withdraw it, then export again.")


def _is_text(part: Part) -> bool:
    return part["text"] is not None and all(part[key] is None for key in ("points", "inline", "alt"))


def _is_group(part: Part) -> bool:
    if part["text"] is not None or None in (part["inline"], part["alt"]):
        return False
    return bool(part["points"]) and all(point and len(point) == 2 for point in part["points"])


def _points(groups: Sequence[Sequence[Part]], row_ids: Sequence[int]) -> pa.Array:
    """`list<list<list<float64>>>` in percent: for each row its groups, for each group its points as [x, y]."""
    clicked = [[{"x": x, "y": y} for group in of_row for x, y in group["points"]] for of_row in groups]
    fractions = pa.array(clicked, POINTS)
    check_points(fractions, row_ids)
    axes = [pc.struct_field(percent(fractions).flatten(), axis).to_numpy() for axis in ("x", "y")]
    pairs = pa.ListArray.from_arrays(offsets(np.full(len(axes[0]), 2)), pa.array(np.stack(axes, axis=1).ravel()))
    sizes = np.array([len(group["points"]) for of_row in groups for group in of_row], np.int64)
    by_group = pa.ListArray.from_arrays(offsets(sizes), pairs)
    return pa.ListArray.from_arrays(offsets(np.array([len(of_row) for of_row in groups], np.int64)), by_group)


def _filled(parts: Sequence[Part], groups: Iterator[str]) -> str:
    """The answer with `groups` in the places of its points."""
    return "".join(next(groups) if part["text"] is None else part["text"] for part in parts)


def _steps(calls: Calls, rows: int) -> pa.Array:
    """A language model may have drafted the answer; a person asked, pointed and had the last word."""
    every = np.ones(rows, bool)
    question, points, response = (
        once(step(field, "human", saw_image=True), every) for field in ("question", "points", "response")
    )
    return joined(question, points, calls.steps("response"), response)


SET = DataSet(
    name="point-explanations",
    title="Point explanations",
    about="questions whose answers point at what they speak of",
    configs=PUBLISHED["point-explanations"],
    enriched=enriched(PUBLISHED["point-explanations"]["default"], IMAGE_COLUMNS, PEOPLE_COLUMNS),
    rows=rows,
    count=lambda reading: count(reading, Explanation),
    tables=[Explanation, LlmCall],
    meaning=MEANING["point-explanations"],
    measures=[
        Measure("Groups of points of an answer", "groups", lambda page: pc.list_value_length(page.column("points"))),
    ],
    coordinates="percent (0-100) of the upright image's width and height, origin top left",
    tags=["pointing", "grounding"],
    statement=[
        "Annotators saw an image, asked about it, and pointed at what the answer speaks of, each group of points with "
        "its own description; a text-only language model, where one was used, worked from these words alone.",
    ],
)
