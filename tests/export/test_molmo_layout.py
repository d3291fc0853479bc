import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pixmo.context import Context
from pixmo.export import molmo_layout
from pixmo.export.folder import ExportRunning, FolderTaken, lock
from pixmo.export.links import TableUnreadable
from pixmo.export.materializing import materialize
from pixmo.export.molmo_files import INFO, STATE, SplitWriter
from pixmo.export.molmo_images import PictureDamaged
from pixmo.export.molmo_layout import (
    DATA,
    IMAGES,
    SHAPES,
    ImagesMissing,
    MolmoLayout,
    NoLayout,
    relocate,
    to_molmo,
)
from pixmo.export.published import PUBLISHED
from pixmo.export.schemas import arrow_schema
from pixmo.export.service import create
from pixmo.export.versions import FORMAT, SPLITS, Folder, NoVersion
from pixmo.images.models import Image as StoredImage
from pixmo.points.models import CountCheck, PointSet
from pixmo.questions.models import Answer, CaptionDialogue, Explanation
from pixmo.settings import Settings
from pixmo.storage import Storage
from pixmo.synthetic.models import ClockFace, Document
from tests.export import molmo_reader
from tests.export.filling import SAID, tree
from tests.export.sources.filling import Pointing, xy

MODES = ("embed", "repo", "url")
Row = dict[str, Any]

TEXT, TEXTS = pa.string(), pa.list_(pa.string())
POINT = pa.struct([("x", pa.float64()), ("y", pa.float64())])
IMAGE = {"image_url": TEXT, "image": TEXT}
POINTS = {
    **IMAGE, "points": pa.list_(pa.list_(POINT)), "count": pa.list_(pa.int64()), "label": TEXTS,
    "collection_method": TEXTS,
}  # fmt: skip
LAYOUT: dict[str, dict[str, pa.DataType]] = {
    "cap": {**IMAGE, "caption": TEXT, "transcripts": TEXTS},
    "ask-model-anything": {**IMAGE, "question": TEXTS, "answer": TEXTS},
    "cap-qa": {**IMAGE, "question": TEXTS, "answer": TEXTS, "messages": pa.list_(TEXTS)},
    "points-pointing": POINTS,
    "points-counting": POINTS,
    "count": {
        **IMAGE, "image_sha256": TEXT, "count": pa.int32(),
        "points": pa.struct([("x", pa.list_(pa.float32())), ("y", pa.list_(pa.float32()))]), "label": TEXT,
    },
    "point-explanations": {
        **IMAGE, "question": TEXTS, "response": TEXTS, "parsed_response": TEXTS, "alt_text": pa.list_(TEXTS),
        "inline_text": pa.list_(TEXTS), "points": pa.list_(pa.list_(pa.list_(pa.list_(pa.float64())))),
    },
    "pixmo-points-eval": {
        **IMAGE, "image_sha256": TEXT, "label": TEXT, "points": pa.list_(POINT),
        "masks": pa.list_(pa.list_(pa.list_(pa.bool_()))),
    },
}  # fmt: skip
"""The columns of each folder, in order."""

SIZES: dict[str, dict[str, int]] = {
    "cap": {"train": 3, "validation": 1, "test": 2},
    "ask-model-anything": {"train": 2, "validation": 1, "test": 0},
    "cap-qa": {"train": 2, "validation": 1, "test": 0},
    "points-pointing": {"train": 3, "validation": 0, "test": 2},
    "points-counting": {"train": 1, "validation": 1, "test": 0},
    "count": {"train": 2, "validation": 1, "test": 1},
    "point-explanations": {"train": 1, "validation": 1, "test": 0},
    "pixmo-points-eval": {"test": 2},
}
"""Rows of each split of the store below."""


