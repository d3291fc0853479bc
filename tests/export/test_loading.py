"""Versions as `datasets` gives them."""

import json
import shutil
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from datasets import Features, Image, List, Value, load_dataset

import pixmo.export
from pixmo.captions import receipt
from pixmo.context import Context
from pixmo.errors import NotFound
from pixmo.export.service import create
from pixmo.export.sets import data_set
from pixmo.export.versions import NoVersion, VersionInvalid
from tests.export.conftest import IMAGES
from tests.export.filling import BEGIN, SAID, Filler
from tests.export.making import cap, described, pointed

PUBLISHED = Features({"image_url": Value("string"), "caption": Value("string"), "transcripts": List(Value("string"))})
ROW = {
    "image_url": "https://photos.example/0.jpg",
    "caption": "There is a red kettle on the stove and two blue cups, next to it in picture number 10.",
    "transcripts": [f"{text} in picture number 10" for text in SAID],
}


def test_functions_are_not_hidden_by_modules_of_their_name() -> None:
    for name, module in pixmo.export._MODULES.items():
        assert import_module(f"pixmo.export.{module}")
        assert getattr(pixmo.export, name) is getattr(import_module(f"pixmo.export.{module}"), name)


def load(target: str | Path, config: str | None = None, **options: Any) -> Any:
    return pixmo.export.load(target, config, cache_dir="cache", **options)


@pytest.mark.parametrize("streaming", [False, True], ids=["map", "streaming"])
def test_the_published_configuration_comes_first(filled: Context, streaming: bool) -> None:
    cap(filled)
    found = load("cap@1.0.0", streaming=streaming)
    assert list(found) == ["train", "test"]
    assert found["train"].features == PUBLISHED
    assert [len(list(found[split])) for split in found] == [3, 2]
    assert next(iter(found["train"])) == ROW


@pytest.mark.parametrize("streaming", [False, True], ids=["map", "streaming"])
def test_the_enriched_configuration_has_pictures_and_provenance(filled: Context, streaming: bool) -> None:
    cap(filled)
    found = load("cap", "enriched", streaming=streaming)["train"]
    assert list(found.features) == list(data_set("cap").enriched)
    assert found.features["image"] == Image()
    for row in found:
        assert isinstance(row["image"], PIL.Image.Image)
        assert row["image"].size == (row["width"], row["height"]) == (48, 32)
        assert row["annotated_on"] == [BEGIN.date(), date(2026, 3, 2)]
        assert (row["licence"], row["topic"], row["language"]) == ("CC0-1.0", "kitchens", "en")
        assert [words[0]["text"] for words in row["word_times"]] == ["um", "a"]
        receipt.verify(json.loads(row["receipt"]), image_sha256=row["original_sha256"], caption=row["caption"])


def test_datasets_reads_the_folder_by_itself(filled: Context) -> None:
    folder = cap(filled).folder.path.resolve()
    assert load_dataset(str(folder), split="train", cache_dir="cache")[0] == ROW
    assert load_dataset(str(folder), "enriched", split="test", cache_dir="cache").num_rows == 2


def test_without_the_card_the_files_still_tell_their_features(filled: Context) -> None:
    folder = cap(filled).folder.path
    data = load_dataset("parquet", data_files=f"{folder}/data/*.parquet", split="train", cache_dir="cache")
    assert data.features == PUBLISHED


def test_the_newest_version_is_meant_by_the_name_alone(filled: Context, filler: Filler) -> None:
    cap(filled, version="1.9.0")
    described(filler)
    cap(filled, version="1.10.0")
    assert load("cap").num_rows == {"train": 4, "test": 2}
    assert load("cap@1.9.0").num_rows == {"train": 3, "test": 2}
    assert load(Path("exports/cap@1.9.0"))["train"].num_rows == 3


def test_images_of_many_rows_have_a_configuration(filled: Context, filler: Filler) -> None:
    pointed(filler, {70: 3, 72: 2})
    create(filled, "points")
    pictures = load("points", "images")
    assert {row["image_file"]: row["image"].size for split in pictures.values() for row in split}.keys() == {
        row["image_file"] for split in load("points", "enriched").values() for row in split
    }


def test_a_version_may_lie_anywhere(filled: Context) -> None:
    shutil.move(cap(filled).folder.path, "mine")
    assert sum(split.num_rows for split in load("mine").values()) == IMAGES


def test_what_is_not_there_names_the_next_step(filled: Context, tmp_path: Path) -> None:
    with pytest.raises(NoVersion, match="pixmo export cap"):
        load("cap")
    cap(filled, plain=True)
    with pytest.raises(NoVersion, match=r"no cap@2\.0\.0.*pixmo versions"):
        load("cap@2.0.0")
    with pytest.raises(VersionInvalid, match="'newest' is no version"):
        load("cap@newest")
    with pytest.raises(NoVersion, match="pixmo versions"):
        load(tmp_path)
    with pytest.raises(NotFound, match=r"no configuration 'enriched'\. It has: default"):
        load("cap", "enriched")
    with pytest.raises(NotFound, match="no configuration 'index'"):
        load("cap", "index")
