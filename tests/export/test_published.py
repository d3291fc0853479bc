import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Features, Image, List, Sequence, Value, load_dataset

from pixmo.export.published import MEANING, PUBLISHED, SPLITS, features
from pixmo.export.schemas import arrow_schema, card_features

STRING = Value("string")
POINTS = [{"x": Value("float64"), "y": Value("float64")}]
DOCUMENT = {
    "image": Image(),
    "image_id": STRING,
    "questions": Sequence({"question": STRING, "answer": STRING}),
}

EXPECTED: dict[tuple[str, str], dict[str, Any]] = {
    ("cap", "default"): {"image_url": STRING, "caption": STRING, "transcripts": Sequence(STRING)},
    ("points", "default"): {
        "image_url": STRING,
        "image_sha256": STRING,
        "points": POINTS,
        "count": Value("int64"),
        "label": STRING,
        "collection_method": STRING,
    },
    ("points-eval", "default"): {
        "image_url": STRING,
        "image_sha256": STRING,
        "label": STRING,
        "points": POINTS,
        "masks": Sequence(Sequence(Sequence(Value("bool")))),
    },
    ("point-explanations", "default"): {
        "image_url": STRING,
        "image_sha256": STRING,
        "question": STRING,
        "response": STRING,
        "parsed_response": STRING,
        "alt_text": Sequence(STRING),
        "inline_text": Sequence(STRING),
        "points": Sequence(Sequence(Sequence(Value("float64")))),
    },
    ("count", "default"): {
        "image_url": STRING,
        "image_sha256": STRING,
        "count": Value("int32"),
        "points": Sequence({"x": Value("float32"), "y": Value("float32")}),
        "label": STRING,
    },
    ("ask-model-anything", "default"): {
        "image_url": STRING,
        "image_sha256": STRING,
        "question": STRING,
        "answer": STRING,
    },
    ("cap-qa", "default"): {
        "image_url": STRING,
        "question": STRING,
        "answer": STRING,
        "messages": Sequence(STRING),
    },
    ("docs", "charts"): DOCUMENT,
    ("docs", "diagrams"): DOCUMENT,
    ("docs", "tables"): DOCUMENT,
    ("docs", "other"): DOCUMENT,
    ("clocks", "default"): {
        "example_id": STRING,
        "watchface_id": STRING,
        "watchface_name": STRING,
        "watch_time": STRING,
        "time_format": STRING,
        "shows_seconds": Value("bool"),
        "hour_visible": Value("int32"),
        "minute_visible": Value("int32"),
        "second_visible": Value("int32"),
        "text": STRING,
    },
}

POINT = pa.struct([("x", pa.float64()), ("y", pa.float64())])
TEXTS = pa.list_(pa.string())
NESTED = {
    ("cap", "transcripts"): TEXTS,
    ("points", "points"): pa.list_(POINT),
    ("points", "count"): pa.int64(),
    ("points-eval", "points"): pa.list_(POINT),
    ("points-eval", "masks"): pa.list_(pa.list_(pa.list_(pa.bool_()))),
    ("point-explanations", "alt_text"): TEXTS,
    ("point-explanations", "inline_text"): TEXTS,
    ("point-explanations", "points"): pa.list_(pa.list_(pa.list_(pa.float64()))),
    ("count", "count"): pa.int32(),
    ("count", "points"): pa.struct([("x", pa.list_(pa.float32())), ("y", pa.list_(pa.float32()))]),
    ("cap-qa", "messages"): TEXTS,
    ("docs", "image"): pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    ("docs", "questions"): pa.struct([("question", TEXTS), ("answer", TEXTS)]),
    ("clocks", "shows_seconds"): pa.bool_(),
    ("clocks", "hour_visible"): pa.int32(),
    ("clocks", "minute_visible"): pa.int32(),
    ("clocks", "second_visible"): pa.int32(),
}

every_set = pytest.mark.parametrize(("name", "config"), EXPECTED, ids=" ".join)


def test_every_published_set_is_here() -> None:
    assert [(name, config) for name, configs in PUBLISHED.items() for config in configs] == list(EXPECTED)
    assert list(SPLITS) == list(MEANING) == list(PUBLISHED)
    assert {name: splits for name, splits in SPLITS.items() if splits != ("train",)} == {
        "points-eval": ("test",),
        "count": ("train", "validation", "test"),
        "docs": ("train", "validation"),
        "clocks": ("train", "validation"),
    }


@every_set
def test_columns_and_arrow_types_are_the_published_ones(name: str, config: str) -> None:
    schema = arrow_schema(PUBLISHED[name][config])
    assert schema.remove_metadata() == pa.schema(
        [(column, NESTED.get((name, column), pa.string())) for column in EXPECTED[name, config]]
    )


@every_set
def test_datasets_sees_the_published_features_in_file_and_card(name: str, config: str) -> None:
    expected = Features(EXPECTED[name, config])
    columns = PUBLISHED[name][config]
    assert Features.from_arrow_schema(arrow_schema(columns)) == expected
    assert Features._from_yaml_list(card_features(columns)) == expected
    assert list(Features.from_arrow_schema(arrow_schema(columns))) == list(expected)
    assert '"Sequence"' not in json.dumps(json.loads(arrow_schema(columns).metadata[b"huggingface"]))


@every_set
def test_every_column_has_a_meaning_and_coordinates_a_unit(name: str, config: str) -> None:
    assert list(MEANING[name]) == list(PUBLISHED[name][config])
    if "points" in MEANING[name]:
        assert ("pixels" if name == "count" else "percent") in MEANING[name]["points"]
        assert "origin top left" in MEANING[name]["points"]


def test_a_struct_of_lists_and_its_null_read_as_published(tmp_path: Path) -> None:
    rows = [
        {
            "image_url": "u",
            "image_sha256": "s",
            "count": 2,
            "points": {"x": [1.5, 3.0], "y": [2.0, 4.5]},
            "label": "cat",
        },
        {"image_url": "v", "image_sha256": "t", "count": 0, "points": {"x": [], "y": []}, "label": "dog"},
        {"image_url": "w", "image_sha256": "r", "count": 7, "points": None, "label": "bird"},
    ]
    read, streamed = _read_back(tmp_path, "count", rows)
    assert read.features["points"] == {"x": List(Value("float32")), "y": List(Value("float32"))}
    assert list(read) == list(streamed) == rows


def test_masks_of_different_sizes_and_empty_points_survive_a_round_trip(tmp_path: Path) -> None:
    rows = [
        {
            "image_url": "u",
            "image_sha256": "s",
            "label": "cat",
            "points": [{"x": 50.0, "y": 12.5}],
            "masks": [[[True, False, True], [False, False, True]]],
        },
        {"image_url": "v", "image_sha256": "t", "label": "dog", "points": [], "masks": []},
    ]
    read, streamed = _read_back(tmp_path, "pixmo-points-eval", rows)
    assert list(read) == list(streamed) == rows


def _read_back(folder: Path, name: str, rows: list[dict[str, Any]]) -> tuple[Any, Any]:
    """The rows written and read by `datasets`, as a table and as a stream."""
    file = folder / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows, arrow_schema(features(name))), file)
    options = {"data_files": str(file), "split": "train", "cache_dir": str(folder / "cache")}
    return load_dataset("parquet", **options), load_dataset("parquet", streaming=True, **options)


def test_an_unknown_set_has_no_columns() -> None:
    with pytest.raises(KeyError):
        features("videos")