class Shelf:
    """A store with six images and some of every annotation, and versions of all data sets in all modes."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._fill(Pointing(context))
        self.versions = {
            (name, mode): create(context, name, images=mode, repo="team/kitchen", licence="odc-by").folder
            for mode in MODES
            for name in SHAPES
        }

    def _fill(self, store: Pointing) -> None:
        splits = ("train", "validation", "train", "train", "test", "test")
        images = [store.image(2 * number, split) for number, split in enumerate(splits)]
        person, other = store.person(), store.person()
        campaign = store.filler.campaign("kitchen", overlap=2)
        for image in images:
            say = [f"{text} of {image}" for text in SAID]
            store.filler.caption(store.filler.task(campaign, image, [person["user_id"], other["user_id"]], say))
        points = [
            (0, "Cups", "pointing", xy((0.5, 0.25), (0.125, 1)), person),
            (2, "the kettle", "pointing", xy((0, 0)), person),
            (0, "a dog", "pointing", [], other),
            (1, "knobs", "counting", xy((0.1, 0.1), (0.2, 0.2), (0.3, 0.3)), other),
            (0, "tiles", "counting", xy((1, 1)), person),
            (3, "the stove", "pointing", xy((0.3, 0.3)), person),
            (0, "cups again", "pointing", xy((0.6, 0.6)), other),
            (2, "kettles", "pointing", xy((0.1, 0.9)), other),
            (4, "the pot", "pointing", xy((0.25, 0.5)), person),
            (5, "lids", "pointing", xy((0.9, 0.9), (0.1, 0.2)), person),
        ]
        for image, label, method, clicked, who in points:
            row = store.add(PointSet, image_id=images[image], label=label, method=method, points=clicked, **who)
            if image > 3:
                rng = np.random.default_rng(image)
                store.masks(row, [rng.random((32, 48)) < 0.3 for _ in clicked])
        for image, count, clicked in (
            (0, 2, xy((0.5, 0.5), (1, 1))), (2, 0, []), (1, 3, xy(*[(0.5, 0.5)] * 3)), (4, 1, xy((0.1, 0.1)))
        ):  # fmt: skip
            columns = {"label": "cups", "count": count, "points": clicked, "verdict": "confirmed", **person}
            store.add(CountCheck, image_id=images[image], **columns)
        for image, question in ((2, "What is it?"), (0, "How many\ncups?"), (1, "Why?"), (2, "Is it red?")):
            store.add(Answer, image_id=images[image], question=question, answer=f"To {question}: yes.", **person)
        call = store.call()
        for image, turns in ((0, 2), (2, 4), (0, 4), (1, 2)):
            messages = [f"turn {number} about {image}" for number in range(turns)]
            store.add(CaptionDialogue, image_id=images[image], messages=messages, llm_call_ids=[call])
        for image, groups in ((0, 2), (1, 1), (0, 1)):
            parts: list[Row] = [{"text": "Look: "}]
            for number in range(groups):
                clicked = [[0.25, 0.5 + number / 10]] * (number + 1)
                parts += [{"points": clicked, "inline": f"this {number}", "alt": "a cup"}, {"text": " and so"}]
            store.add(Explanation, image_id=images[image], question=f"Where ({groups})?", parts=parts, **person)
        store.add(
            Document, image_id=images[0], kind="charts", questions=[{"question": "What?", "answer": "Bars."}], code="draw()",
        )  # fmt: skip
        store.add(
            ClockFace, example_id="1", watchface_id="abcdefghij", watchface_name="plain", watch_time="001_2020-06-28T08:15:30",
            time_format="With AM/PM", shows_seconds=True, hour_visible=8, minute_visible=15, second_visible=30,
            text="8:15:30 AM",
        )  # fmt: skip

    def picture(self, url: str) -> bytes:
        """The bytes of an image as the store serves it, by its address in mode `url`."""
        for table in (self.versions["cap", "url"].path / "enriched").iterdir():
            for row in pq.read_table(table).to_pylist():
                if row["image_url"] == url:
                    return self.context.storage.read("images", row["served_sha256"])
        raise AssertionError(url)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Shelf]:
    root = tmp_path_factory.mktemp("shelf")
    (root / "store").mkdir()
    for file in migrated.parent.iterdir():
        shutil.copy(file, root / "store")
    context = Context.open(Settings(data_dir=root / "store", exports_dir=root / "exports"))
    (root / "exports").mkdir()
    yield Shelf(context)
    context.close()


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "molmo"


@pytest.fixture
def laid(shelf: Shelf, to: Path) -> dict[str, MolmoLayout]:
    """All data sets out of embedded versions, in one folder."""
    return {name: to_molmo(shelf.versions[name, "embed"], to) for name in SHAPES}


def name_of(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()


def published(version: Folder, split: str) -> list[Row]:
    return [row for file in version.of("default", split) for row in version.read(file).to_pylist()]


def grouped(rows: list[Row], columns: list[str]) -> list[Row]:
    """One row for every image, everything else in lists."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["image_url"], []).append(row)
    return [{"image_url": url, **{name: [row[name] for row in of] for name in columns}} for url, of in groups.items()]


