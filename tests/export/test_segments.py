import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pixmo.export import segments
from pixmo.export.digest import content_sha256
from pixmo.export.schemas import Feature
from pixmo.export.segments import IMAGES, TEXT, Cuts, RowInvalid, Segment, SegmentWriter, image_names
from tests.export.arrays import QUICK
from tests.export.writing import IDS, PHOTOS, SMALL, WORDS, no_load, photo, photos, words, write


def of(found: list[Segment]) -> list[tuple[str, int, int, int, str, str]]:
    return [(one.path.name, one.rows, one.first_row, one.last_row, one.sha256, one.content_sha256) for one in found]


def test_rows_come_back_in_order_with_what_the_manifest_says_of_them(tmp_path: Path) -> None:
    table = words(range(1, 200, 2))
    found = write(tmp_path, table)
    assert len(found) > 3
    tables = [pq.read_table(one.path) for one in found]
    assert pa.concat_tables(tables).to_pylist() == table.to_pylist()
    for one, rows in zip(found, tables, strict=True):
        assert (one.rows, one.bytes) == (rows.num_rows, one.path.stat().st_size)
        assert (one.first_row, one.last_row) == (rows["row_id"][0].as_py(), rows["row_id"][-1].as_py())
        assert one.sha256 == hashlib.sha256(one.path.read_bytes()).hexdigest()
        assert one.content_sha256 == content_sha256(rows)
        assert one.num_bytes > 0
    assert {path.suffix for path in tmp_path.iterdir()} == {".parquet"}


@QUICK
@given(data=st.data())
def test_batches_do_not_move_the_cuts(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    ids = np.cumsum(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=120)))
    table, work = words(ids), tmp_path_factory.mktemp("work")
    whole = write(work / "whole", table)
    writer = SegmentWriter(WORDS, SMALL, work, known={}, load=no_load)
    borders = sorted(data.draw(st.lists(st.integers(0, len(ids)), max_size=8)))
    for start, end in zip([0, *borders], [*borders, len(ids)], strict=True):
        writer.write(table.slice(start, end - start), ids[start:end])
    assert of(writer.close()) == of(whole)
    assert sum(one.rows for one in whole) == len(ids)
    assert all(SMALL.least <= one.rows <= SMALL.most for one in whole[:-1])
    assert whole[-1].rows <= SMALL.most


def test_a_cut_falls_where_it_must_at_the_latest(tmp_path: Path) -> None:
    cuts = Cuts(least=3, typical=2**40, most=10, group=100)
    for size in (1, 9, 10, 11, 100):
        assert [one.rows for one in write(tmp_path, words(range(1, 36)), cuts=cuts, size=size)] == [10, 10, 10, 5]
    always = Cuts(least=3, typical=1, most=10, group=100)
    for size in (1, 2, 3, 4, 100):
        assert [one.rows for one in write(tmp_path, words(range(1, 12)), cuts=always, size=size)] == [3, 3, 3, 2]


def test_no_rows_make_no_segment(tmp_path: Path) -> None:
    assert write(tmp_path, words([])) == []
    assert list(tmp_path.iterdir()) == []


def logged(stored: dict[str, bytes], read: list[str]) -> Callable[[str], bytes]:
    """Loads stored images and writes down which."""

    def load(name: str) -> bytes:
        read.append(name)
        return stored[name]

    return load


def changed(before: list[Segment], after: list[Segment]) -> int:
    return len({one.content_sha256 for one in after} - {one.content_sha256 for one in before})


def ids_only(ids: NDArray[np.int64]) -> pa.Table:
    return pa.table({"row_id": ids})


