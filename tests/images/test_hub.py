"""Real data sets of `datasets`, written to local folders. The Hub itself differs only in its address."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict, Features, Image, Value

from pixmo.images.hub import HubDataset
from pixmo.images.sources import FileAt, Inline, Meta, Refused, SourceMissing, UrlAt
from tests.images.conftest import Ingest, encoded, picture


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def embedded(*seeds: int) -> Dataset:
    """A data set that holds its images, with a caption and a licence."""
    return Dataset.from_dict(
        {
            "caption": [f"picture {seed}" for seed in seeds],
            "image": [{"bytes": encoded(picture(seed=seed), "PNG"), "path": None} for seed in seeds],
            "license": ["CC0" for _ in seeds],
            "url": [f"https://example.org/{seed}.png" for seed in seeds],
        },
        features=Features(
            {"caption": Value("string"), "image": Image(), "license": Value("string"), "url": Value("string")}
        ),
    )


def test_images_inside_a_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "pictures.parquet"
    embedded(0, 1).to_parquet(path)
    source = HubDataset(str(path))
    items = list(source.items())
    assert [item.name for item in items] == [f"{path}[pictures][0]", f"{path}[pictures][1]"]
    data = encoded(picture(seed=1), "PNG")
    assert items[1].locator == Inline(data)
    assert items[1].meta == Meta(licence="CC0", source_url="https://example.org/1.png")
    assert items[1].key == f"dataset:{path}:::pictures:1|{hashlib.sha256(data).hexdigest()}"
    assert [item.key for item in source.items()] == [item.key for item in items]


def test_a_folder_saved_to_disk(tmp_path: Path) -> None:
    DatasetDict({"train": embedded(0, 1, 2), "test": embedded(3)}).save_to_disk(tmp_path / "saved")
    source = HubDataset(str(tmp_path / "saved"))
    assert source.count() == 4
    assert [item.name[len(source._name) :] for item in source.items()] == [
        "[train][0]",
        "[train][1]",
        "[train][2]",
        "[test][0]",
    ]
    assert len(list(HubDataset(str(tmp_path / "saved"), split="test").items())) == 1
    embedded(0).save_to_disk(tmp_path / "one")
    assert HubDataset(str(tmp_path / "one")).count() == 1


def test_a_folder_of_data_files(tmp_path: Path) -> None:
    (tmp_path / "set" / "data").mkdir(parents=True)
    embedded(0).to_parquet(tmp_path / "set" / "data" / "train-00000-of-00001.parquet")
    (item,) = HubDataset(str(tmp_path / "set")).items()
    assert isinstance(item.locator, Inline)


def test_a_folder_of_image_files(tmp_path: Path) -> None:
    (tmp_path / "set" / "train").mkdir(parents=True)
    path = tmp_path / "set" / "train" / "a.png"
    path.write_bytes(encoded(picture(), "PNG"))
    (item,) = HubDataset(str(tmp_path / "set")).items()
    assert item.locator == FileAt(str(path))


def test_rows_that_name_urls(tmp_path: Path) -> None:
    digest = "0" * 64
    rows = {"image_url": ["https://example.org/a.jpg", None], "image_sha256": [digest, None], "caption": ["a", "b"]}
    Dataset.from_dict(rows).to_parquet(tmp_path / "cap.parquet")
    first, second = HubDataset(str(tmp_path / "cap.parquet")).items()
    assert (first.locator, first.sha256) == (UrlAt("https://example.org/a.jpg"), digest)
    assert isinstance(second.locator, Refused)


def test_an_expected_hash_that_is_none(tmp_path: Path) -> None:
    embedded(0).add_column("sha256", ["abc"]).to_parquet(tmp_path / "bad.parquet")
    (item,) = HubDataset(str(tmp_path / "bad.parquet")).items()
    assert isinstance(item.locator, Refused)
    assert "sha256" in item.locator.detail


def test_an_image_behind_a_remote_path(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(picture(), "PNG"))
    rows = [{"bytes": None, "path": f"file://{path}"}, {"bytes": None, "path": f"file://{path}.gone"}]
    stored = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"image": pa.array(rows, stored)}), tmp_path / "remote.parquet")
    first, second = HubDataset(str(tmp_path / "remote.parquet")).items()
    assert first.locator == Inline(path.read_bytes())
    assert isinstance(second.locator, Refused)


def test_what_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match=r"absent.* cannot be loaded"):
        HubDataset(str(tmp_path / "absent" / "set"))
    embedded(0).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(SourceMissing, match="there is no split 'test', only a"):
        HubDataset(str(tmp_path / "a.parquet"), split="test")


def test_a_data_set_that_breaks_off(tmp_path: Path) -> None:
    source = HubDataset(str(tmp_path / "a.parquet")) if embedded(0).to_parquet(tmp_path / "a.parquet") else None
    assert source is not None
    (tmp_path / "a.parquet").write_bytes(b"gone")
    (item,) = source.items()
    assert isinstance(item.locator, Refused)
    assert "broke off after row -1" in item.locator.detail


def test_round_trip_through_the_store(tmp_path: Path, ingest: Ingest) -> None:
    embedded(0, 1, 1).to_parquet(tmp_path / "a.parquet")
    report = ingest(tmp_path / "a.parquet")
    assert (report.new, report.known, report.failed) == (2, 1, 0)
    report = ingest(tmp_path / "a.parquet")
    assert (report.new, report.known, report.failed) == (0, 3, 0)