def expected(version: Folder, folder: str, split: str, images: Path) -> list[Row]:
    """What a folder is to hold, worked out from the rows of the version."""
    rows = published(version, split)
    columns = [name for name in LAYOUT[folder] if name not in IMAGE]
    if folder.startswith("points-"):
        rows = [row for row in rows if row["collection_method"] == folder.removeprefix("points-")]
    if folder in ("cap", "count", "pixmo-points-eval"):
        rows = [{name: row[name] for name in ("image_url", *columns)} for row in rows]
    else:
        rows = grouped(rows, columns)
    return [row | {"image": str(images / name_of(row["image_url"]))} for row in rows]


def splits_of(found: Any) -> dict[str, Any]:
    return dict(found) if isinstance(found, datasets.DatasetDict) else {str(found.split): found}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SHAPES)
def test_every_field_is_as_the_original_reader_wants_it(shelf: Shelf, to: Path, name: str, mode: str) -> None:
    version = shelf.versions[name, mode]
    result = to_molmo(version, to, storage=shelf.context.storage if mode == "url" else None)
    assert list(result.rows) == [shape.folder for shape in SHAPES[name]]
    assert result.folders == [to / DATA / shape.folder for shape in SHAPES[name]]
    for folder in result.rows:
        found = splits_of(molmo_reader.load(to, folder))
        sizes = {split: dataset.num_rows for split, dataset in found.items()}
        assert sizes == result.rows[folder] == SIZES[folder]
        for split, dataset in found.items():
            assert {field.name: field.type for field in dataset.data.schema} == LAYOUT[folder]
            assert dataset.column_names == list(LAYOUT[folder])
            assert dataset.features.arrow_schema.types == list(LAYOUT[folder].values())
            assert dataset.to_list() == expected(version, folder, split, to / IMAGES)
            assert len(molmo_reader.read(to, folder, split)) == SIZES[folder][split]
            info = dataset.info.splits[split]
            assert (info.num_examples, info.num_bytes) == (dataset.num_rows, dataset.data.nbytes)
            assert dataset.info.license == "odc-by"
            assert version.title in dataset.info.description
    origin = {"embed": "embedded", "repo": "files", "url": "store"}[mode]
    assert result.images == {origin: len(list((to / IMAGES).iterdir()))}
    assert (result.missing, result.left_out) == (0, {})
    assert {path.name for path in (to / DATA).iterdir()} == set(result.rows)


def test_the_files_of_a_folder(laid: dict[str, MolmoLayout], to: Path) -> None:
    assert {path.name for path in (to / DATA).iterdir()} == set(LAYOUT)
    for folder in LAYOUT:
        root = to / DATA / folder
        files = {"data-00000-of-00001.arrow", "state.json", "dataset_info.json"}
        if folder == "pixmo-points-eval":
            assert {path.name for path in root.iterdir()} == files
            continue
        assert json.loads((root / "dataset_dict.json").read_text()) == {"splits": ["train", "validation", "test"]}
        assert {path.name for path in root.iterdir()} == {"dataset_dict.json", *SPLITS}
        assert all({path.name for path in (root / split).iterdir()} == files for split in SPLITS)


def test_features_are_spelled_as_older_releases_of_datasets_read_them(laid: dict[str, MolmoLayout], to: Path) -> None:
    text = {"dtype": "string", "_type": "Value"}
    number = {"dtype": "float64", "_type": "Value"}
    spelled = {
        "points-pointing/train": {
            "image_url": text, "image": text, "points": [[{"x": number, "y": number}]],
            "count": [{"dtype": "int64", "_type": "Value"}], "label": [text], "collection_method": [text],
        },
        "cap/train": {"image_url": text, "image": text, "caption": text, "transcripts": [text]},
        "pixmo-points-eval": {
            "image_url": text, "image": text, "image_sha256": text, "label": text,
            "points": [{"x": number, "y": number}], "masks": [[[{"dtype": "bool", "_type": "Value"}]]],
        },
    }  # fmt: skip
    for folder, features in spelled.items():
        info = json.loads((to / DATA / folder / INFO).read_text())
        assert info["features"] == features
        with pa.ipc.open_stream((to / DATA / folder / "data-00000-of-00001.arrow").read_bytes()) as stream:
            assert json.loads(stream.schema.metadata[b"huggingface"])["info"]["features"] == features
    assert not any("List" in path.read_text() for path in to.rglob(INFO))


