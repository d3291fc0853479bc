import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select

from pixmo.accounts.models import User
from pixmo.campaigns.models import Campaign
from pixmo.context import Context
from pixmo.export.models import ImageSplit, Split, Subject
from pixmo.export.pages import (
    Reading,
    Unlicensed,
    check_points,
    count,
    from_json,
    kept,
    pseudonym,
    read_revised,
    text,
    words,
)  # fmt: skip
from pixmo.export.segments import RowInvalid
from pixmo.points.models import CollectionMethod, PointSet
from tests.export.arrays import POINTS, QUICK
from tests.export.sources.asking import KEY, WHEN
from tests.export.sources.filling import Pointing

IDS = range(100, 10_000)
CUP: dict[str, Any] = {"label": "cup", "method": CollectionMethod.pointing, "points": []}
MASKS = pa.list_(pa.list_(pa.bool_()))
FRACTIONS = st.fixed_dictionaries({"x": st.none() | st.floats(-1, 2), "y": st.floats(0, 1) | st.integers(0, 1)})


@QUICK
@given(st.lists(st.none() | st.lists(st.none() | FRACTIONS, max_size=3), min_size=1))
def test_json_is_read_as_python_reads_it(values: list[Any]) -> None:
    read = from_json([json.dumps(value) for value in values], POINTS, IDS)
    assert read.type == POINTS
    assert read.to_pylist() == values


def test_long_json_is_read_whole() -> None:
    """Arrow reads JSON in blocks, which may not cut a value."""
    values = [[[True, False] * 20_000], [], [[False]] * 3] * 3
    assert from_json([json.dumps(value) for value in values], MASKS, IDS).to_pylist() == values
    texts = [json.dumps(["ein Löffel\n\u2028 🥄", '"}\n{"v":', ""], ensure_ascii=escaped) for escaped in (True, False)]
    assert from_json(texts, pa.list_(pa.string()), IDS).to_pylist() == [json.loads(text) for text in texts]


def test_no_json_is_no_rows() -> None:
    assert from_json([], POINTS, []).to_pylist() == []
    assert from_json([], POINTS, []).type == POINTS


@pytest.mark.parametrize(
    "bad",
    [
        "", "{", "nonsense", '"text"', "7", '{"x": 1}', "[1]", '[{"x": "left", "y": 0}]', '[{"x": 0, "y": 0, "z": 0}]',
        '[]}\n{"v": []', '[], "w": 1', '[{"x": [0], "y": 0}]', "[true]", "[] []",
    ],
)  # fmt: skip
def test_the_row_whose_json_does_not_fit_is_named(bad: str) -> None:
    good = '[{"x": 0.5, "y": 1}]'
    for texts in ([bad], [good, bad], [good, bad, good, bad]):
        with pytest.raises(RowInvalid, match=f"Row {IDS[texts.index(bad)]} holds what is no list<"):
            from_json(texts, POINTS, IDS)


def test_the_row_without_text_is_named() -> None:
    assert text(["a", " b "], "label", IDS).to_pylist() == ["a", " b "]
    for bad in (None, "", "  ", "\n\t", "\u00a0\u2003"):
        with pytest.raises(RowInvalid, match=r"Row 101 has no label\. Correct or withdraw it"):
            text(["a", bad, ""], "label", IDS)


def test_the_row_with_a_point_outside_is_named() -> None:
    good = [[], [{"x": 0.0, "y": 1.0}, {"x": 0.5, "y": 0.5}], []]
    check_points(pa.array(good, POINTS), IDS)
    check_points(pa.array([], POINTS), IDS)
    for bad in (-1e-9, 1.0000001, 100.0, float("nan"), float("inf"), None):
        for axis in ("x", "y"):
            rows = [*good, [{"x": 0.5, "y": 0.5}, {"x": 0.5, "y": 0.5, axis: bad}], [{"x": 0.5, "y": -1.0}]]
            for start in (0, 2):
                with pytest.raises(RowInvalid, match="Row 103 has a point outside"):
                    check_points(pa.array(rows, POINTS).slice(start), IDS[start:])
    with pytest.raises(RowInvalid, match="Row 102 has no list of points"):
        check_points(pa.array([[], [], None], POINTS), IDS)


def test_rows_that_are_not_kept_are_filtered() -> None:
    columns = {"a": pa.array([1, 2, 3]), "b": pa.array(["x", "y", "z"])}
    assert kept(columns, np.array([True, False, True])).to_pylist() == [{"a": 1, "b": "x"}, {"a": 3, "b": "z"}]
    assert kept(columns, np.ones(3, bool)).num_rows == 3
    assert kept(columns, np.zeros(3, bool)).num_rows == 0