def test_a_new_version_writes_few_segments(tmp_path: Path) -> None:
    ids = np.arange(1, 200_001)
    before = write(tmp_path, ids_only(ids), IDS, TEXT)
    assert 6 <= len(before) <= 24
    assert all(TEXT.least <= one.rows <= TEXT.most for one in before[:-1])
    appended = write(tmp_path, ids_only(np.arange(1, 203_001)), IDS, TEXT)
    assert of(appended[: len(before) - 1]) == of(before[:-1])
    ends = [one.last_row - 1 for one in before[:-1]]
    for place in (0, 1_000, 77_777, 199_999, *ends):
        removed = write(tmp_path, ids_only(np.delete(ids, place)), IDS, TEXT)
        assert 1 <= changed(before, removed) <= 3
        assert changed(removed, before) <= 3


def test_of_many_photos_one_change_writes_few_segments_again(tmp_path: Path) -> None:
    ids = np.arange(1, 8_001)
    before = write(tmp_path, ids_only(ids), IDS, IMAGES)
    assert 16 <= len(before) <= 62
    assert all(IMAGES.least <= one.rows <= IMAGES.most for one in before[:-1])
    rewritten = [
        changed(before, write(tmp_path, ids_only(np.delete(ids, place)), IDS, IMAGES))
        for place in (*range(0, 8_000, 999), *(one.last_row - 1 for one in before[:-1:3]))
    ]
    assert max(rewritten) <= 8
    assert np.mean(rewritten) < 2


def test_text_is_compressed_and_in_groups(tmp_path: Path) -> None:
    (one,) = write(tmp_path, words(range(1, 20)), cuts=Cuts(least=50, typical=1, most=50, group=5))
    metadata = pq.read_metadata(one.path)
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [5, 5, 5, 4]
    columns = [metadata.row_group(0).column(i) for i in range(metadata.num_columns)]
    assert {column.compression for column in columns} == {"ZSTD"}
    assert all("RLE_DICTIONARY" in column.encodings for column in columns)
    assert all(column.has_offset_index and column.has_column_index for column in columns)
    assert all(column.is_stats_set for column in columns)


def test_images_are_stored_as_they_are_in_small_groups(tmp_path: Path) -> None:
    table, stored = photos(range(1, 251))
    (one,) = write(tmp_path, table, PHOTOS, Cuts(300, 1, 300, 100), load=stored.__getitem__)
    metadata = pq.read_metadata(one.path)
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [100, 100, 50]
    for i in range(metadata.num_row_groups):
        group = metadata.row_group(i)
        columns = {group.column(j).path_in_schema: group.column(j) for j in range(group.num_columns)}
        image = columns.pop("image.bytes")
        assert image.compression == "UNCOMPRESSED"
        assert not {"PLAIN_DICTIONARY", "RLE_DICTIONARY"} & {*image.encodings}
        assert image.has_offset_index
        assert {column.compression for column in columns.values()} == {"ZSTD"}
    rows = pq.read_table(one.path).to_pylist()
    for i, row in enumerate(rows, start=1):
        name = f"{hashlib.sha256(photo(i)).hexdigest()}.jpg"
        assert row["image"] == ({"bytes": photo(i), "path": name} if i % 5 else None)
    found = pq.read_table(one.path)
    assert content_sha256(image_names(found, ["image"])) == one.content_sha256 == content_sha256(table)


def test_groups_of_large_images_are_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "IMAGE_GROUP_BYTES", 10_000)
    table, stored = photos(range(1, 101), size=1_200)
    (one,) = write(tmp_path, table, PHOTOS, Cuts(300, 1, 300, 100), load=stored.__getitem__)
    metadata = pq.read_metadata(one.path)
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    assert len(groups) == 9
    assert max(group.total_byte_size for group in groups) < 10_000 + 1_200 + 2_000
    assert [row["caption"] for row in pq.read_table(one.path).to_pylist()] == table["caption"].to_pylist()