def test_values_reach_the_reader(laid: dict[str, MolmoLayout], to: Path) -> None:
    cups, kettle, stove = molmo_reader.read(to, "points-pointing", "train")
    assert cups["points"] == [
        ("cups", "12.5,100.0 50.0,25.0"),
        ("a dog", "There are none."),
        ("cups again", "60.0,60.0"),
    ]
    assert kettle["points"] == [("the kettle", "0.0,0.0"), ("kettles", "10.0,90.0")]
    assert stove["points"] == [("the stove", "30.0,30.0")]
    first, second = molmo_reader.read(to, "count", "train")
    assert (first["count"], first["points"]) == (2, "50.0,50.0 100.0,100.0")
    assert (second["count"], second["points"]) == (0, "There are none.")
    [one] = molmo_reader.read(to, "point-explanations", "train")
    assert one["answers"] == [
        ("Where (2)?", "Look: <25.0,50.0|a cup|this 0> and so<25.0,60.0 25.0,60.0|a cup|this 1> and so"),
        ("Where (1)?", "Look: <25.0,50.0|a cup|this 0> and so"),
    ]
    ask = molmo_reader.read(to, "ask-model-anything", "train")
    assert [[question for question, _ in one["messages"]] for one in ask] == [
        ["What is it?", "Is it red?"], ["How many\ncups?"],
    ]  # fmt: skip


def test_pointing_and_counting_go_together(laid: dict[str, MolmoLayout], to: Path) -> None:
    both = [molmo_reader.load(to, f"points-{method}") for method in ("pointing", "counting")]
    for split in SPLITS:
        joined = datasets.concatenate_datasets([found[split] for found in both])
        assert joined.num_rows == sum(SIZES[f"points-{method}"][split] for method in ("pointing", "counting"))
        assert joined.features == both[0]["train"].features


@pytest.mark.parametrize("mode", MODES)
def test_images_are_files_named_by_their_address(shelf: Shelf, to: Path, mode: str) -> None:
    version = shelf.versions["points", mode]
    to_molmo(version, to, storage=shelf.context.storage)
    rows = [row for split in SPLITS for file in version.of("enriched", split) for row in version.read(file).to_pylist()]
    assert {path.name for path in (to / IMAGES).iterdir()} == {name_of(row["image_url"]) for row in rows}
    for row in rows:
        data = (to / IMAGES / name_of(row["image_url"])).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["served_sha256"]
        with Image.open(io.BytesIO(data)) as image:
            assert image.size == (row["width"], row["height"])


def test_images_of_a_materialized_folder_are_taken(shelf: Shelf, tmp_path: Path, to: Path) -> None:
    materialize(shelf.versions["cap", "repo"].path, tmp_path / "images")
    result = to_molmo(shelf.versions["cap", "repo"].path, to, images=tmp_path / "images")
    assert result.images == {"folder": 6}
    for path in (to / IMAGES).iterdir():
        assert path.samefile(tmp_path / "images" / path.name)
    assert len(molmo_reader.read(to, "cap", "train")) == 3


def test_images_that_are_there_are_kept_unless_they_are_none(shelf: Shelf, to: Path) -> None:
    version = shelf.versions["cap", "embed"]
    to_molmo(version, to)
    kept, *_, spoiled = sorted((to / IMAGES).iterdir())
    before, inode = spoiled.read_bytes(), kept.stat().st_ino
    spoiled.write_text("HTTPSConnectionPool(host='photos.example'): Read timed out.")
    assert to_molmo(version, to).images == {"kept": 5, "embedded": 1}
    assert spoiled.read_bytes() == before
    assert kept.stat().st_ino == inode


