from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pixmo.context import Context
from pixmo.export.models import ImageSplit, Split, Subject
from pixmo.export.pages import PAGE, Unlicensed
from pixmo.export.segments import RowInvalid
from pixmo.export.sets import MEANING, data_set
from pixmo.export.sources.points_eval import PIXELS, ROWS, SET, decode, page_ends
from pixmo.points.models import CollectionMethod, PointMask, PointSet
from tests.export.sources.asking import DAY, by, made
from tests.export.sources.filling import Pointing, runs, xy

CUP: dict[str, Any] = {"label": "the blue cup", "method": CollectionMethod.pointing, "points": xy((0.25, 0.5))}
CUPS: dict[str, Any] = {**CUP, "label": "cups", "points": xy((0.9, 0.9), (0.1, 0.2))}


RUNS = r"the runs are not those of 32 x 48 pixels\."


@pytest.fixture
def store(context: Context) -> Pointing:
    return Pointing(context)


def noise(seed: int, height: int = 32, width: int = 48) -> NDArray[np.bool_]:
    """A mask [height, width] that looks like nothing."""
    return np.random.default_rng(seed).random((height, width)) < 0.3


def as_lists(*masks: NDArray[np.bool_]) -> list[list[list[bool]]]:
    return [mask.tolist() for mask in masks]


def test_the_set_is_found_by_its_name_and_every_column_has_a_meaning() -> None:
    assert data_set("points-eval") is SET
    assert set(SET.enriched) <= {*SET.meaning, *MEANING}


def test_a_row_holds_points_masks_and_all_that_made_them(store: Pointing) -> None:
    person, campaign = store.person(), store.filler.campaign("pointing", language="de")
    image, odd = store.image(0, "test"), store.sized(3, "test", width=5, height=3)
    two = [noise(1), ~noise(2)]
    first = store.add(PointSet, image_id=image, campaign_id=campaign, agreement=0.5, **CUPS, **person)
    store.masks(first, two, model="segmenter-1")
    one = np.zeros((3, 5), bool)
    one[0, 0] = one[1, 2:] = one[2, 4] = True
    second = store.add(PointSet, image_id=odd, **CUP)
    store.masks(second, [one])
    assert runs(one) == [0, 1, 6, 3, 4, 1]
    third = store.add(PointSet, image_id=image, **CUP | {"points": []})
    of_image, of_odd = store.of_image(image), {**store.of_image(odd), "width": 5, "height": 3}
    clicked, accepted = made("points", "human", saw=True), made("masks", "human", saw=True)
    nobody = {"campaign": None, "language": None, "annotators": [], "consent_versions": [], "agreement": None}
    always = {"split": "test", "annotated_on": DAY}
    assert store.rows(SET) == [
        {
            **of_image, **always, "image": of_image["image_file"], "row_id": first, "label": "cups",
            "points": xy((90.0, 90.0), (10.0, 20.0)), "masks": as_lists(*two), "campaign": "pointing",
            "language": "de", "annotators": by(person), "consent_versions": ["2026-01"], "agreement": 0.5,
            "steps": [clicked, made("masks", "detector", "segmenter-1", saw=True), accepted],
        },
        {
            **of_odd, **always, **nobody, "image": of_odd["image_file"], "row_id": second, "label": "the blue cup",
            "points": xy((25.0, 50.0)), "masks": as_lists(one), "steps": [clicked, accepted],
        },
        {
            **of_image, **always, **nobody, "image": of_image["image_file"], "row_id": third,
            "label": "the blue cup", "points": [], "masks": [], "steps": [clicked],
        },
    ]  # fmt: skip
    assert store.count(SET) == 3


def test_plain_rows_have_the_published_columns(store: Pointing) -> None:
    person, image, mask = store.person(), store.image(3, "test"), noise(1)
    store.masks(store.add(PointSet, image_id=image, **CUP, **person), [mask])
    of_image = store.of_image(image)
    assert store.rows(SET, enriched=False) == [
        {
            "image_url": "https://photos.example/3.jpg", "image_sha256": of_image["image_sha256"],
            "label": "the blue cup", "points": xy((25.0, 50.0)), "masks": as_lists(mask), "row_id": 1,
            "split": "test", "annotators": by(person), "original_sha256": of_image["original_sha256"],
        }
    ]  # fmt: skip


