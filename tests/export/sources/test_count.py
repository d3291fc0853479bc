from collections import Counter
from typing import Any

import numpy as np
import pytest

from pixmo.context import Context
from pixmo.export.models import Subject
from pixmo.export.pages import PAGE
from pixmo.export.segments import RowInvalid
from pixmo.export.sets import MEANING, data_set
from pixmo.export.sources.count import SET
from pixmo.points.models import CountCheck, Verdict
from tests.export.sources.asking import DAY, by, made
from tests.export.sources.filling import Pointing, xy

CUPS: dict[str, Any] = {
    "label": "cups", "count": 2, "points": xy((0.25, 0.5), (0.75, 1)), "verdict": Verdict.confirmed,
}  # fmt: skip


@pytest.fixture
def store(context: Context) -> Pointing:
    return Pointing(context)


def checked(number: int, **columns: Any) -> dict[str, Any]:
    """A confirmed count of so many."""
    return {**CUPS, "count": number, "points": xy(*[(0.5, 0.5)] * number), **columns}


def test_the_set_is_found_by_its_name_and_every_column_has_a_meaning() -> None:
    assert data_set("count") is SET
    assert set(SET.enriched) <= {*SET.meaning, *MEANING}
    assert list(SET.enriched)[5:8] == ["row_id", "image", "image_file"]


def test_a_row_holds_points_in_pixels_in_train_and_the_count_alone_elsewhere(store: Pointing) -> None:
    person, campaign = store.person(), store.filler.campaign("counting", language="de")
    images = [store.sized(0, width=640, height=333), store.image(1, "validation"), store.image(2, "test")]
    third = 1 / 3
    first = store.add(
        CountCheck, image_id=images[0], campaign_id=campaign, detector="boxes-1", **person,
        **checked(3, points=xy((third, third), (0, 1), (1, 0.5))),
    )  # fmt: skip
    second = store.add(CountCheck, image_id=images[1], detector="boxes-1", **CUPS | {"count": 5})
    third_row = store.add(CountCheck, image_id=images[2], **checked(0, verdict=Verdict.corrected))
    fourth = store.add(CountCheck, image_id=images[0], **checked(0, verdict=Verdict.corrected), **person)
    in_train = {**store.of_image(images[0]), "width": 640, "height": 333, "split": "train"}
    detected = [made(field, "detector", "boxes-1", saw=True) for field in ("count", "points")]
    human = [made(field, "human", saw=True) for field in ("count", "points")]
    somebody = {"annotators": by(person), "consent_versions": ["2026-01"]}
    nobody = {"campaign": None, "language": None, "annotators": [], "consent_versions": []}
    always = {"label": "cups", "annotated_on": DAY, "agreement": None}
    x, y = np.float32(640 * third), np.float32(333 * third)
    assert store.rows(SET) == [
        {
            **in_train, **always, **somebody, "image": in_train["image_file"], "row_id": first, "count": 3,
            "points": {"x": [x, 0.0, 640.0], "y": [y, 333.0, 166.5]}, "campaign": "counting", "language": "de",
            "steps": detected + human,
        },
        {
            **store.of_image(images[1]), **always, **nobody, "image": store.of_image(images[1])["image_file"],
            "row_id": second, "split": "validation", "count": 5, "points": None, "steps": [detected[0], human[0]],
        },
        {
            **store.of_image(images[2]), **always, **nobody, "image": store.of_image(images[2])["image_file"],
            "row_id": third_row, "split": "test", "count": 0, "points": None, "steps": [human[0]],
        },
        {
            **in_train, **always, **nobody, **somebody, "image": in_train["image_file"], "row_id": fourth, "count": 0,
            "points": {"x": [], "y": []}, "steps": human,
        },
    ]  # fmt: skip
    assert store.count(SET) == 4


def test_plain_rows_have_the_published_columns(store: Pointing) -> None:
    person, image = store.person(), store.image(3)
    store.add(CountCheck, image_id=image, **CUPS, **person)
    of_image = store.of_image(image)
    assert store.rows(SET, enriched=False) == [
        {
            "image_url": "https://photos.example/3.jpg", "image_sha256": of_image["image_sha256"], "count": 2,
            "points": {"x": [12.0, 36.0], "y": [16.0, 32.0]}, "label": "cups", "row_id": 1, "split": "train",
            "annotators": by(person), "original_sha256": of_image["original_sha256"],
        }
    ]  # fmt: skip


def test_no_point_of_an_evaluation_image_is_left_in_the_page(store: Pointing) -> None:
    store.add(CountCheck, image_id=store.image(0, "test"), **CUPS)
    [page] = store.pages(SET, enriched=False)
    points = page.column("points").chunk(0)
    assert [len(points.field(axis).values) for axis in ("x", "y")] == [0, 0]


def test_rejected_proposals_are_left_out_and_a_correction_may_accept_or_reject(store: Pointing) -> None:
    image, one, other = store.image(0), store.person(), store.person()
    kept, rejected, accepted, withdrawn = (
        store.add(CountCheck, image_id=image, **CUPS | {"verdict": verdict}, **one)
        for verdict in (Verdict.confirmed, Verdict.confirmed, Verdict.rejected, Verdict.confirmed)
    )
    store.add(CountCheck, image_id=image, root_id=rejected, **CUPS | {"verdict": Verdict.rejected}, **other)
    store.add(CountCheck, image_id=image, root_id=accepted, **checked(1, verdict=Verdict.corrected), **other)
    store.add(CountCheck, image_id=image, root_id=withdrawn, retracted=True, **CUPS, **one)
    rows = store.rows(SET)
    assert [(row["row_id"], row["count"], row["annotators"]) for row in rows] == [
        (kept, 2, by(one)),
        (accepted, 1, by(other)),
    ]
    assert store.left_out == {"rejected": 1, "withdrawn": 1}