def test_a_missing_image_is_an_error_that_names_it(shelf: Shelf, tmp_path: Path, to: Path) -> None:
    version = shelf.versions["points", "url"]
    url = "https://photos.example/4.jpg"
    (tmp_path / "images").mkdir()
    for row in grouped([row for split in SPLITS for row in published(version, split)], []):
        if row["image_url"] != url:
            (tmp_path / "images" / name_of(row["image_url"])).write_bytes(shelf.picture(row["image_url"]))
    with pytest.raises(ImagesMissing, match=rf"^1 of the 6 images .* {url}\. .*pixmo materialize \S+points@3\.0\.0 "):
        to_molmo(version, to, images=tmp_path / "images")
    assert list((to / DATA).iterdir()) == []
    result = to_molmo(version, to, images=tmp_path / "images", skip_missing=True)
    assert (result.missing, result.images, result.left_out) == (1, {"kept": 5}, {"image_missing": 2})
    assert result.rows["points-pointing"] == {"train": 2, "validation": 0, "test": 2}
    assert result.rows["points-counting"] == SIZES["points-counting"]
    assert url not in molmo_reader.load(to, "points-pointing")["train"]["image_url"]
    assert [len(one["points"]) for one in molmo_reader.read(to, "points-pointing", "train")] == [3, 1]
    with pytest.raises(ImagesMissing, match=r"^6 of the 6 images"):
        to_molmo(version, to.with_name("other"))
    everything_gone = to_molmo(version, to.with_name("other"), skip_missing=True)
    assert everything_gone.left_out == {"image_missing": 10}
    assert set(everything_gone.rows["points-pointing"].values()) == {0}
    assert molmo_reader.read(to.with_name("other"), "points-pointing", "train") == []