def test_known_segments_are_used_and_their_images_are_not_read(tmp_path: Path) -> None:
    table, stored = photos(range(1, 101))
    cuts = Cuts(10, 8, 30, 100)
    before = write(tmp_path / "old", table, PHOTOS, cuts, load=stored.__getitem__)
    known = {one.content_sha256: (one.path, one.sha256) for one in before}
    after = write(tmp_path / "new", table, PHOTOS, cuts, known=known, size=7)
    assert after == before
    assert list((tmp_path / "new").iterdir()) == []
    more, stored = photos(range(1, 111))
    read: list[str] = []
    appended = write(
        tmp_path / "new", more, PHOTOS, cuts, known=known, load=logged(stored, read)
    )  # fmt: skip
    assert appended[: len(before) - 1] == before[:-1]
    assert read == [name for name in more["image"].to_pylist()[before[-1].first_row - 1 :] if name]


@pytest.mark.parametrize("damage", ["a flipped byte", "no end", "missing"])
def test_a_known_segment_that_was_damaged_is_written_again(tmp_path: Path, damage: str) -> None:
    table = words(range(1, 100))
    before = write(tmp_path / "old", table)
    good, bad = before[1].path.read_bytes(), before[1].path
    if damage == "a flipped byte":
        bad.write_bytes(good[:50] + bytes([good[50] ^ 1]) + good[51:])
    elif damage == "no end":
        bad.write_bytes(good[: len(good) // 2])
    else:
        bad.unlink()
    known = {one.content_sha256: (one.path, one.sha256) for one in before}
    after = write(tmp_path / "new", table, known=known)
    assert [one.sha256 for one in after] == [one.sha256 for one in before]
    assert [path.read_bytes() for path in (tmp_path / "new").iterdir()] == [good]
    assert after[1].path.parent == tmp_path / "new"


def test_rows_that_are_too_large_for_a_file_are_named(tmp_path: Path) -> None:
    """Arrow's lists number what they hold in 32 bits; the pixels here are one array, many times."""
    pixels = pa.Array.from_buffers(pa.bool_(), 2**28, [None, pa.py_buffer(bytes(2**25))])
    masks = pa.ListArray.from_arrays(pa.array([0, 2**28], pa.int32()), pixels)
    writer = SegmentWriter({"mask": ["bool"]}, TEXT, tmp_path, known={}, load=no_load)
    for row_id in range(5, 14):
        writer.write(pa.table({"mask": masks}), np.array([row_id]))
    with pytest.raises(RowInvalid, match="Rows 5 to 13 are too large for one file"):
        writer.close()


def test_what_an_interrupted_attempt_finished_is_used(tmp_path: Path) -> None:
    table, stored = photos(range(1, 101))
    cuts = Cuts(10, 8, 30, 100)
    left = 60

    def load(name: str) -> bytes:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError("the disk broke")
        return stored[name]

    with pytest.raises(OSError, match="the disk broke"):
        write(tmp_path, table, PHOTOS, cuts, load=load)
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert finished
    assert all(path.suffix == ".parquet" and pq.read_metadata(path).num_rows for path in finished)
    read: list[str] = []
    found = write(tmp_path, table, PHOTOS, cuts, load=logged(stored, read))
    rows = sum(pq.read_metadata(path).num_rows for path in finished)
    assert sum(one.rows for one in found) == 100
    assert read == [name for name in table["image"].to_pylist()[rows:] if name]
    assert all(path.stat().st_mtime_ns == at for path, at in finished.items())


def test_another_schema_or_writer_does_not_share_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = words(range(1, 5))
    (first,) = write(tmp_path, table, {"label": "string", "row_id": "int64"})
    (image,) = write(tmp_path, table, {"label": "image", "row_id": "int64"}, load=str.encode)
    assert image.content_sha256 == first.content_sha256
    assert image.path != first.path
    assert pq.read_table(image.path)["label"][0].as_py() == {"bytes": b"thing 1", "path": "thing 1"}
    monkeypatch.setattr(segments, "WRITER", "pyarrow 1.0.0")
    (older,) = write(tmp_path, table, {"label": "string", "row_id": "int64"})
    assert older.path != first.path


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("label", [[1], [2]]),
        ("points", ["a", "b"]),
        ("points", [[["x"]], []]),
        ("points", [[{"x": "left"}], []]),
        ("points", [{"x": 1.0}, None]),
        ("label", [b"\xff", b"\xfe"]),
        ("row_id", ["one", "two"]),
        ("row_id", [0.5, 1.5]),
        ("row_id", [2**63, 2**63]),
    ],
)
def test_rows_that_do_not_fit_are_refused_by_name(tmp_path: Path, column: str, values: list[Any]) -> None:
    table = words([41, 42])
    array = pa.array(values, pa.uint64()) if values[0] == 2**63 else pa.array(values)
    table = table.set_column(table.column_names.index(column), column, array)
    writer = SegmentWriter(WORDS, SMALL, tmp_path, known={}, load=no_load)
    with pytest.raises(RowInvalid, match="Rows 41 to 42 do not fit"):
        writer.write(table, np.array([41, 42]))
    with pytest.raises(RowInvalid, match=f"Rows 41 to 42 do not fit.*{column}"):
        writer.write(words([41, 42]).drop_columns(column), np.array([41, 42]))


