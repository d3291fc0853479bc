import datetime
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlcroissant
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pixmo.export.croissant import CONFORMS_TO, Statement, croissant
from pixmo.export.published import features
from pixmo.export.schemas import Feature, arrow_schema

# mlcroissant 1.1 parses JSON-LD by a class that rdflib 7 has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")

STATEMENT = Statement(
    title="Described images",
    description="Images with dense captions.",
    licence="odc-by",
    languages=("en", "no"),
    first_day="2026-03-01",
    last_day="2026-03-04",
    collection="People looked at an image and spoke about it.",
    protocol=("Annotators were asked seven questions.", "They could correct what was recognised."),
    annotations_per_item="1 to 3 descriptions of an image",
    models=("small.en (speech recognition)",),
)

CAPTIONS: dict[str, Feature] = dict(features("cap"))
PROVENANCE: dict[str, Feature] = {
    **CAPTIONS,
    "image": "image",
    "width": "int32",
    "flags": [{"kind": "string", "sentence": "int32"}],
    "transcript_used": ["bool"],
    "word_times": [[{"text": "string", "start": "float64"}]],
    "durations": ["float64"],
    "annotated_on": ["date32"],
}
COUNTS: dict[str, Feature] = dict(features("count"))


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(file, "PNG")
    return file.getvalue()


def caption(number: int) -> dict[str, Any]:
    return {
        "image_url": f"https://example.org/{number}.jpg",
        "caption": f"A bridge over {number} rivers, «blå».",
        "transcripts": [f"take {take}" for take in range(number % 3)],
    }


def provenance(number: int) -> dict[str, Any]:
    return {
        **caption(number),
        "image": {"bytes": png(), "path": None},
        "width": 3 if number else None,
        "flags": [{"kind": "number", "sentence": sentence} for sentence in range(number)],
        "transcript_used": [True, False],
        "word_times": [[{"text": "take", "start": 0.5}]],
        "durations": [1.5, None],
        "annotated_on": [datetime.date(2026, 3, 1)],
    }


def point(number: int) -> dict[str, Any]:
    return {
        "image_url": f"https://example.org/{number}.jpg",
        "image_sha256": f"{number:064x}",
        "points": [{"x": 10.0 * n, "y": 2.5} for n in range(number)],
        "count": number,
        "label": "bridge",
        "collection_method": "counting",
    }


def count(number: int) -> dict[str, Any]:
    points = {"x": [1.5] * number, "y": [2.5] * number} if number != 3 else None
    return {"image_url": "u", "image_sha256": "s", "count": number, "points": points, "label": "dog"}


CAP: dict[str, Any] = {
    "default": (
        "data",
        CAPTIONS,
        {
            "train-00000": [caption(1), caption(2)],
            "train-00001": [caption(3)],
            "validation-00000": [caption(4)],
        },
    ),
    "enriched": ("enriched", PROVENANCE, {"train-00000": [provenance(0), provenance(2)]}),
}
POINTS: dict[str, Any] = {
    "default": ("data", dict(features("points")), {"train-00000": [point(0), point(3)], "test-00000": [point(1)]})
}


def written(folder: Path, name: str, configs: Mapping[str, Any], statement: Statement = STATEMENT) -> dict[str, Any]:
    """A version folder with its croissant.json; gives the JSON-LD."""
    files: list[dict[str, Any]] = []
    described: dict[str, Any] = {}
    for config, (place, columns, segments) in configs.items():
        (folder / place).mkdir(parents=True)
        splits: dict[str, Any] = {}
        for segment, rows in segments.items():
            path = f"{place}/{segment}.parquet"
            pq.write_table(pa.Table.from_pylist(rows, arrow_schema(columns)), folder / path)
            content = (folder / path).read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            split = segment.partition("-")[0]
            splits[split] = {"rows": splits.get(split, {"rows": 0})["rows"] + len(rows)}
            files.append({"path": path, "bytes": len(content), "sha256": digest, "config": config, "split": split})
        described[config] = {"folder": place, "splits": splits}
    manifest = {
        "dataset": name,
        "version": "1.1.0",
        "settings": {"images": "embed"},
        "left_out": {"taken_down": 2},
        "configs": described,
        "files": [{"path": "README.md", "bytes": 1, "sha256": "0" * 64}, *files],
    }
    document = croissant(manifest, {config: columns for config, (_, columns, _) in configs.items()}, statement)
    (folder / "croissant.json").write_text(json.dumps(document))
    return document


