import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from sqlalchemy import delete, insert, select, update

from pixmo.captions.models import Caption
from pixmo.context import Context
from pixmo.export import build
from pixmo.export.diff import Changes, NotComparable, compare, differ
from pixmo.export.models import DatasetVersion, ImageSplit, Split, Subject, Takedown
from pixmo.export.segments import Cuts
from pixmo.export.service import create
from pixmo.export.versions import File, Folder, NoVersion
from pixmo.points.models import CollectionMethod, PointSet
from pixmo.tasks.models import Task
from tests.export.arrays import POINTS, QUICK, dirty, pairs
from tests.export.filling import SAID, Filler
from tests.export.sources.asking import WHEN
from tests.export.sources.filling import Pointing, xy

CUP: dict[str, Any] = {"label": "the blue cup", "method": CollectionMethod.pointing, "points": xy((0.25, 0.5))}


@QUICK
@given(pairs())
@example((POINTS, [[{"x": 1.0, "y": None}], [], None, [None]], [[{"x": 1.0, "y": None}], None, [], [None]]))
@example((pa.list_(pa.list_(pa.int64())), [[[1], [2]], [[1, 2]]], [[[1], [2]], [[1], [2]]]))
@example((pa.string(), [], []))
def test_values_differ_where_python_says_so(pair: tuple[pa.DataType, list[Any], list[Any]]) -> None:
    kind, before, after = pair
    a, b = pa.array(before, kind), pa.array(after, kind)
    expected = [x != y for x, y in zip(a.to_pylist(), b.to_pylist(), strict=True)]
    assert differ(a, b).tolist() == differ(b, a).tolist() == expected
    padded = pa.array([*after[:1], *before, *after], kind).slice(len(after[:1]), len(before))
    assert differ(padded, b).tolist() == expected
    assert not differ(padded, a).any()


def test_what_lies_under_nulls_is_no_difference() -> None:
    assert differ(dirty([1, None], pa.int64()), pa.array([1, None])).tolist() == [False, False]
    masked = pa.ListArray.from_arrays(
        pa.array([0, 1, 3], pa.int32()), pa.array([1, 2, 3]), mask=pa.array([False, True])
    )
    assert differ(masked, pa.array([[1], None])).tolist() == [False, False]
    assert differ(masked, pa.array([[1], [2, 3]])).tolist() == [False, True]


def test_what_is_no_number_equals_itself() -> None:
    nan = float("nan")
    assert differ(pa.array([nan, nan, 1.0, None]), pa.array([nan, 1.0, nan, nan])).tolist() == [False, True, True, True]
    assert not differ(pa.array([[{"x": nan, "y": -0.0}]], POINTS), pa.array([[{"x": nan, "y": 0.0}]], POINTS)).any()


@pytest.mark.parametrize(
    ("changes", "bump"),
    [
        (Changes(), None),
        (Changes(corrected=Counter(train=1)), "patch"),
        (Changes(corrected=Counter(test=1)), "patch"),
        (Changes(removed=Counter(train=1)), "patch"),
        (Changes(added=Counter(train=1)), "minor"),
        (Changes(added=Counter(test=1), corrected=Counter(train=3), removed=Counter(train=1)), "minor"),
        (Changes(removed=Counter(validation=1)), "major"),
        (Changes(added=Counter(train=1), removed=Counter(test=1)), "major"),
        (Changes(added=Counter(train=1), removed=Counter(train=1), moved=1), "major"),
        (Changes(schema=["default"]), "major"),
    ],
)
def test_a_version_number_promises_what_changed(changes: Changes, bump: str | None) -> None:
    assert changes.bump == bump


@pytest.fixture
def store(context: Context, monkeypatch: pytest.MonkeyPatch) -> Pointing:
    """A store of points whose versions have segments of few rows."""
    monkeypatch.setattr(build, "TEXT", Cuts(least=4, typical=4, most=12, group=8))
    return Pointing(context)


def fill(store: Pointing, rows: int, split: str = "train", number: int = 0) -> tuple[str, list[int]]:
    """An image in `split` with point sets; its id and theirs."""
    image = store.image(number, split)
    new = [{"image_id": image, "created_at": WHEN, **CUP, "label": f"cup {i}"} for i in range(rows)]
    with store.context.db.write() as session:
        added = session.scalars(insert(PointSet).returning(PointSet.id, sort_by_parameter_order=True), new)
        return image, list(added)


def version(store: Pointing, **options: Any) -> Folder:
    return create(store.context, "points", **options).folder


def counted(counts: Counter[str]) -> dict[str, int]:
    return dict(+counts)