def test_masks_stand_in_the_order_of_the_points_and_models_are_named_once(store: Pointing) -> None:
    image, masks = store.image(0, "test"), [noise(seed) for seed in range(3)]
    row = store.add(PointSet, image_id=image, **CUPS | {"points": xy(*[(0.5, 0.5)] * 3)})
    for number in (2, 0, 1):
        model = ("small", "large", "small")[number]
        store.add(
            PointMask, point_set_id=row, number=number, height=32, width=48, runs=runs(masks[number]), model=model
        )
    [found] = store.rows(SET)
    assert found["masks"] == as_lists(*masks)
    assert [one["model"] for one in found["steps"]] == [None, "small", "large", None]


def test_only_rows_of_test_with_a_mask_for_every_point_are_here(store: Pointing) -> None:
    images = {split: store.image(2 * n, split) for n, split in enumerate(("train", "validation", "test", "withheld"))}
    for image in (*images.values(), store.image(9, None)):
        store.masks(store.add(PointSet, image_id=image, **CUP), [noise(1)])
    half = store.add(PointSet, image_id=images["test"], **CUPS)
    store.masks(half, [noise(1)])
    store.add(PointSet, image_id=images["test"], **CUP)
    assert [row["row_id"] for row in store.rows(SET)] == [3]
    assert store.left_out == {"not_in_test": 4, "no_masks": 2}


def test_a_correction_counts_when_its_own_points_have_masks(store: Pointing) -> None:
    image, one, other = store.image(0, "test"), store.person(), store.person()
    old, new = noise(1), noise(2)
    first, second, third, fourth = (store.add(PointSet, image_id=image, **CUP, **one) for _ in range(4))
    for row in (first, second, third, fourth):
        store.masks(row, [old])
    moved = store.add(PointSet, image_id=image, root_id=first, **CUP | {"points": xy((0.3, 0.4))}, **other)
    store.masks(moved, [new])
    store.add(PointSet, image_id=image, root_id=second, **CUP | {"points": xy((0.7, 0.7))}, **other)
    store.add(PointSet, image_id=image, root_id=third, retracted=True, **CUP, **one)
    rows = store.rows(SET)
    assert [(row["row_id"], row["points"], row["masks"], row["annotators"]) for row in rows] == [
        (first, xy((30.0, 40.0)), as_lists(new), by(other)),
        (fourth, xy((25.0, 50.0)), as_lists(old), by(one)),
    ]
    assert store.left_out == {"withdrawn": 1, "no_masks": 1}


def test_what_was_taken_down_is_left_out_and_counted(store: Pointing) -> None:
    silenced, heard = store.person(), store.person()
    images = [store.image(0, "test"), store.image(2, "test")]
    for image, person in ((images[0], heard), (images[1], heard), (images[0], silenced)):
        store.masks(store.add(PointSet, image_id=image, **CUP, **person), [noise(1)])
    store.take_down(Subject.image, images[1])
    store.take_down(Subject.annotator, silenced["user_id"])
    assert [row["row_id"] for row in store.rows(SET)] == [1]
    assert store.left_out == {"taken_down": 2}


def test_a_licence_is_required_of_the_images_of_test_alone(store: Pointing) -> None:
    store.add(PointSet, image_id=store.filler.image(8, licence=None), **CUP)
    store.masks(store.add(PointSet, image_id=store.image(0, "test"), **CUP), [noise(1)])
    assert [row["row_id"] for row in store.rows(SET, require_licence=True)] == [2]
    unlicensed = store.filler.image(9, licence=None)
    store.masks(store.add(PointSet, image_id=unlicensed, **CUP), [noise(1)])
    store.add(ImageSplit, image_id=unlicensed, split=Split.test, cluster_id="cluster-4")
    with pytest.raises(Unlicensed):
        store.rows(SET, require_licence=True)


def test_one_campaign_can_be_read_alone(store: Pointing) -> None:
    image, campaigns = store.image(0, "test"), [store.filler.campaign(name) for name in ("one", "two")]
    for campaign in (*campaigns, None, campaigns[1]):
        store.masks(store.add(PointSet, image_id=image, campaign_id=campaign, **CUP), [noise(1)])
    rows = store.rows(SET, campaign=campaigns[1])
    assert [(row["row_id"], row["campaign"]) for row in rows] == [(2, "two"), (4, "two")]
    assert store.count(SET, campaign=campaigns[1]) == 2


