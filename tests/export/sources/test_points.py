import json
import re
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixmo.context import Context
from pixmo.export.models import ImageSplit, Split, Subject
from pixmo.export.pages import PAGE, Unlicensed, from_json
from pixmo.export.segments import RowInvalid
from pixmo.export.sets import MEANING, data_set
from pixmo.export.sources.points import POINTS, SET, percent
from pixmo.points.models import CollectionMethod, PointSet
from tests.export.sources.asking import DAY, by, made
from tests.export.sources.filling import Pointing, xy

POINTING, COUNTING = CollectionMethod.pointing, CollectionMethod.counting
CUP: dict[str, Any] = {"label": "the blue cup", "method": POINTING, "points": xy((0.25, 0.5))}
FRACTIONS = st.lists(
    st.fixed_dictionaries({axis: st.floats(0, 1) | st.integers(0, 1) for axis in ("x", "y")}), max_size=5
)


@pytest.fixture
def store(context: Context) -> Pointing:
    return Pointing(context)


def test_the_set_is_found_by_its_name_and_every_column_has_a_meaning() -> None:
    assert data_set("points") is SET
    assert set(SET.enriched) <= {*SET.meaning, *MEANING}


def test_a_row_holds_points_in_percent_and_all_that_made_them(store: Pointing) -> None:
    person, campaign = store.person(), store.filler.campaign("pointing", language="de")
    images = [store.image(0), store.image(1, "validation")]
    points = xy((0.123456, 1), (0, 0.5), (1 / 3, 2 / 3))
    first = store.add(PointSet, image_id=images[0], campaign_id=campaign, **person, **CUP | {"points": points})
    second = store.add(PointSet, image_id=images[1], label="unicorns", method=COUNTING, points=[], agreement=0.75)
    always = {"annotated_on": DAY, "steps": [made("points", "human", saw=True)]}
    assert store.rows(SET) == [
        {
            **store.of_image(images[0]), **always, "row_id": first, "split": "train", "label": "the blue cup",
            "points": xy((12.346, 100.0), (0.0, 50.0), (33.333, 66.667)), "count": 3, "collection_method": "pointing",
            "campaign": "pointing", "language": "de", "annotators": by(person), "consent_versions": ["2026-01"],
            "agreement": None,
        },
        {
            **store.of_image(images[1]), **always, "row_id": second, "split": "validation", "label": "unicorns",
            "points": [], "count": 0, "collection_method": "counting", "campaign": None, "language": None,
            "annotators": [], "consent_versions": [], "agreement": 0.75,
        },
    ]  # fmt: skip
    assert store.count(SET) == 2


def test_plain_rows_have_the_published_columns(store: Pointing) -> None:
    person, image = store.person(), store.image(3, "test")
    store.add(PointSet, image_id=image, **CUP, **person)
    of_image = store.of_image(image)
    assert store.rows(SET, enriched=False) == [
        {
            "image_url": "https://photos.example/3.jpg", "image_sha256": of_image["image_sha256"],
            "points": xy((25.0, 50.0)), "count": 1, "label": "the blue cup", "collection_method": "pointing",
            "row_id": 1, "split": "test", "annotators": by(person), "original_sha256": of_image["original_sha256"],
        }
    ]  # fmt: skip


def test_the_newest_revision_stands_in_the_place_of_the_first(store: Pointing) -> None:
    image, one, other = store.image(0), store.person(), store.person()
    first, second, third = (store.add(PointSet, image_id=image, **CUP, **one) for _ in range(3))
    store.add(PointSet, image_id=image, root_id=first, **CUP | {"label": "a cup"}, **one)
    store.add(PointSet, image_id=image, root_id=first, **CUP | {"label": "a blue cup"}, **other)
    store.add(PointSet, image_id=image, root_id=second, retracted=True, **CUP, **one)
    rows = store.rows(SET)
    assert [(row["row_id"], row["label"]) for row in rows] == [(first, "a blue cup"), (third, "the blue cup")]
    assert rows[0]["annotators"] == by(other)
    assert store.left_out == {"withdrawn": 1}


def test_what_was_taken_down_or_stands_in_no_split_is_left_out_and_counted(store: Pointing) -> None:
    silenced, heard = store.person(), store.person()
    images = [store.image(0), store.image(1), store.image(2, "withheld"), store.image(3, None)]
    for image in images:
        store.add(PointSet, image_id=image, **CUP, **heard)
    store.add(PointSet, image_id=images[0], **CUP, **silenced)
    store.take_down(Subject.image, images[1])
    store.take_down(Subject.annotator, silenced["user_id"])
    assert [row["row_id"] for row in store.rows(SET)] == [1]
    assert store.left_out == {"taken_down": 2, "withheld": 2}


