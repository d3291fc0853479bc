"""Read versions with the release of `datasets` that runs this, and write what it found as JSON.

Run as `python -I old_reader.py RESULT CACHE FOLDER...` in an environment that has nothing but `datasets` and Pillow.
A folder with a card is read as `load_dataset(folder, config)`, one without by the files that its manifest lists.
"""

import hashlib
import json
import sys
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import datasets
import PIL.Image
import pyarrow as pa


def spelled(features: datasets.Features) -> list[list[str]]:
    """[name, type] of every column. Types are Arrow's, but for images; how list items are called does not matter."""
    columns = []
    for field in features.arrow_schema:
        is_image = isinstance(features[field.name], datasets.Image)
        columns.append([field.name, "image" if is_image else _type(field.type)])
    return columns


def _type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"list<{_type(kind.value_type)}>"
    if pa.types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        return f"struct<{', '.join(f'{field.name}: {_type(field.type)}' for field in fields)}>"
    return str(kind)


def plain(value: Any) -> Any:
    """A value of a row as JSON has it: bytes by their hash, a decoded picture by its size and mode."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, PIL.Image.Image):
        return {"size": list(value.size), "mode": value.mode}
    return value


def plain_rows(data: Any) -> list[dict[str, Any]]:
    """The rows of a `Dataset` or an `IterableDataset`; of an image its bytes, and its size and mode once decoded."""
    images = [name for name, feature in data.features.items() if isinstance(feature, datasets.Image)]
    rows = [plain(row) for row in data]
    for name in images:
        data = data.cast_column(name, datasets.Image(decode=False))
    if images:
        for row, stored in zip(rows, data, strict=True):
            row.update({name: {**row[name], **plain(stored[name])} for name in images})
    return rows


def _by_card(folder: Path, cache: str) -> Iterable[tuple[str, dict[str, Any]]]:
    for config in datasets.get_dataset_config_names(str(folder)):
        yield config, {"path": str(folder), "name": config, "cache_dir": cache}


def _by_files(folder: Path, cache: str) -> Iterable[tuple[str, dict[str, Any]]]:
    for config, described in json.loads((folder / "manifest.json").read_text("utf-8"))["configs"].items():
        files = {split: str(folder / described["folder"] / f"{split}-*") for split in described["splits"]}
        yield config, {"path": "parquet", "data_files": files, "cache_dir": cache}


def _read(streaming: bool, options: dict[str, Any]) -> dict[str, Any]:
    """{split: its columns and rows}, or what went wrong."""
    try:
        read = datasets.load_dataset(**options, streaming=streaming)
        return {split: {"columns": spelled(data.features), "rows": plain_rows(data)} for split, data in read.items()}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def main(result: str, cache: str, *folders: str) -> None:
    found = {}
    for folder in map(Path, folders):
        configs = _by_card if (folder / "README.md").exists() else _by_files
        found[str(folder)] = {
            config: {"map": _read(False, options), "streaming": _read(True, options)}
            for config, options in configs(folder, cache)
        }
        if configs is _by_card:
            found[str(folder)][""] = {"streaming": _read(True, {"path": str(folder), "cache_dir": cache})}
    report = {"datasets": datasets.__version__, "modules": sorted(sys.modules), "folders": found}
    Path(result).write_text(json.dumps(report), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