def test_pseudonyms_are_stable_and_keyed() -> None:
    assert pseudonym(b"key", "person") == "a_644b7ccb39"
    assert pseudonym(b"key", "person") != pseudonym(b"other", "person")
    assert pseudonym(b"key", "person") != pseudonym(b"key", "somebody")


@pytest.fixture
def store(context: Context) -> Pointing:
    return Pointing(context)


def read(store: Pointing, *, size: int = 16_384, campaign: str | None = None) -> list[list[tuple[int, str]]]:
    """Pages of (row id, label); `left_out` is what was counted, `counted` what was announced."""
    columns = {
        "label": PointSet.label,
        "points": PointSet.points,
        "method": PointSet.method,
        "day": PointSet.created_at,
    }
    with store.context.db.read() as session:
        wanted = session.get_one(Campaign, campaign) if campaign else None
        reading = Reading(session, KEY, lambda row: ("", ""), campaign=wanted)
        pages = list(read_revised(reading, PointSet, columns, size=size))
        store.left_out, announced = +reading.left_out, count(reading, PointSet)
    for page in pages:
        assert {*page} >= {"row_id", "user_id", "consent_id", *columns}
        assert set(page["points"]) == {"[]"}
        assert set(page["method"]) == {"pointing"}
        assert set(page["day"]) == {"2026-03-01"}
    found = [list(zip(page["row_id"], page["label"], strict=True)) for page in pages]
    assert announced == sum(map(len, found)) + store.left_out.total()
    return found


def many(store: Pointing, labels: Sequence[str], **columns: Any) -> list[int]:
    new = [{"created_at": WHEN, "llm_call_ids": [], **CUP, "label": label, **columns} for label in labels]
    with store.context.db.write() as session:
        return list(session.scalars(insert(PointSet).returning(PointSet.id, sort_by_parameter_order=True), new))


def test_the_newest_revision_stands_in_the_place_of_the_first(store: Pointing) -> None:
    image = store.image(0)
    ids = many(store, "abcdefg", image_id=image)
    for root, label in ((1, "b2"), (5, "f2"), (1, "b3"), (2, "c2")):
        many(store, [label], image_id=image, root_id=ids[root])
    many(store, ["f3"], image_id=image, root_id=ids[5], retracted=True)
    many(store, ["d2"], image_id=image, root_id=ids[3], retracted=True)
    many(store, ["d3"], image_id=image, root_id=ids[3])
    more = many(store, "hi", image_id=image)
    expected = list(zip([*ids[:5], ids[6], *more], ["a", "b3", "c2", "d3", "e", "g", "h", "i"], strict=True))
    for size in (1, 2, 3, 4, 100):
        pages = read(store, size=size)
        assert [row for page in pages for row in page] == expected
        assert all(len(page) <= size for page in pages)
        assert store.left_out == {"withdrawn": 1}
    assert [len(page) for page in read(store, size=2)] == [2, 2, 1, 2, 1]


def test_a_page_of_withdrawn_rows_does_not_end_the_reading(store: Pointing) -> None:
    image = store.image(0)
    ids = many(store, "abcdef", image_id=image)
    for row in ids[2:4]:
        many(store, ["x"], image_id=image, root_id=row, retracted=True)
    assert [label for page in read(store, size=2) for _, label in page] == ["a", "b", "e", "f"]
    assert store.left_out == {"withdrawn": 2}


def test_nothing_is_no_page(store: Pointing) -> None:
    assert read(store) == []
    image = store.image(0)
    (row,) = many(store, "a", image_id=image)
    many(store, "a", image_id=image, root_id=row, retracted=True)
    assert read(store) == []


def test_rows_in_which_somebody_had_a_part_who_was_taken_down_are_left_out(store: Pointing) -> None:
    image, one, other = store.image(0), store.person(), store.person()
    ids = [many(store, label, image_id=image, **(one if label in "abc" else other))[0] for label in "abcdef"]
    many(store, ["b2"], image_id=image, root_id=ids[1], **other)
    many(store, ["e2"], image_id=image, root_id=ids[4], **one)
    many(store, ["f2"], image_id=image, root_id=ids[5], **one)
    many(store, ["f3"], image_id=image, root_id=ids[5], **other)
    many(store, ["c2"], image_id=image, root_id=ids[2], retracted=True, **one)
    assert [label for page in read(store) for _, label in page] == ["a", "b2", "d", "e2", "f3"]
    store.take_down(Subject.annotator, one["user_id"])
    for size in (2, 100):
        assert [label for page in read(store, size=size) for _, label in page] == ["d"]
        assert store.left_out == {"taken_down": 5}