def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The segments that are read from now on: version and path."""
    found: list[tuple[str, str]] = []
    original = Folder.read

    def read(self: Folder, file: File, columns: Sequence[str] | None = None) -> pa.Table:
        found.append((str(self.number), file.path))
        return original(self, file, columns)

    monkeypatch.setattr(Folder, "read", read)
    return found


def test_added_corrected_and_removed_rows_are_told_apart(store: Pointing) -> None:
    image, train = fill(store, 40)
    tested, test = fill(store, 5, "test", 1)
    first = version(store)
    store.add(PointSet, image_id=image, root_id=train[7], **CUP | {"label": "a cup"})
    store.add(PointSet, image_id=image, root_id=train[11], retracted=True, **CUP)
    store.add(PointSet, image_id=tested, root_id=test[0], **CUP | {"label": "a cup"})
    store.add(PointSet, image_id=tested, root_id=test[1], retracted=True, **CUP)
    fill(store, 2, "train", 2)
    changes = compare(first, version(store))
    assert counted(changes.added) == {"train": 2}
    assert counted(changes.corrected) == counted(changes.removed) == {"train": 1, "test": 1}
    assert changes.columns == Counter(label=2)
    assert (changes.moved, changes.bump) == (0, "major")


def test_a_correction_names_its_columns(store: Pointing) -> None:
    image, ids = fill(store, 40)
    fill(store, 3, "validation", 1)
    first = version(store)
    assert str(first.number) == "1.0.0"
    assert len(first.of("enriched", "train")) > 3
    store.add(PointSet, image_id=image, root_id=ids[7], **CUP | {"label": "a cup"})
    store.add(PointSet, image_id=image, root_id=ids[30], **CUP | {"label": "cup 30", "points": xy((0.5, 0.5), (1, 1))})
    store.add(PointSet, image_id=image, root_id=ids[11], **CUP | {"label": "cup 11"})
    second = version(store)
    changes = compare(first, second)
    assert changes == Changes(
        corrected=Counter(train=2),
        columns=Counter(label=1, points=1, count=1),
        row_ids={"corrected": [ids[7], ids[30]]},
    )
    assert str(second.number) == "1.0.1"
    back = compare(second, first)
    assert (back.corrected, back.columns) == (changes.corrected, changes.columns)
    assert compare(second, second) == Changes()
    assert changes.report() == {
        "bump": "patch", "added": {}, "removed": {}, "corrected": {"train": 2},
        "columns": {"count": 1, "label": 1, "points": 1}, "schema": [], "provenance": [],
        "rows": {"corrected": [ids[7], ids[30]]},
    }  # fmt: skip


def test_rows_that_come_and_go(store: Pointing) -> None:
    image, ids = fill(store, 30)
    evaluated, _ = fill(store, 4, "validation", 1)
    first = version(store)
    _, more = fill(store, 6, "test", 2)
    late = store.add(PointSet, image_id=image, **CUP)
    second = version(store)
    added = compare(first, second)
    assert (counted(added.added), added.bump, str(second.number)) == ({"train": 1, "test": 6}, "minor", "1.1.0")
    assert added.row_ids == {"added": [late, *more]}
    assert not added.corrected
    store.add(PointSet, image_id=image, root_id=ids[3], retracted=True, **CUP)
    third = version(store)
    removed = compare(second, third)
    assert (counted(removed.removed), removed.bump, str(third.number)) == ({"train": 1}, "patch", "1.1.1")
    assert removed.row_ids == {"removed": [ids[3]]}
    assert not removed.corrected
    store.take_down(Subject.image, evaluated)
    fourth = version(store)
    gone = compare(third, fourth)
    assert (counted(gone.removed), gone.bump, str(fourth.number)) == ({"validation": 4}, "major", "2.0.0")
    assert counted(compare(first, fourth).removed) == {"train": 1, "validation": 4}
    assert counted(compare(fourth, first).added) == {"train": 1, "validation": 4}


def test_few_row_ids_are_kept(store: Pointing) -> None:
    image, _ = fill(store, 3)
    fill(store, 3, "test", 1)
    first = version(store)
    ids = [store.add(PointSet, image_id=image, **CUP) for _ in range(9)]
    fill(store, 9, "test", 2)
    changes = compare(first, version(store), keep_ids=5)
    assert counted(changes.added) == {"train": 9, "test": 9}
    assert changes.row_ids == {"added": ids[:5]}
    assert compare(first, version(store), keep_ids=0).row_ids == {"added": []}


def test_equal_segments_are_not_read(store: Pointing, monkeypatch: pytest.MonkeyPatch) -> None:
    image, ids = fill(store, 80)
    first = version(store)
    store.add(PointSet, image_id=image, root_id=ids[40], **CUP | {"label": "a cup"})
    second = version(store)
    seen = reads(monkeypatch)
    assert counted(compare(first, second).corrected) == {"train": 1}
    enriched = [(number, path) for number, path in seen if path.startswith("enriched/")]
    assert sorted(number for number, _ in enriched) == ["1.0.0", "1.0.1"]
    assert len({path for _, path in enriched}) == 1
    assert all(path.startswith(("enriched/", "index/")) for _, path in seen)
    seen.clear()
    assert compare(second, second) == Changes()
    assert all(path.startswith("index/") for _, path in seen)


def test_plain_versions_are_compared_by_their_published_columns(store: Pointing) -> None:
    image, ids = fill(store, 40)
    first = version(store, plain=True)
    store.add(PointSet, image_id=image, root_id=ids[20], **CUP | {"label": "a cup"})
    store.add(PointSet, image_id=image, root_id=ids[2], retracted=True, **CUP)
    second = version(store)
    assert second.plain
    changes = compare(first, second)
    assert (counted(changes.corrected), changes.columns) == ({"train": 1}, Counter(label=1))
    assert changes.row_ids == {"removed": [ids[2]], "corrected": [ids[20]]}
    store.add(PointSet, image_id=image, root_id=ids[20], **CUP | {"label": "the cup"})
    third = version(store, plain=False)
    changes = compare(second, third)
    assert (changes.columns, changes.row_ids) == (Counter(label=1), {"corrected": [ids[20]]})
    assert changes.schema == []
    assert str(third.number) == "2.0.0"


def test_a_row_in_another_split_is_seen(store: Pointing, tmp_path: Path) -> None:
    image, _ = fill(store, 10)
    fill(store, 10, "test", 1)
    first = version(store)
    first.path.rename(tmp_path / "first")
    with store.context.db.write() as session:
        session.execute(delete(DatasetVersion))
        session.execute(update(ImageSplit).where(ImageSplit.image_id == image).values(split=Split.validation))
    changes = compare(Folder.open(tmp_path / "first"), version(store))
    assert (changes.moved, changes.bump) == (10, "major")
    assert (counted(changes.added), counted(changes.removed)) == ({"validation": 10}, {"train": 10})


def test_changed_columns_of_a_published_configuration_are_major(store: Pointing) -> None:
    fill(store, 3)
    first = version(store)
    manifest = json.loads((first.path / "manifest.json").read_bytes())
    manifest["configs"]["default"]["schema_sha256"] = "0" * 64
    manifest["configs"]["enriched"]["schema_sha256"] = "0" * 64
    edited = Folder.of_manifest(first.path, json.dumps(manifest).encode())
    changes = compare(first, edited)
    assert (changes.schema, changes.bump) == (["default"], "major")


def test_another_data_set_cannot_be_compared(filled: Context) -> None:
    store = Pointing(filled)
    store.filler._number = 50_000
    fill(store, 1, "train", 100)
    described, points = create(filled, "cap").folder, version(store)
    with pytest.raises(NotComparable, match=r"cap@1\.0\.0 and points@1\.0\.0"):
        compare(described, points)


def test_a_missing_segment_is_named(store: Pointing) -> None:
    image, ids = fill(store, 10)
    first = version(store)
    store.add(PointSet, image_id=image, root_id=ids[0], **CUP | {"label": "a cup"})
    second = version(store)
    (first.path / first.of("enriched", "train")[0].path).unlink()
    with pytest.raises(NoVersion, match="pixmo verify"):
        compare(first, second)


def test_described_images_are_compared_without_reading_their_bytes(filled: Context, filler: Filler) -> None:
    first = create(filled, "cap", images="embed").folder
    with filled.db.read() as session:
        task = session.scalars(select(Task.id).order_by(Task.id)).first() or ""
        caption = session.scalars(select(Caption).where(Caption.task_id == task)).one()
    values = {column.key: getattr(caption, column.key) for column in Caption.__table__.columns}
    with filled.db.write() as session:
        session.execute(insert(Caption).values(values | {"id": "newer", "revision": 2}))
    people, campaign = filler.people(), filler.campaign("other", overlap=1)
    filler.caption(filler.task(campaign, filler.image(60), people[:1], SAID[:1]))
    with filled.db.write() as session:
        pictured = session.get_one(Task, task).image_id
    second = create(filled, "cap").folder
    changes = compare(first, second)
    assert changes.columns == Counter(caption_revision=1)
    assert (changes.added.total(), changes.corrected.total(), changes.removed.total()) == (1, 1, 0)
    with filled.db.write() as session:
        session.add(Takedown(subject=Subject.image, subject_id=pictured))
    third = compare(second, create(filled, "cap").folder)
    assert (third.added.total(), third.corrected.total(), third.removed.total()) == (0, 0, 1)
    assert np.isin(third.row_ids["removed"], changes.row_ids["corrected"]).all()