def test_pages_are_small_and_hold_the_rows_in_order(store: Pointing) -> None:
    test, train = store.image(0, "test"), store.image(2)
    for seed in range(ROWS + 1):
        store.masks(store.add(PointSet, image_id=test, **CUP), [noise(seed)])
    store.add_many(PointSet, [{"image_id": train, **CUP} for _ in range(PAGE)])
    last = store.add(PointSet, image_id=test, **CUP)
    store.masks(last, [noise(100)])
    pages = store.pages(SET, enriched=False)
    assert [page.num_rows for page in pages] == [ROWS, 1, 1]
    rows = [row for page in pages for row in page.to_pylist()]
    assert [row["row_id"] for row in rows] == [*range(1, ROWS + 2), last]
    assert [row["masks"] for row in rows] == [as_lists(noise(seed)) for seed in (*range(ROWS + 1), 100)]
    assert store.left_out == {"not_in_test": PAGE}


def test_a_page_ends_before_its_masks_are_many_pixels() -> None:
    assert list(page_ends([])) == []
    assert list(page_ends([PIXELS])) == [1]
    assert list(page_ends([PIXELS * 3, 1, PIXELS, PIXELS - 1, 1, 1])) == [1, 2, 3, 5, 6]
    assert list(page_ends([1] * (2 * ROWS + 1))) == [ROWS, 2 * ROWS, 2 * ROWS + 1]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"width": 32, "height": 48}, r"it has 48 x 32 pixels, but the upright image has 32 x 48\."),
        ({"runs": [1535]}, RUNS),
        ({"runs": [1000, 537]}, RUNS),
        ({"runs": [1600, -64]}, RUNS),
        ({"runs": [-64, 1600]}, RUNS),
        ({"runs": [2**62, 2**62, 2**62, 2**62, 1536]}, RUNS),
        ({"runs": []}, RUNS),
    ],
)
def test_a_mask_that_does_not_fit_is_refused_by_the_name_of_its_row(
    store: Pointing, columns: dict[str, Any], reason: str
) -> None:
    image = store.image(0, "test")
    store.masks(store.add(PointSet, image_id=image, **CUP), [noise(1)])
    bad = store.add(PointSet, image_id=image, **CUP)
    store.masks(bad, [noise(1)], **columns)
    with pytest.raises(RowInvalid, match=rf"^Row {bad}, mask of point 0: {reason}"):
        store.rows(SET)


@pytest.mark.parametrize("value", [[768.5, 767.5], "all", None, [None, 1536]])
def test_runs_that_are_no_whole_numbers_are_refused(store: Pointing, value: object) -> None:
    image = store.image(0, "test")
    for _ in range(2):
        store.masks(store.add(PointSet, image_id=image, **CUP), [noise(1)])
    store.spoil(PointMask, 2, "runs", value)
    with pytest.raises(RowInvalid, match=r"^Row 2\b"):
        store.rows(SET)


def test_a_mask_of_a_point_that_is_not_there_is_refused(store: Pointing) -> None:
    image = store.image(0, "test")
    row = store.add(PointSet, image_id=image, **CUP)
    store.masks(row, [noise(1), noise(2)])
    with pytest.raises(RowInvalid, match=r"^Row 1 has 1 points, but masks of the points 0 to 1 \(the first is 0\)\."):
        store.rows(SET)


def test_masks_that_no_row_can_hold_are_refused(store: Pointing) -> None:
    image = store.sized(0, "test", width=2**14, height=2**16)
    row = store.add(PointSet, image_id=image, **CUPS)
    for number in range(2):
        store.add(PointMask, point_set_id=row, number=number, height=2**16, width=2**14, runs=[2**30])
    with pytest.raises(RowInvalid, match=r"^Row 1: 2 masks of 65536 x 16384 pixels are more than one row can hold"):
        store.rows(SET)


@pytest.mark.parametrize(
    ("columns", "reason"), [({"points": xy((0.5, 1.01))}, "has a point outside"), ({"label": " "}, "has no label")]
)
def test_points_and_label_that_break_a_rule_are_refused(store: Pointing, columns: dict[str, Any], reason: str) -> None:
    row = store.add(PointSet, image_id=store.image(0, "test"), **CUP | columns)
    store.masks(row, [noise(1)])
    with pytest.raises(RowInvalid, match=rf"^Row {row} {reason}"):
        store.rows(SET)


@given(hnp.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_runs_decode_to_the_mask_that_they_came_from(mask: NDArray[np.bool_]) -> None:
    assert np.array_equal(decode(np.array(runs(mask)), *mask.shape), mask)
