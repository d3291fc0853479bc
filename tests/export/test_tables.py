from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pixmo.export import tables
from pixmo.export.schemas import DEFAULT, Feature
from pixmo.export.tables import RowInvalid, TableWriter

PICTURES: dict[str, Feature] = {"caption": "string", "image": "image", "days": ["date32"]}


def picture(number: int, size: int = 1000) -> dict[str, Any]:
    return {
        "caption": f"number {number}",
        "image": {"bytes": bytes([number % 256]) * size, "path": f"{number}.jpg"},
        "days": [date(2026, 3, 1)],
    }


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(folder: Path, rows: list[dict[str, Any]], features: dict[str, Feature], group_rows: int) -> TableWriter:
    writer = TableWriter(folder, features, group_rows=group_rows)
    for row in rows:
        writer.write(row)
    writer.close()
    return writer


def test_rows_come_back_in_order(tmp_path: Path) -> None:
    rows = [picture(i) for i in range(250)]
    writer = write(tmp_path / "a", rows, PICTURES, 100)
    assert files(tmp_path / "a") == ["train-00000-of-00001.parquet"]
    file = pq.ParquetFile(tmp_path / "a" / "train-00000-of-00001.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [100, 100, 50]
    assert file.read().to_pylist() == rows
    assert writer.rows == 250


def test_text_is_compressed_and_images_are_not(tmp_path: Path) -> None:
    write(tmp_path / "a", [picture(i) for i in range(10)], PICTURES, 100)
    group = pq.ParquetFile(tmp_path / "a" / "train-00000-of-00001.parquet").metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert columns["image.bytes"].compression == "UNCOMPRESSED"
    assert "PLAIN_DICTIONARY" not in columns["image.bytes"].encodings
    assert "RLE_DICTIONARY" not in columns["image.bytes"].encodings
    assert columns["caption"].compression == columns["image.path"].compression == "ZSTD"
    assert columns["days.list.element"].compression == "ZSTD"
    assert all(column.has_offset_index for column in columns.values())


def test_groups_are_cut_by_bytes_and_shards_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "GROUP_BYTES", 10_000)
    monkeypatch.setattr(tables, "SHARD_BYTES", 30_000)
    rows = [picture(i) for i in range(75)]
    write(tmp_path / "a", rows, PICTURES, 100)
    names = files(tmp_path / "a")
    assert names == [f"train-{i:05d}-of-00003.parquet" for i in range(3)]
    shards = [pq.ParquetFile(tmp_path / "a" / name) for name in names]
    assert [shard.num_row_groups for shard in shards] == [3, 3, 2]
    assert [row for shard in shards for row in shard.read().to_pylist()] == rows


def test_no_empty_shard_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "SHARD_BYTES", 1)
    write(tmp_path / "a", [picture(i) for i in range(4)], PICTURES, 2)
    assert files(tmp_path / "a") == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]


def test_the_content_digest_does_not_depend_on_groups(tmp_path: Path) -> None:
    rows = [picture(i) for i in range(20)]
    whole = write(tmp_path / "a", rows, PICTURES, 100)
    cut = write(tmp_path / "b", rows, PICTURES, 3)
    turned = write(tmp_path / "c", rows[::-1], PICTURES, 100)
    assert whole.content_sha256 == cut.content_sha256 != turned.content_sha256


@pytest.mark.parametrize(
    "row",
    [
        {"image_url": "u", "caption": 7, "transcripts": []},
        {"image_url": "u", "caption": "c", "transcripts": "not a list"},
        {"image_url": "u", "caption": "c", "transcripts": [object()]},
    ],
)
def test_a_row_that_does_not_fit_is_refused(tmp_path: Path, row: dict[str, Any]) -> None:
    with pytest.raises(RowInvalid):
        write(tmp_path / "a", [row], DEFAULT, 10)