def records(folder: Path, name: str, split: str | None = None) -> list[dict[str, Any]]:
    """The records that mlcroissant reads from the local files, with the names and types of the rows."""
    dataset = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    return [plain(record) for record in dataset.records(name, {f"{name}/split": split} if split else None)]


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name.rpartition("/")[2]: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, pd.Timestamp):
        return value.date()
    if hasattr(value, "item"):
        return value.item()
    return value.decode() if isinstance(value, bytes) else value


def without_split(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "split"} for row in rows]


def test_captions_are_read_from_the_local_files_split_by_split(tmp_path: Path) -> None:
    written(tmp_path, "cap", CAP)
    read = records(tmp_path, "default")
    assert without_split(read) == [caption(number) for number in (1, 2, 3, 4)]
    assert [row["split"] for row in read] == ["train", "train", "train", "validation"]
    assert without_split(records(tmp_path, "default", "validation")) == [caption(4)]
    assert without_split(records(tmp_path, "default", "train")) == [caption(number) for number in (1, 2, 3)]


def test_images_dates_structs_and_nulls_of_provenance_are_read(tmp_path: Path) -> None:
    document = written(tmp_path, "cap", CAP)
    first, second = without_split(records(tmp_path, "enriched"))
    for row, expected in ((first, provenance(0)), (second, provenance(2))):
        assert row.pop("image").size == (3, 2)
        assert row.pop("durations")[0] == 1.5
        assert row == {
            name: value for name, value in expected.items() if name not in ("image", "durations", "word_times")
        }
    description = document["recordSet"][1]["description"]
    assert "Not described here, because Croissant cannot express it: `word_times`." in description
    assert "Not described" not in document["recordSet"][0]["description"]


def test_points_are_read_as_lists_of_x_and_y(tmp_path: Path) -> None:
    written(tmp_path, "points", POINTS)
    assert without_split(records(tmp_path, "default")) == [point(1), point(0), point(3)]


def test_a_struct_of_lists_and_its_null_are_read(tmp_path: Path) -> None:
    written(tmp_path, "count", {"default": ("data", COUNTS, {"train-00000": [count(2), count(0), count(3)]})})
    read = without_split(records(tmp_path, "default"))
    assert read[:2] == [count(2), count(0)]
    assert read[2] == {**count(3), "points": {"x": None, "y": None}}


def test_masks_and_documents_are_read(tmp_path: Path) -> None:
    mask = {
        "image_url": "u", "image_sha256": "s", "label": "cat",
        "points": [{"x": 50.0, "y": 12.5}], "masks": [[[True, False], [False, False]]],
    }  # fmt: skip
    document = {
        "image": {"bytes": png(), "path": None},
        "image_id": "a",
        "questions": {"question": ["q"], "answer": ["a"]},
    }
    written(tmp_path / "eval", "points-eval", {"default": ("data", features("points-eval"), {"test-00000": [mask]})})
    written(tmp_path / "docs", "docs", {"charts": ("charts", features("docs", "charts"), {"train-00000": [document]})})
    assert without_split(records(tmp_path / "eval", "default")) == [mask]
    (row,) = without_split(records(tmp_path / "docs", "charts"))
    assert row["image"].getpixel((0, 0)) == (255, 0, 0)
    assert row["questions"] == document["questions"]


def test_files_have_their_hash_and_size_and_sets_name_their_splits(tmp_path: Path) -> None:
    document = written(tmp_path, "cap", CAP)
    metadata = mlcroissant.Dataset(jsonld=document).metadata
    assert {file.content_url for file in metadata.file_objects} == {
        "data/train-00000.parquet",
        "data/train-00001.parquet",
        "data/validation-00000.parquet",
        "enriched/train-00000.parquet",
    }
    for file in metadata.file_objects:
        content = (tmp_path / str(file.content_url)).read_bytes()
        assert file.sha256 == hashlib.sha256(content).hexdigest()
        assert file.content_size == f"{len(content)} B"
    assert [(files.id, files.includes) for files in metadata.file_sets] == [
        ("default-files", ["data/train-*.parquet", "data/validation-*.parquet"]),
        ("enriched-files", ["enriched/train-*.parquet"]),
    ]