def test_one_campaign_with_the_corrections_of_its_rows(store: Pointing) -> None:
    image, ours, theirs = store.image(0), store.filler.campaign("ours"), store.filler.campaign("theirs")
    first = many(store, "ab", image_id=image, campaign_id=ours)
    others = many(store, "cd", image_id=image, campaign_id=theirs)
    many(store, "e", image_id=image)
    many(store, ["a2"], image_id=image, root_id=first[0])
    many(store, ["b2"], image_id=image, root_id=first[1], campaign_id=theirs, retracted=True)
    many(store, ["c2"], image_id=image, root_id=others[0], campaign_id=ours)
    assert read(store, campaign=ours) == [[(first[0], "a2")]]
    assert read(store, campaign=theirs) == [[(others[0], "c2"), (others[1], "d")]]
    assert len(read(store)[0]) == 4


def test_images_that_may_not_be_published_are_not_kept(store: Pointing) -> None:
    splits = ["train", "withheld", None, "test", "withheld"]
    images = [store.image(i, split) for i, split in enumerate(splits)]
    store.take_down(Subject.image, images[3])
    store.take_down(Subject.image, images[4])
    shown = [0, 1, 0, 2, 3, 3, 4, 0]
    with store.context.db.read() as session:
        reading = Reading(session, KEY, lambda row: (row.sha256[:4], row.sha256))
        frame = reading.frame([images[i] for i in shown])
        assert frame.keep.tolist() == [i == 0 for i in shown]
        assert reading.left_out == {"taken_down": 3, "withheld": 2}
        published = frame.published()
        assert published["split"].to_pylist() == [splits[i] for i in shown]
        hashes = published["image_sha256"].to_pylist()
        assert [hashes.index(value) for value in hashes] == [shown.index(i) for i in shown]
        assert published["image_url"].to_pylist() == [value[:4] for value in hashes]
        assert reading.frame([]).keep.tolist() == []


def test_a_licence_is_asked_of_published_images_only(store: Pointing) -> None:
    licensed, unlicensed = store.image(0), store.filler.image(1, licence=None)
    with store.context.db.read() as session:
        reading = Reading(session, KEY, lambda row: ("", ""), require_licence=True)
        assert reading.frame([licensed, unlicensed]).keep.tolist() == [True, False]
    store.add(ImageSplit, image_id=unlicensed, split=Split.train, cluster_id="cluster-0")
    with store.context.db.read() as session:
        reading = Reading(session, KEY, lambda row: ("", ""), require_licence=True)
        with pytest.raises(Unlicensed, match=r"\(1 of this page\).*--require-licence"):
            reading.frame([licensed, unlicensed, unlicensed])
        assert Reading(session, KEY, lambda row: ("", "")).frame([unlicensed]).keep.all()
    store.take_down(Subject.image, unlicensed)
    with store.context.db.read() as session:
        reading = Reading(session, KEY, lambda row: ("", ""), require_licence=True)
        assert reading.frame([licensed, unlicensed]).keep.tolist() == [True, False]


def test_names_of_people_consents_and_campaigns_are_looked_up_once(store: Pointing) -> None:
    person, campaign = store.person(), store.filler.campaign("kitchen", language="de")
    with store.context.db.read() as session:
        reading = Reading(session, KEY, lambda row: ("", ""))
        assert reading.pseudonyms == {None: None, person["user_id"]: pseudonym(KEY, person["user_id"])}
        assert reading.consents == {None: None, person["consent_id"]: "2026-01"}
        assert reading.campaigns == {None: (None, None), campaign: ("kitchen", "de")}
        assert reading.silenced == set()
        calls = {store.call(model): model for model in ("one", "two")}
        assert session.scalars(select(User.id)).all() == [person["user_id"]]
    with store.context.db.read() as session:
        found = Reading(session, KEY, lambda row: ("", "")).calls(set(calls))
        assert {id_: call.model for id_, call in found.items()} == calls
        assert Reading(session, KEY, lambda row: ("", "")).calls(set()) == {}


@QUICK
@given(st.lists(st.none() | st.text("a \né", max_size=8), max_size=8), st.integers(0, 8))
def test_words_are_counted_as_python_splits_them(texts: list[str | None], skipped: int) -> None:
    column = pa.array(texts, pa.string()).slice(min(skipped, len(texts)))
    expected = [len((text or "").split()) for text in column.to_pylist()]
    assert words(column).to_pylist() == expected
    assert words(pa.chunked_array([column])).to_pylist() == expected
