"""Images out of an existing Hugging Face data set: on the Hub, in a local folder, or in a Parquet file."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pixmo.images.normalise import Reason
from pixmo.images.sources import Inline, Item, Refused, SourceMissing, item_at, item_from_row, parse_row, printable

_IMAGE_KEYS = {"bytes", "path"}


class HubDataset:
    """The rows of a data set, streamed, images not decoded.

    A row's image is its first column of type `Image`, else the file or URL that its other columns name, as in a
    `RowList`. All splits are read unless `split` names one.
    """

    ignored = 0

    def __init__(
        self, name: str, *, config: str | None = None, split: str | None = None, revision: str | None = None
    ) -> None:
        self._name = printable(str(Path(name).absolute()) if Path(name).exists() else name)
        self._base = Path(name) if Path(name).is_dir() else Path(name).parent
        try:
            self._splits = _load(name, config, split, revision)
        except Exception as error:  # whatever loaders, file systems and the network raise
            reason = printable(str(error).strip().partition("\n")[0])
            raise SourceMissing(f"The data set {self._name} cannot be loaded: {reason}") from error
        self._prefix = ":".join(("dataset", self._name, config or "", revision or ""))

    def count(self) -> int | None:
        """The number of rows, if the data set tells it."""
        known = [_rows(split, data) for split, data in self._splits]
        return None if None in known else sum(rows or 0 for rows in known)

    def items(self) -> Iterator[Item]:
        for split, data in self._splits:
            index = -1
            try:
                for index, row in enumerate(_undecoded(data)):
                    yield self._item(f"{self._prefix}:{split}:{index}", f"{self._name}[{split}][{index}]", row)
            except Exception as error:  # the network, or a broken file in the midst of the rows
                name = f"{self._name}[{split}]"
                broken = Refused(Reason.UNREADABLE, printable(f"broke off after row {index}: {error}"))
                yield Item(f"{self._prefix}:{split}:{index}", name, broken)

    def _item(self, key: str, name: str, row: Mapping[str, Any]) -> Item:
        image = next((value for value in row.values() if isinstance(value, dict) and value.keys() == _IMAGE_KEYS), None)
        if image is None:
            return item_from_row(key, name, row, self._base)
        try:
            parsed = parse_row(row)
            data, path = image["bytes"], image["path"]
            if data is None and path is not None and "://" not in path:
                return item_at(Path(path), parsed.meta, parsed.sha256)
            data = _remote(path) if data is None else data
        except Exception as error:  # the row's hash, or what the file systems of fsspec raise
            return Item(key, name, Refused(Reason.UNREADABLE, printable(str(error))))
        return Item(f"{key}|{hashlib.sha256(data).hexdigest()}", name, Inline(data), parsed.meta, parsed.sha256)


def _load(name: str, config: str | None, split: str | None, revision: str | None) -> list[tuple[str, Any]]:
    """The splits of a data set, by name, each streamed or memory-mapped."""
    from datasets import load_dataset, load_from_disk  # takes a second to import

    folder = Path(name)
    if folder.suffix == ".parquet" and folder.is_file():
        loaded = load_dataset("parquet", data_files={folder.stem: str(folder)}, streaming=True)
    elif (folder / "dataset_dict.json").is_file():
        loaded = load_from_disk(name)
    elif (folder / "state.json").is_file():
        loaded = {"train": load_from_disk(name)}
    else:
        loaded = load_dataset(name, config, revision=revision, streaming=True)
    if split is not None:
        if split not in loaded:
            raise ValueError(f"there is no split {split!r}, only {', '.join(loaded)}")
        loaded = {split: loaded[split]}
    return list(loaded.items())


def _rows(split: str, data: Any) -> int | None:
    if hasattr(data, "__len__"):
        return len(data)
    return getattr((data.info.splits or {}).get(split), "num_examples", None)


def _undecoded(data: Any) -> Iterator[Mapping[str, Any]]:
    """The rows, with image columns as the dictionaries {bytes, path} that they are stored as."""
    from datasets import Image

    for column, feature in (data.features or {}).items():
        if isinstance(feature, Image):
            data = data.cast_column(column, Image(decode=False))
    yield from data


def _remote(path: str) -> bytes:
    import fsspec  # type: ignore[import-untyped]

    with fsspec.open(path, "rb") as file:
        data: bytes = file.read()
    return data