def test_one_campaign_can_be_read_alone(store: Pointing) -> None:
    image, campaigns = store.image(0), [store.filler.campaign(name) for name in ("one", "two")]
    for campaign in (*campaigns, None, campaigns[1]):
        store.add(PointSet, image_id=image, campaign_id=campaign, **CUP)
    rows = store.rows(SET, campaign=campaigns[1])
    assert [(row["row_id"], row["campaign"]) for row in rows] == [(2, "two"), (4, "two")]
    assert store.count(SET, campaign=campaigns[1]) == 2


def test_a_correction_on_a_later_page_keeps_the_place_of_its_first_revision(store: Pointing) -> None:
    images = [store.image(number) for number in range(3)]
    total = PAGE + 5
    store.add_many(
        PointSet,
        [
            {"image_id": images[n % 3], "label": f"thing {n}", "method": COUNTING, "points": xy((n / total, 0.5))}
            for n in range(total)
        ],
    )
    store.add(PointSet, image_id=images[0], root_id=2, **CUP)
    store.add(PointSet, image_id=images[0], root_id=PAGE + 2, **CUP)
    pages = store.pages(SET, enriched=False)
    assert [page.num_rows for page in pages] == [PAGE, 5]
    rows = [row for page in pages for row in page.to_pylist()]
    assert [row["row_id"] for row in rows] == list(range(1, total + 1))
    assert [rows[n]["label"] for n in (0, 1, PAGE, PAGE + 1)] == [
        "thing 0",
        CUP["label"],
        f"thing {PAGE}",
        CUP["label"],
    ]
    assert rows[PAGE]["points"] == xy((round(100 * PAGE / total, 3), 50.0))
    assert rows[4]["original_sha256"] == store.of_image(images[1])["original_sha256"]


def test_an_image_without_a_licence_is_refused_if_one_is_required(store: Pointing) -> None:
    image = store.filler.image(0, licence=None)
    store.add(PointSet, image_id=image, **CUP)
    assert store.rows(SET, require_licence=True) == []  # the image stands in no split, so it is not published
    store.add(ImageSplit, image_id=image, split=Split.train, cluster_id="cluster-0")
    with pytest.raises(Unlicensed, match=r"has no licence .* without --require-licence"):
        store.rows(SET, require_licence=True)


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (xy((0.5, 0.5), (1.5, 0.5)), "(x = 1.5)"),
        (xy((0.5, -0.001)), "(y = -0.001)"),
        ([{"x": 0.5}], "(y = None)"),
        ([None], "(x = None)"),
        ([{"x": "left", "y": 0.5}], "is no list"),
        ([{"x": 0.5, "y": 0.5, "z": 0.5}], "is no list"),
        ([{"x": float("nan"), "y": 0.5}], "(x = nan)"),
        ({"x": 0.5, "y": 0.5}, "is no list"),
    ],
)
def test_points_that_are_no_fractions_are_refused_by_the_name_of_their_row(
    store: Pointing, points: object, reason: str
) -> None:
    image = store.image(0)
    good, bad, _ = (store.add(PointSet, image_id=image, **CUP) for _ in range(3))
    store.spoil(PointSet, bad, "points", points)
    with pytest.raises(RowInvalid, match=rf"^Row {bad} .*{re.escape(reason)}"):
        store.rows(SET)
    assert good == 1


def test_a_blank_label_is_refused_by_the_name_of_its_row(store: Pointing) -> None:
    image = store.image(0)
    store.add(PointSet, image_id=image, **CUP)
    store.add(PointSet, image_id=image, **CUP | {"label": " \n"})
    with pytest.raises(RowInvalid, match=r"^Row 2 has no label\. Correct or withdraw it"):
        store.rows(SET)


@given(st.lists(FRACTIONS, min_size=1, max_size=5))
def test_arrow_reads_the_same_numbers_as_json(rows: list[list[dict[str, float]]]) -> None:
    texts = [json.dumps(row) for row in rows]
    parsed = from_json(texts, POINTS, range(len(texts)))
    assert parsed.type == POINTS
    assert parsed.to_pylist() == [json.loads(text) for text in texts]


@given(st.lists(FRACTIONS, min_size=1, max_size=5))
def test_percent_is_within_half_a_thousandth_and_keeps_the_order(rows: list[list[dict[str, float]]]) -> None:
    published = percent(pa.array(rows, POINTS))
    assert published.type == POINTS
    for row, points in zip(rows, published.to_pylist(), strict=True):
        for fraction, point in zip(row, points, strict=True):
            for axis in ("x", "y"):
                assert point[axis] == pytest.approx(100 * fraction[axis], rel=0, abs=0.0005 + 1e-12)
                assert point[axis] == round(point[axis], 3)
                assert 0 <= point[axis] <= 100