def test_a_page_of_rejected_proposals_gives_none(store: Pointing) -> None:
    store.add(CountCheck, image_id=store.image(0), **CUPS | {"verdict": Verdict.rejected})
    assert store.pages(SET) == []
    assert store.left_out == {"rejected": 1}


def test_what_was_taken_down_or_stands_in_no_split_is_left_out_and_counted(store: Pointing) -> None:
    silenced, heard = store.person(), store.person()
    images = [store.image(0), store.image(1), store.image(2, "withheld"), store.image(3, None)]
    for image in images:
        store.add(CountCheck, image_id=image, **CUPS, **heard)
    store.add(CountCheck, image_id=images[1], **CUPS | {"count": 7}, **heard)  # wrong, but not published
    store.add(CountCheck, image_id=images[0], **CUPS, **silenced)
    store.take_down(Subject.image, images[1])
    store.take_down(Subject.annotator, silenced["user_id"])
    assert [row["row_id"] for row in store.rows(SET)] == [1]
    assert store.left_out == {"taken_down": 3, "withheld": 2}


def test_one_campaign_can_be_read_alone(store: Pointing) -> None:
    image, campaigns = store.image(0), [store.filler.campaign(name) for name in ("one", "two")]
    for campaign in (*campaigns, None, campaigns[1]):
        store.add(CountCheck, image_id=image, campaign_id=campaign, **CUPS)
    rows = store.rows(SET, campaign=campaigns[1])
    assert [(row["row_id"], row["campaign"]) for row in rows] == [(2, "two"), (4, "two")]
    assert store.count(SET, campaign=campaigns[1]) == 2


def test_a_balanced_evaluation_has_the_first_rows_of_every_count_from_2_to_10(store: Pointing) -> None:
    images = {split: store.image(2 * n, split) for n, split in enumerate(("train", "validation", "test", "withheld"))}
    gone = store.image(9, "test")
    store.take_down(Subject.image, gone)
    store.add_many(
        CountCheck,
        [
            {"image_id": images[split], **checked(number)}
            for number in (*range(12), *range(12), *range(12))
            for split in ("train", "validation", "test", "withheld")
        ],
    )
    first_of_all = store.add(CountCheck, image_id=gone, **checked(3))
    everything = store.rows(SET)
    assert Counter(row["split"] for row in everything) == {"train": 36, "validation": 36, "test": 36}
    assert store.left_out == {"withheld": 36, "taken_down": 1}
    rows = store.rows(SET, balanced_eval=2)
    assert store.left_out == {"withheld": 36, "taken_down": 1, "balanced_eval": 36}
    assert Counter(row["split"] for row in rows) == {"train": 36, "validation": 18, "test": 18}
    for split in ("validation", "test"):
        of_split = [row for row in rows if row["split"] == split]
        assert [row["count"] for row in of_split] == [*range(2, 11), *range(2, 11)]
        assert of_split == [row for row in everything if row["split"] == split and 2 <= row["count"] <= 10][:18]
    assert first_of_all not in [row["row_id"] for row in rows]


def test_rows_that_come_later_leave_a_balanced_evaluation_as_it_is(store: Pointing) -> None:
    test, train = store.image(0, "test"), store.image(2)
    store.add_many(CountCheck, [{"image_id": test, **checked(number)} for number in (4, 2, 4, 4)])
    before = store.rows(SET, balanced_eval=2, enriched=False)
    assert [(row["row_id"], row["count"]) for row in before] == [(1, 4), (2, 2), (3, 4)]
    store.add_many(CountCheck, [{"image_id": train, **checked(1)} for _ in range(PAGE)])
    store.add_many(CountCheck, [{"image_id": test, **checked(number)} for number in (4, 2, 2, 5)])
    pages = store.pages(SET, balanced_eval=2, enriched=False)
    assert len(pages) == 2
    after = [row for page in pages for row in page.to_pylist() if row["split"] == "test"]
    assert after[:3] == before
    assert [(row["row_id"], row["count"]) for row in after[3:]] == [(PAGE + 6, 2), (PAGE + 8, 5)]
    assert store.left_out == {"balanced_eval": 3}


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"count": 3}, r"states a count of 3, but has 2 points\. Correct or withdraw it"),
        ({"count": -1}, r"states that there are -1\."),
        ({"count": 2**31, "points": []}, r"states that there are 2,147,483,648\."),
        ({"points": xy((0.5, 0.5), (0.5, 1.01))}, r"has a point outside of its image \(y = 1\.01\)\."),
        ({"label": " "}, r"has no label\."),
    ],
)
def test_a_row_that_breaks_a_rule_is_named(store: Pointing, columns: dict[str, Any], reason: str) -> None:
    image = store.image(0)
    store.add(CountCheck, image_id=image, **CUPS)
    bad = store.add(CountCheck, image_id=image, **CUPS | columns)
    with pytest.raises(RowInvalid, match=rf"^Row {bad} {reason}"):
        store.rows(SET)


def test_points_that_are_no_list_of_points_are_refused(store: Pointing) -> None:
    image = store.image(0)
    store.add(CountCheck, image_id=image, **CUPS)
    bad = store.add(CountCheck, image_id=image, **checked(0))
    store.spoil(CountCheck, bad, "points", "none")
    with pytest.raises(RowInvalid, match=rf"^Row {bad} holds what is no list"):
        store.rows(SET)