def test_what_is_said_about_the_set_is_in_the_parsed_metadata(tmp_path: Path) -> None:
    metadata = mlcroissant.Dataset(jsonld=written(tmp_path, "cap", CAP)).metadata
    assert metadata.conforms_to == CONFORMS_TO
    assert metadata.name == "Described images"
    assert metadata.version == "1.1.0"
    assert metadata.license == ["https://spdx.org/licenses/ODC-By-1.0.html"]
    assert metadata.in_language == ["en", "no"]
    assert metadata.data_collection == STATEMENT.collection
    assert metadata.data_collection_type == ["Manual Human Curator"]
    assert metadata.data_collection_timeframe == [datetime.datetime(2026, 3, 1), datetime.datetime(2026, 3, 4)]  # noqa: DTZ001
    assert metadata.data_collection_missing_data == "Rows left out, by reason: taken_down: 2."
    assert metadata.data_preprocessing_protocol == list(STATEMENT.preprocessing)
    assert metadata.data_annotation_protocol == list(STATEMENT.protocol)
    assert metadata.data_annotation_platform == ["pixmo"]
    assert metadata.annotations_per_item == STATEMENT.annotations_per_item
    assert metadata.annotator_demographics == ["not collected"]
    assert metadata.machine_annotation_tools == ["small.en (speech recognition)"]
    assert metadata.personal_sensitive_information == list(STATEMENT.personal)
    assert metadata.data_limitations == [*STATEMENT.limitations, "The images are part of this data set."]
    assert metadata.data_biases == list(STATEMENT.biases)
    assert metadata.data_use_cases == list(STATEMENT.uses)
    assert metadata.data_release_maintenance_plan == STATEMENT.maintenance


def test_what_is_not_known_is_not_said(tmp_path: Path) -> None:
    silent = replace(STATEMENT, licence=None, first_day=None, last_day=None, models=())
    document = written(tmp_path, "cap", CAP, silent)
    assert "license" not in document
    assert "rai:dataCollectionTimeFrame" not in document
    assert document["rai:machineAnnotationTools"] == ["none"]
    assert without_split(records(tmp_path, "default", "validation")) == [caption(4)]


def test_units_are_told_and_can_be_replaced(tmp_path: Path) -> None:
    documents = [
        written(tmp_path / str(number), "points", POINTS, replace(STATEMENT, meaning=meaning))
        for number, meaning in enumerate(({}, {"points": "millimetres"}))
    ]
    told, replaced = (
        {field["name"]: field["description"] for field in document["recordSet"][0]["field"]} for document in documents
    )
    assert "percent" in told["points"]
    assert replaced == {**told, "points": "millimetres"}


@pytest.mark.parametrize("licence", ["odc-by", "cc-by-4.0", "our own terms"])
def test_a_licence_is_an_spdx_address_where_there_is_one(tmp_path: Path, licence: str) -> None:
    document = written(tmp_path, "points", POINTS, replace(STATEMENT, licence=licence))
    spdx = {"odc-by": "ODC-By-1.0", "cc-by-4.0": "CC-BY-4.0"}
    assert document["license"] == (f"https://spdx.org/licenses/{spdx[licence]}.html" if licence in spdx else licence)


def test_images_that_are_files_are_a_set(tmp_path: Path) -> None:
    manifest = {
        "dataset": "points",
        "version": "1.0.0",
        "settings": {"images": "repo"},
        "left_out": {},
        "configs": {"default": {"folder": "data", "splits": {"train": {"rows": 1}}}},
        "files": [{"path": f"files/ab/{number:064x}.{ending}"} for number, ending in enumerate(("png", "jpg", "jpg"))],
    }
    document = croissant(manifest, {"default": features("points")}, STATEMENT)
    assert [(files["@id"], files["encodingFormat"]) for files in document["distribution"]] == [
        ("default-files", "application/x-parquet"),
        ("images-jpg", "image/jpeg"),
        ("images-png", "image/png"),
    ]
    mlcroissant.Dataset(jsonld=document)
    assert document["rai:dataCollectionMissingData"] == "No row was left out."