def test_files_are_read_by_every_reader_with_their_features(tmp_path: Path) -> None:
    table, stored = photos(range(1, 31))
    features: dict[str, Feature] = {**PHOTOS, "points": [{"x": "float64"}], "days": ["date32"]}
    table = table.append_column("points", pa.array([[{"x": 0.5}]] * 30)).append_column("days", pa.array([[]] * 30))
    found = write(tmp_path, table, features, Cuts(30, 1, 30, 100), load=stored.__getitem__)
    metadata = pq.read_schema(found[0].path).metadata
    assert json.loads(metadata[b"huggingface"])["info"]["features"] == {
        "caption": {"dtype": "string", "_type": "Value"},
        "image": {"_type": "Image"},
        "row_id": {"dtype": "int64", "_type": "Value"},
        "points": [{"x": {"dtype": "float64", "_type": "Value"}}],
        "days": [{"dtype": "date32", "_type": "Value"}],
    }
    loaded = datasets.Dataset.from_parquet(str(found[0].path), cache_dir=str(tmp_path / "cache"))
    assert list(loaded.features) == list(features)
    assert loaded.features["image"] == datasets.Image()
    assert loaded.cast_column("image", datasets.Image(decode=False))[5]["image"]["bytes"] == photo(6)


PROGRAM = """
import sys
from pathlib import Path
from tests.export.writing import PHOTOS, SMALL, photos, words, write
table, stored = photos(range(1, 61))
for one in [*write(Path(sys.argv[1]), words(range(1, 100)), size=int(sys.argv[2])),
            *write(Path(sys.argv[1]), table, PHOTOS, SMALL, load=stored.__getitem__)]:
    print(one.path.name, one.sha256)
"""


def test_the_bytes_are_the_same_in_every_process(tmp_path: Path) -> None:
    table, stored = photos(range(1, 61))
    here = [
        *write(tmp_path / "here", words(range(1, 100))),
        *write(tmp_path / "here", table, PHOTOS, SMALL, load=stored.__getitem__),
    ]
    expected = "".join(f"{one.path.name} {one.sha256}\n" for one in here)
    root = Path(__file__).parents[2]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path / seed), size], cwd=root, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": "C"},
        )
        for seed, zone, size in (("1", "Asia/Tokyo", "7"), ("2", "America/Lima", "64"))
    ]  # fmt: skip
    assert [process.communicate(timeout=60)[0] for process in running] == [expected, expected]


def test_the_cuts_are_what_they_always_were(tmp_path: Path) -> None:
    found = write(tmp_path, ids_only(np.arange(1, 5_001)), IDS, IMAGES)
    assert [one.last_row for one in found][:8] == [143, 304, 505, 731, 861, 1045, 1462, 1620]
    found = write(tmp_path, ids_only(np.arange(1, 200_001)), IDS, TEXT)
    assert [one.last_row for one in found][:4] == [26218, 52436, 81493, 109784]
