from collections import Counter
from dataclasses import replace
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pixmo.export.provenance import STEPS_TYPE, step
from pixmo.export.sets import Measure, data_set
from pixmo.export.statistics import ModelSawImage, Statistics, summed

CAP, POINTS = data_set("cap"), data_set("points")
UNMEASURED = replace(POINTS, measures=[])
A, B, C = (letter * 64 for letter in "abc")
HUMAN, RECOGNISED = step("audio", "human", saw_image=True), step("text", "asr", "whisper", saw_image=False)
SCRIPT, WRITER = step("caption", "script", saw_image=False), step("caption", "llm_text", "writer", saw_image=False)
SAW = step("caption", "llm_text", "writer", saw_image=True)
KINDS = {
    "row_id": pa.int64(), "split": pa.string(), "caption": pa.string(), "transcripts": pa.list_(pa.string()),
    "original_sha256": pa.string(), "licence": pa.string(), "language": pa.string(), "campaign": pa.string(),
    "annotators": pa.list_(pa.string()), "consent_versions": pa.list_(pa.string()), "durations": pa.list_(pa.float64()),
    "voiced_seconds": pa.list_(pa.float64()), "annotated_on": pa.list_(pa.date32()), "steps": STEPS_TYPE,
    "flags": pa.list_(pa.struct([("kind", pa.string())])),
}  # fmt: skip


def page(*rows: dict[str, Any]) -> pa.Table:
    """Rows; a column that none of them has is not there."""
    names = [name for name in KINDS if any(name in row for row in rows)]
    return pa.table({name: pa.array([row.get(name) for row in rows], KINDS[name]) for name in names})


ONE = page(
    {
        "row_id": 1, "split": "train", "caption": "a red kettle", "transcripts": ["a kettle", "red um red"],
        "original_sha256": A, "licence": "CC0-1.0", "language": "en", "campaign": "kitchen",
        "annotators": ["a_1", "a_2"], "consent_versions": ["2026-01", None], "durations": [10.25, 20.5],
        "voiced_seconds": [9.0, None], "annotated_on": [date(2026, 3, 2), date(2026, 3, 1)],
        "steps": [HUMAN, RECOGNISED, SCRIPT], "flags": [],
    },
    {
        "row_id": 2, "split": "test", "caption": "two  cups ", "transcripts": ["cups"], "original_sha256": B,
        "language": "de", "campaign": None, "annotators": ["a_1"], "consent_versions": [], "durations": [0.75],
        "voiced_seconds": None, "annotated_on": [None], "steps": [HUMAN, RECOGNISED, WRITER],
        "flags": [{"kind": "number"}, {"kind": "word"}],
    },
)  # fmt: skip
TWO = page(
    {
        "row_id": 3, "split": "train", "caption": "a red kettle", "transcripts": ["a kettle"], "original_sha256": A,
        "licence": "CC0-1.0", "language": "en", "campaign": "kitchen", "annotators": ["a_2"],
        "consent_versions": ["2026-01"], "durations": [1.0], "voiced_seconds": [1.0],
        "annotated_on": [date(2026, 2, 1)], "steps": [], "flags": None,
    },
)  # fmt: skip
EXPECTED = {
    "rows": {"train": 2, "test": 1},
    "images": 2,
    "unlicensed_images": 1,
    "annotators": 2,
    "annotations_of_annotators": [2, 2],
    "first_day": "2026-02-01",
    "last_day": "2026-03-02",
    "recorded_seconds": 32.5,
    "voiced_seconds": 10.0,
    "flagged_captions": 1,
    "licences": {"CC0-1.0": 1, "none stated": 1},
    "models": {"whisper": 2, "writer": 1},
    "origins": {"asr": 2, "human": 2, "llm_text": 1, "script": 1},
    "campaign": {"kitchen": 2, "none": 1},
    "consent_versions": {"2026-01": 2, "none": 1},
    "language": {"de": 1, "en": 2},
    "measures": {
        "Words of a caption": {"n": 3, "mean": 2.67, "median": 3, "least": 2, "most": 3},
        "Words of a transcript": {"n": 4, "mean": 2.0, "median": 2, "least": 1, "most": 3},
    },
    "histograms": {"Words of a caption": {"2": 1, "3": 2}, "Words of a transcript": {"1": 1, "2": 2, "3": 1}},
}


def test_totals_are_those_of_all_pages() -> None:
    statistics = Statistics()
    statistics.add(ONE, CAP)
    statistics.add(TWO, CAP)
    assert statistics.report() == EXPECTED
    assert list(statistics.report()["rows"]) == ["train", "test"]


def test_how_rows_are_paged_does_not_matter() -> None:
    whole = pa.concat_tables([ONE, TWO])
    for pages in (
        [whole],
        [whole.slice(i, 1) for i in range(3)],
        [whole.slice(0, 0), whole.slice(0, 1), whole.slice(1)],
    ):
        statistics = Statistics()
        for one in pages:
            statistics.add(one, CAP)
        assert statistics.report() == EXPECTED


