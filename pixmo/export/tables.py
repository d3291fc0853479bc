"""Writing rows to parquet shards, in constant memory and byte for byte the same for the same rows.

Text is zstd-3 with dictionaries; image bytes are stored as they are, in small row groups: they do not compress, and
compressed or paged they could not be deduplicated on upload.
"""

import hashlib
import io
import json
import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pixmo.errors import Unprocessable
from pixmo.export.schemas import Feature, arrow_schema

SPLIT = "train"
GROUP_BYTES = 32 * 2**20
SHARD_BYTES = 400 * 2**20


class RowInvalid(Unprocessable):
    """A pipeline made a row that does not fit the columns."""

    code = "row_invalid"
    title = "A row does not fit the schema"


class TableWriter:
    """Writes the rows of one configuration to `folder/train-00000-of-00001.parquet` and so on.

    `rows`, `num_bytes` (in Arrow, what `datasets` calls so) and `content_sha256` (over the values of all rows,
    whatever wrote them) are final after `close`.
    """

    def __init__(self, folder: Path, features: Mapping[str, Feature], *, group_rows: int) -> None:
        self.folder = folder
        self.rows = 0
        self.num_bytes = 0
        self._schema = arrow_schema(features)
        self._options = _options(self._schema)
        self._lists = [name for name, feature in features.items() if isinstance(feature, list)]
        self._group_rows = group_rows
        self._group: list[dict[str, Any]] = []
        self._group_bytes = 0
        self._shards: list[Path] = []
        self._file: BinaryIO | None = None
        self._writer: pq.ParquetWriter | None = None
        self._digest = hashlib.sha256()
        folder.mkdir(parents=True)

    @property
    def content_sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, row: dict[str, Any]) -> None:
        """Append a row. Raises `RowInvalid`, at the latest when its group is written."""
        for name in self._lists:
            if not isinstance(row[name], list):  # Arrow would take a string for a list of letters
                raise RowInvalid(f"Row {self.rows + len(self._group)}: {name} is not a list.")
        self._digest.update(json.dumps(row, sort_keys=True, ensure_ascii=False, default=_plain).encode() + b"\n")
        self._group.append(row)
        self._group_bytes += len(row.get("image", {}).get("bytes", b""))
        if len(self._group) == self._group_rows or self._group_bytes >= GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Finish the last shard and give all shards their names."""
        self._flush()
        self._close_shard()
        for i, path in enumerate(self._shards):
            path.rename(self.folder / f"{SPLIT}-{i:05d}-of-{len(self._shards):05d}.parquet")

    def abort(self) -> None:
        """Let go of the open file; what was written is for the caller to remove."""
        if self._file is not None:
            self._file.close()

    def _flush(self) -> None:
        if not self._group:
            return
        try:
            batch = pa.RecordBatch.from_pylist(self._group, schema=self._schema)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise RowInvalid(f"Rows {self.rows} to {self.rows + len(self._group) - 1}: {error}") from error
        if self._writer is None:
            path = self.folder / f"{len(self._shards):05d}.part"
            self._shards.append(path)
            self._file = path.open("xb")
            self._writer = pq.ParquetWriter(self._file, self._schema, **self._options)
        self._writer.write_batch(batch, row_group_size=len(self._group))
        self.rows += len(self._group)
        self.num_bytes += batch.nbytes
        self._group, self._group_bytes = [], 0
        if self._file is not None and self._file.tell() >= SHARD_BYTES:
            self._close_shard()

    def _close_shard(self) -> None:
        if self._writer is None or self._file is None:
            return
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._writer = self._file = None


def _plain(value: object) -> str:
    """Values that JSON does not have, for the digest: bytes by their own digest, dates as text."""
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, date):
        return value.isoformat()
    raise RowInvalid(f"A value of type {type(value).__name__} has no place in a data set.")


def _options(schema: pa.Schema) -> dict[str, Any]:
    """Compression by column: parquet wants the paths of the leaves, which an empty file tells."""
    empty = io.BytesIO()
    pq.write_table(schema.empty_table(), empty)
    leaves = pq.ParquetFile(empty).schema
    paths = [leaves.column(i).path for i in range(len(leaves))]
    text = [path for path in paths if path != "image.bytes"]
    return {
        "compression": {path: "zstd" if path in text else "none" for path in paths},
        "compression_level": dict.fromkeys(text, 3),
        "use_dictionary": text,
        "write_page_index": True,
    }