def test_a_damaged_image_is_never_placed(shelf: Shelf, tmp_path: Path, to: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(shelf.versions["cap", "repo"].path, copy)
    victim = sorted((copy / "files").rglob("*.jpeg"))[0]
    data = victim.read_bytes()
    victim.write_bytes(data[:-1] + b"\0")
    with pytest.raises(PictureDamaged, match=rf"^The image {victim.stem} .* is damaged"):
        to_molmo(copy, to)
    victim.write_bytes(data)
    assert to_molmo(copy, to).images.total() == 6


def test_a_damaged_blob_is_never_placed(shelf: Shelf, tmp_path: Path, to: Path) -> None:
    shutil.copytree(shelf.context.storage.root, tmp_path / "blobs")
    victim = sorted((tmp_path / "blobs" / "images").rglob("??*/*"))[0]
    victim.write_bytes(victim.read_bytes()[:-1])
    with pytest.raises(PictureDamaged, match=rf"^The image {victim.name} .* is damaged"):
        to_molmo(shelf.versions["cap", "url"], to, storage=Storage(tmp_path / "blobs"))


def test_two_addresses_of_one_embedded_picture_both_have_their_file(context: Context, to: Path) -> None:
    store = Pointing(context)
    images = [store.image(number) for number in (2, 4)]
    with context.db.write() as session:
        one, other = (session.get_one(StoredImage, image) for image in images)
        other.served_sha256 = one.served_sha256
    for image in images:
        store.add(PointSet, image_id=image, label="cups", method="pointing", points=[], **store.person())
    version = create(context, "points").folder
    assert version.manifest["configs"]["images"]["splits"]["train"]["rows"] == 1
    assert to_molmo(version, to).images == {"embedded": 2}
    first, second = (to / IMAGES / name_of(f"https://photos.example/{number}.jpg") for number in (2, 4))
    assert first.read_bytes() == second.read_bytes()
    assert len(molmo_reader.read(to, "points-pointing", "train")) == 2


def test_a_moved_folder_is_made_right_again(shelf: Shelf, laid: dict[str, MolmoLayout], to: Path) -> None:
    before = tree(to / DATA)
    moved = to.with_name(r"moved \1 here")
    to.rename(moved)
    rows = sum(sum(sizes.values()) for sizes in SIZES.values())
    assert relocate(moved) == rows
    for name in SHAPES:
        for folder in laid[name].rows:
            found = splits_of(molmo_reader.load(moved, folder))
            for split, dataset in found.items():
                assert dataset.to_list() == expected(shelf.versions[name, "embed"], folder, split, moved / IMAGES)
                assert len(molmo_reader.read(moved, folder, split)) == SIZES[folder][split]
                assert dataset.info.splits[split].num_bytes == dataset.data.nbytes
    after = tree(moved / DATA)
    assert after.keys() == before.keys()
    assert all(after[path] != before[path] for path in after if path.endswith(f"train/{STATE}"))
    assert relocate(moved) == 0
    assert tree(moved / DATA) == after
    moved.rename(to)
    assert relocate(to) == rows
    assert tree(to / DATA) == before


def test_relocation_goes_on_after_an_interruption(laid: dict[str, MolmoLayout], to: Path) -> None:
    moved = to.with_name("moved")
    to.rename(moved)
    (moved / DATA / "cap" / "train" / ".part-0123").write_bytes(b"half")
    relocate(moved)
    state = moved / DATA / "cap" / "train" / STATE
    right = state.read_bytes()
    state.write_bytes(right.replace(json.loads(right)["_fingerprint"].encode(), b"0" * 16))
    assert relocate(moved) == 0
    assert state.read_bytes() == right
    assert not list(moved.rglob(".part-*"))


def test_nothing_can_be_relocated_without_data_or_images(
    laid: dict[str, MolmoLayout], to: Path, tmp_path: Path
) -> None:
    with pytest.raises(NoLayout, match="holds no data sets"):
        relocate(tmp_path / "nothing")
    before = tree(to / DATA)
    shutil.rmtree(to / IMAGES)
    with pytest.raises(ImagesMissing, match="There is no folder"):
        relocate(to)
    assert tree(to / DATA) == before


def test_a_data_set_is_replaced_as_a_whole_and_alone(shelf: Shelf, laid: dict[str, MolmoLayout], to: Path) -> None:
    before = tree(to / DATA)
    opened = molmo_reader.load(to, "cap")["train"]
    rows = opened.to_list()
    (to / DATA / "cap" / "train" / "data-00000-of-00002.arrow").write_bytes(b"left by something else")
    (to / DATA / ".cap.new-0123").mkdir()
    (to / IMAGES / ".part-0123").write_bytes(b"half an image")
    to_molmo(shelf.versions["cap", "repo"], to)
    assert opened.to_list() == rows
    assert opened[0]["image_url"] != molmo_reader.load(to, "cap")["train"][0]["image_url"]
    after = tree(to / DATA)
    assert after.keys() == before.keys()
    assert {path for path in after if after[path] != before[path]} == {
        f"cap/{split}/{name}" for split in SPLITS for name in ("data-00000-of-00001.arrow", INFO, STATE)
    }
    assert not list((to / IMAGES).glob(".*"))
    to_molmo(shelf.versions["cap", "embed"], to)
    assert tree(to / DATA) == before


def test_what_fails_leaves_the_folder_as_it_was(
    shelf: Shelf, laid: dict[str, MolmoLayout], to: Path, tmp_path: Path
) -> None:
    before = tree(to)
    with pytest.raises(ImagesMissing):
        to_molmo(_without_images(shelf.versions["cap", "repo"], tmp_path / "copy"), to)
    with lock(to / DATA / ".lock"), pytest.raises(ExportRunning):
        to_molmo(shelf.versions["cap", "embed"], to)
    assert tree(to) == before
    (to / DATA / "count" / "dataset_dict.json").unlink()
    with pytest.raises(FolderTaken, match="is no data set"):
        to_molmo(shelf.versions["count", "embed"], to)
    with pytest.raises(FolderTaken, match="lies in the version"):
        to_molmo(shelf.versions["count", "embed"], shelf.versions["cap", "embed"].path / "molmo")


def test_a_broken_version_leaves_nothing_behind(
    shelf: Shelf, laid: dict[str, MolmoLayout], to: Path, tmp_path: Path
) -> None:
    before = tree(to)
    copy = tmp_path / "copy"
    for name, error in (("data/test-00000.parquet", TableUnreadable), ("enriched/train-00000.parquet", NoVersion)):
        shutil.copytree(shelf.versions["points", "embed"].path, copy)
        (copy / name).write_bytes((copy / name).read_bytes()[:-200])
        with pytest.raises(error, match=name):
            to_molmo(copy, to)
        shutil.rmtree(copy)
    shutil.copytree(shelf.versions["points", "embed"].path, copy)
    damaged = copy / "data" / "train-00000.parquet"
    data = bytearray(damaged.read_bytes())
    labels = pq.read_metadata(damaged).row_group(0).column(5)
    assert labels.path_in_schema == "label"
    start = labels.dictionary_page_offset or labels.data_page_offset
    data[start : start + labels.total_compressed_size] = bytes(labels.total_compressed_size)
    damaged.write_bytes(data)
    with pytest.raises(NoVersion, match=r"train-00000\.parquet cannot be read"):
        to_molmo(copy, to)
    assert tree(to) == before


def test_a_folder_between_two_names_is_put_back(shelf: Shelf, laid: dict[str, MolmoLayout], to: Path) -> None:
    before = tree(to)
    (to / DATA / "cap").rename(to / DATA / ".cap.old-0123")
    shutil.copytree(to / DATA / "count", to / DATA / ".count.old-4567")
    relocate(to)
    assert tree(to) == before


def _without_images(version: Folder, copy: Path) -> Path:
    shutil.copytree(version.path, copy)
    shutil.rmtree(copy / "files")
    return copy


def test_documents_and_clocks_are_refused_with_a_reason(shelf: Shelf, to: Path) -> None:
    clocks, docs = (create(shelf.context, name).folder for name in ("clocks", "docs"))
    with pytest.raises(NoLayout, match=r"^clocks@1\.0\.0 cannot be laid out\. .*no reader.*datasets\.load_dataset\('"):
        to_molmo(clocks, to)
    with pytest.raises(NoLayout, match=r"^docs@1\.0\.0 .*by its name on the Hub, .*datasets\.load_dataset"):
        to_molmo(docs, to)
    assert not to.exists()


def test_progress_counts_images_and_rows(shelf: Shelf, to: Path) -> None:
    told: list[tuple[int, int]] = []
    to_molmo(shelf.versions["points", "embed"], to, progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, 16)
    assert told[-1] == (16, 16)
    assert told == sorted(told)


def test_a_report_is_plain_values(shelf: Shelf, to: Path) -> None:
    result = to_molmo(shelf.versions["cap", "embed"], to)
    assert json.loads(json.dumps(result.report())) == {
        "to": str(to), "version": "cap@1.0.0", "folders": [str(to / DATA / "cap")],
        "rows": {"cap": SIZES["cap"]}, "images": {"embedded": 6}, "missing": 0, "left_out": {},
    }  # fmt: skip


def test_a_relative_folder_gives_absolute_paths(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    to_molmo(shelf.versions["cap", "embed"], Path("some/../molmo"))
    monkeypatch.chdir("/")
    [row, *_] = molmo_reader.load(tmp_path / "molmo", "cap")["train"]
    assert Path(row["image"]).parent == tmp_path / "molmo" / IMAGES


def handmade(folder: Path, name: str, segments: dict[str, list[list[Row]]]) -> Folder:
    """A plain version with these rows in these segments, as somebody else may have published it."""
    (folder / "data").mkdir(parents=True)
    schema, files = arrow_schema(PUBLISHED[name]["default"]), []
    for split, parts in segments.items():
        for number, rows in enumerate(parts):
            path = f"data/{split}-{number:05d}.parquet"
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / path, row_group_size=1000)
            files.append({
                "path": path, "bytes": 0, "sha256": "", "config": "default", "split": split, "rows": len(rows),
                "num_bytes": 0, "first_row": 0, "last_row": 0, "content_sha256": "",
            })  # fmt: skip
    manifest = {
        "format": FORMAT, "dataset": name, "version": "1.0.0", "settings": {"licence": None},
        "configs": {"default": {}}, "files": files,
    }  # fmt: skip
    return Folder(folder, manifest, "")


def folder_of_images(folder: Path, urls: set[str]) -> Path:
    """An image for every address."""
    folder.mkdir()
    file = io.BytesIO()
    Image.new("RGB", (4, 3)).save(file, "PNG")
    for url in urls:
        (folder / name_of(url)).write_bytes(file.getvalue())
    return folder


def test_rows_of_an_image_come_together_from_wherever_they_are(
    tmp_path: Path, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(molmo_layout, "GROUPED_ROWS", 1_000)
    rng = np.random.default_rng(5)
    rows = []
    for number in range(9_000):
        image = 0 if rng.random() < 0.4 else int(rng.integers(0, 300))
        points = [{"x": float(x), "y": 1.5} for x in range(int(rng.integers(0, 3)))]
        rows.append({
            "image_url": f"https://photos.example/{image}", "image_sha256": "0" * 64, "points": points,
            "count": len(points), "label": f"label {number}",
            "collection_method": "pointing" if rng.random() < 0.9 else "counting",
        })  # fmt: skip
    ends = [0, 7, 2_000, 2_001, 5_000, 9_000]
    segments = [rows[start:end] for start, end in pairwise(ends)]
    version = handmade(tmp_path / "version", "points", {"train": segments})
    images = folder_of_images(tmp_path / "images", {row["image_url"] for row in rows})
    result = to_molmo(version, to, images=images)
    assert result.images == {"folder": 300}
    for folder in ("points-pointing", "points-counting"):
        found = molmo_reader.load(to, folder)
        assert found["train"].to_list() == expected(version, folder, "train", to / IMAGES)
        assert found["train"].info.splits["train"].num_bytes == found["train"].data.nbytes
    assert max(len(row["label"]) for row in molmo_reader.load(to, "points-pointing")["train"]) >= 3_000


def test_rows_that_the_reader_cannot_take_are_left_out_and_counted(tmp_path: Path, to: Path) -> None:
    url = "https://photos.example/1"
    cap = [{"image_url": url, "caption": "A kettle.", "transcripts": said} for said in ([], None, ["a kettle", "red"])]
    row = {"image_url": url, "image_sha256": "0" * 64, "question": "Why?", "response": "So.", "alt_text": [],
           "inline_text": [], "points": []}  # fmt: skip
    explanations = [row | {"parsed_response": parsed} for parsed in (None, "So.")]
    images = folder_of_images(tmp_path / "images", {url})
    captions = to_molmo(handmade(tmp_path / "cap", "cap", {"validation": [cap]}), to, images=images)
    assert captions.left_out == {"no_transcripts": 2}
    assert captions.rows == {"cap": {"train": 0, "validation": 1, "test": 0}}
    assert molmo_reader.read(to, "cap", "train") == []
    version = handmade(tmp_path / "explanations", "point-explanations", {"train": [explanations]})
    answers = to_molmo(version, to, images=images)
    assert answers.left_out == {"no_parsed_response": 1}
    assert molmo_reader.read(to, "point-explanations", "train") == [{"answers": [("Why?", "So.")]}]


def test_a_large_split_has_several_files(tmp_path: Path) -> None:
    schema = arrow_schema({"image_url": "string", "image": "string", "text": "string"})
    rows = [{"image_url": str(i), "image": f"/old/{i:064}", "text": "x" * (i % 50)} for i in range(5_000)]
    split = tmp_path / DATA / "cap" / "train"
    with SplitWriter(split, schema, "train", description="", licence="", shard_bytes=200_000) as writer:
        writer.write(pa.Table.from_pylist(rows[:700], schema=schema))
        writer.write(pa.Table.from_pylist(rows[700:], schema=schema))
    shards = sorted(path.name for path in split.glob("*.arrow"))
    assert len(shards) > 2
    assert shards == [f"data-{i:05d}-of-{len(shards):05d}.arrow" for i in range(len(shards))]
    found = datasets.load_from_disk(str(split))
    assert found.to_list() == rows
    assert found.info.splits["train"].num_bytes == found.data.nbytes
    (tmp_path / IMAGES).mkdir()
    assert relocate(tmp_path) == 5_000
    moved = datasets.load_from_disk(str(split))
    assert moved.to_list() == [row | {"image": f"{tmp_path / IMAGES}/{i:064}"} for i, row in enumerate(rows)]
    assert moved.info.splits["train"].num_bytes == moved.data.nbytes
    assert sorted(os.listdir(split)) == sorted([*shards, INFO, STATE])  # noqa: PTH208