def test_plain_pages_have_less_to_count() -> None:
    plain = ONE.select(["row_id", "split", "caption", "transcripts", "annotators", "original_sha256"])
    statistics = Statistics()
    statistics.add(plain, CAP)
    report = statistics.report()
    assert (report["rows"], report["images"], report["annotators"]) == ({"train": 1, "test": 1}, 2, 2)
    assert (report["licences"], report["unlicensed_images"], report["first_day"]) == ({}, 0, None)
    assert report["measures"]["Words of a caption"]["n"] == 2
    assert not {"campaign", "language", "consent_versions"} & report.keys()


def test_nothing_makes_an_empty_report() -> None:
    report = Statistics().report()
    assert (report["rows"], report["images"], report["histograms"], report["annotators"]) == ({}, 0, {}, 0)
    empty = Statistics()
    empty.add(ONE.slice(0, 0), CAP)
    assert empty.report()["measures"] == {title: {"n": 0} for title in ("Words of a caption", "Words of a transcript")}


def test_an_image_counts_once_with_its_own_licence() -> None:
    rows = [
        {"row_id": i, "split": "train", "original_sha256": image, "licence": licence}
        for i, (image, licence) in enumerate(
            [(None, "unlike"), (B, "cc-b"), (None, "unlike"), (C, ""), (A, "cc-a"), (B, "cc-b"), (C, "")], start=1
        )
    ]
    statistics = Statistics()
    for start in range(0, len(rows), 5):
        statistics.add(page(*rows[start : start + 5]), UNMEASURED)
    assert statistics.images == 3
    assert statistics.licences == Counter({"cc-a": 1, "cc-b": 1, "none stated": 1})
    assert statistics.unlicensed_images == 1


def test_a_single_day_for_each_row_is_read_too() -> None:
    days = pa.array([date(2026, 5, 1), None, date(2026, 4, 30)], pa.date32())
    statistics = Statistics()
    table = pa.table({"split": ["train"] * 3, "annotated_on": days, "count": [2, 0, 2]})
    statistics.add(table, POINTS)
    assert statistics.days == ["2026-04-30", "2026-05-01"]
    assert statistics.histograms == {"Points of an expression": {0: 1, 2: 2}}


@pytest.mark.parametrize("bad", [SAW, step("caption", "asr", saw_image=True), SAW | {"origin": None}])
def test_a_model_that_saw_an_image_is_found_with_its_row(bad: dict[str, Any]) -> None:
    rows = [{"row_id": 10 + i, "split": "train", "steps": steps} for i, steps in enumerate(
        [[HUMAN], [], None, [HUMAN, RECOGNISED], [HUMAN, SCRIPT, bad], [bad]]
    )]  # fmt: skip
    table = page(*rows)
    for one in (table, table.slice(1), table.slice(3, 2), pa.concat_tables([table.slice(0, 2), table.slice(2)])):
        with pytest.raises(ModelSawImage) as caught:
            Statistics().add(one, UNMEASURED)
        assert caught.value.args == (14, bad)


def test_people_and_detectors_may_see_images() -> None:
    statistics = Statistics()
    seeing = [HUMAN, step("points", "detector", "boxes", saw_image=True), step("x", "script", saw_image=False)]
    statistics.add(page({"row_id": 1, "split": "train", "steps": seeing}), UNMEASURED)
    assert statistics.origins == Counter(human=1, detector=1, script=1)
    assert statistics.models == Counter(boxes=1)


def test_what_a_measure_does_not_give_is_not_counted() -> None:
    lengths = Measure("Length", "letters", lambda table: pc.utf8_length(table.column("label")))
    table = pa.table({"split": ["train"] * 3, "label": ["ab", None, "abc"]})
    statistics = Statistics()
    statistics.add(table, replace(POINTS, measures=[lengths]))
    assert statistics.histograms == {"Length": {2: 1, 3: 1}}


@pytest.mark.parametrize(
    ("histogram", "expected"),
    [
        ({}, {"n": 0}),
        ({7: 1}, {"n": 1, "mean": 7.0, "median": 7, "least": 7, "most": 7}),
        ({1: 1, 2: 1}, {"n": 2, "mean": 1.5, "median": 1, "least": 1, "most": 2}),
        ({9: 1, 1: 2, 5: 2}, {"n": 5, "mean": 4.2, "median": 5, "least": 1, "most": 9}),
        ({0: 999_999, 3: 1}, {"n": 1_000_000, "mean": 0.0, "median": 0, "least": 0, "most": 3}),
    ],
)
def test_histograms_are_summed(histogram: dict[int, int], expected: dict[str, float]) -> None:
    assert summed(histogram) == expected
