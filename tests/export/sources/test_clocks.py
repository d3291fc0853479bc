from typing import Any

import pytest

from pixmo.context import Context
from pixmo.export.models import Subject
from pixmo.export.pages import PAGE
from pixmo.export.segments import RowInvalid
from pixmo.export.sets import MEANING, data_set
from pixmo.export.sources.clocks import SET
from pixmo.export.splits import split_of
from pixmo.synthetic.models import ClockFace
from tests.export.sources.asking import ALWAYS, DAY, Asking, by, made

SHARES = {"validation": 0.2, "test": 0.3}
MADE = {
    "annotators": [],
    "annotated_on": DAY,
    "original_sha256": None,
    "steps": [
        made(field, "script", saw=False)
        for field in ("watch_time", "hour_visible", "minute_visible", "second_visible", "text")
    ],
}


@pytest.fixture
def asking(context: Context) -> Asking:
    return Asking(context)


def face(number: int, **columns: Any) -> dict[str, Any]:
    """A face of design `number % 10` that shows 19:57 and `number` seconds."""
    return {
        "example_id": f"example-{number}", "watchface_id": f"face{number % 10:06}", "watchface_name": "Plain",
        "watch_time": f"003_2020-06-28T19:57:{number % 60:02}", "time_format": "With AM/PM", "shows_seconds": True,
        "hour_visible": 19, "minute_visible": 57, "second_visible": number % 60, "text": f"7:57:{number % 60:02} PM",
        **columns,
    }  # fmt: skip


def test_the_set_is_found_by_its_name_and_has_no_column_of_an_image() -> None:
    assert data_set("clocks") is SET
    assert set(SET.enriched) <= {*SET.meaning, *MEANING}
    assert [*SET.enriched] == [*SET.configs["default"], "row_id", "annotators", "steps", "annotated_on"]


def test_a_row_holds_what_a_face_shows_and_that_code_made_it(asking: Asking) -> None:
    hidden = {"hour_visible": -1, "minute_visible": -1, "second_visible": -1, "shows_seconds": False, "text": "?"}
    midnight = {"hour_visible": 0, "minute_visible": 0, "second_visible": 0, "time_format": "Without AM/PM"}
    latest = {"hour_visible": 23, "minute_visible": 59, "second_visible": 59, "watchface_name": 'Ö "1" 水'}
    faces = [face(7), face(8, **hidden), face(9, **midnight), face(10, **latest)]
    for one in faces:
        asking.add(ClockFace, **one)
    assert asking.rows(SET) == [
        {**one, **MADE, "row_id": number, "split": "train"} for number, one in enumerate(faces, start=1)
    ]
    assert asking.count(SET) == 4


def test_plain_rows_have_the_published_columns(asking: Asking) -> None:
    person = asking.person()
    asking.add(ClockFace, **face(1), **person)
    [row] = asking.rows(SET, enriched=False)
    assert row == {**face(1), "row_id": 1, "split": "train", "annotators": by(person), "original_sha256": None}
    assert set(row) == {*SET.configs["default"], *ALWAYS}


def test_a_design_stands_in_one_split_and_test_is_folded_into_validation(asking: Asking) -> None:
    designs = [f"face{number:06}" for number in range(10)]
    expected = {one: split_of(one, SHARES) for one in designs}
    assert set(expected.values()) == {"train", "validation", "test"}
    for number in range(30):
        asking.add(ClockFace, **face(number))
    for shares, held_out in ((SHARES, "validation"), ({}, "train")):
        found: dict[str, set[str]] = {}
        for row in asking.rows(SET, shares=shares):
            found.setdefault(row["watchface_id"], set()).add(row["split"])
        assert found == {one: {"train" if split == "train" else held_out} for one, split in expected.items()}


def test_the_newest_revision_stands_in_the_place_of_the_first(asking: Asking) -> None:
    first, second, _ = (asking.add(ClockFace, **face(number)) for number in range(3))
    asking.add(ClockFace, root_id=first, **face(100, minute_visible=58))
    asking.add(ClockFace, root_id=second, retracted=True, **face(101, minute_visible=99))
    asking.add(ClockFace, root_id=first, **face(102, minute_visible=59))
    rows = asking.rows(SET)
    assert [(row["row_id"], row["minute_visible"]) for row in rows] == [(1, 59), (3, 57)]
    assert asking.left_out == {"withdrawn": 1}


def test_the_work_of_somebody_who_was_taken_down_is_left_out(asking: Asking) -> None:
    silenced = asking.person()
    asking.add(ClockFace, **face(0))
    asking.add(ClockFace, **face(1), **silenced)
    asking.take_down(Subject.annotator, silenced["user_id"])
    assert [row["row_id"] for row in asking.rows(SET)] == [1]
    assert asking.left_out == {"taken_down": 1}


def test_one_campaign_can_be_read_alone(asking: Asking) -> None:
    campaigns = [asking.filler.campaign(name) for name in ("one", "two")]
    for number, campaign in enumerate((*campaigns, None)):
        asking.add(ClockFace, campaign_id=campaign, **face(number))
    assert [row["example_id"] for row in asking.rows(SET, campaign=campaigns[1])] == ["example-1"]
    assert asking.count(SET, campaign=campaigns[1]) == 1


def test_pages_join_without_a_seam(asking: Asking) -> None:
    asking.add_many(ClockFace, [face(number) for number in range(PAGE + 3)])
    asking.add(ClockFace, root_id=5, **face(PAGE + 9, hour_visible=7))
    pages = asking.pages(SET, shares=SHARES)
    assert [page.num_rows for page in pages] == [PAGE, 3]
    assert pages[0].slice(4, 1).column("hour_visible").to_pylist() == [7]
    splits: dict[str, set[str]] = {}
    for page in pages:
        for row in page.select(["watchface_id", "split"]).to_pylist():
            splits.setdefault(row["watchface_id"], set()).add(row["split"])
    assert len(splits) == 10
    assert all(len(of_face) == 1 for of_face in splits.values())
    assert [row["example_id"] for row in pages[1].to_pylist()] == [f"example-{PAGE + n}" for n in range(3)]


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"hour_visible": 24}, "has the hour_visible 24, which is not between 0 and 23, nor -1"),
        ({"hour_visible": -2}, "has the hour_visible -2,"),
        ({"minute_visible": 60}, "has the minute_visible 60, which is not between 0 and 59, nor -1"),
        ({"minute_visible": -2}, "has the minute_visible -2,"),
        ({"second_visible": 60}, "has the second_visible 60,"),
        ({"second_visible": -2}, "has the second_visible -2,"),
        ({"watchface_id": ""}, "has no watchface_id"),
        ({"text": " "}, "has no text"),
    ],
)
def test_a_face_that_shows_no_time_is_refused_by_name(asking: Asking, wrong: dict[str, Any], what: str) -> None:
    for one in (face(0), face(1, **wrong), face(2)):
        asking.add(ClockFace, **one)
    with pytest.raises(RowInvalid, match=rf"Row 2 {what}"):
        asking.rows(SET)
