"""Segments: the files of one split of one configuration, of which a new version writes only those that changed.

Where a segment ends is decided by the ids of its rows (content-defined chunking, on rows): after a row whose hashed
id ends in zeros, within a least and a greatest number of rows. So the cut does not depend on which versions were made
before, appended rows change the last segment only, and a row that leaves moves the cuts of its neighbourhood, not
those of the whole data set.

Text is zstd-3 with dictionaries; image bytes are stored as they are, in row groups of at most 100: they do not
compress, and compressed or paged they could not be deduplicated on upload.
"""

import hashlib
import io
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pixmo.errors import Unprocessable
from pixmo.export.digest import content_sha256
from pixmo.export.schemas import Feature, arrow_schema, fingerprint

WRITER = f"pyarrow {pa.__version__}"
IMAGE_GROUP_ROWS = 100
IMAGE_GROUP_BYTES = 32 * 2**20

Load = Callable[[str], bytes]
"""The bytes of an image by its name, `<sha256>.<format>`."""


class RowInvalid(Unprocessable):
    """A row does not fit the columns, or breaks a rule of its data set."""

    code = "row_invalid"
    title = "A row does not fit the schema"


@dataclass(frozen=True)
class Cuts:
    """Sizes of segments in rows: `least`, on average `least + typical`, `most`. `typical` is a power of two."""

    least: int
    typical: int
    most: int
    group: int


TEXT = Cuts(least=8_192, typical=16_384, most=65_536, group=16_384)
IMAGES = Cuts(least=128, typical=128, most=512, group=IMAGE_GROUP_ROWS)


@dataclass(frozen=True)
class Segment:
    """One file. `path` is where it lies now; `num_bytes` is its size decoded, as parquet states it."""

    path: Path
    rows: int
    first_row: int
    last_row: int
    bytes: int
    num_bytes: int
    sha256: str
    content_sha256: str


class SegmentWriter:
    """Writes rows, in the order of their ids, as segments below `work`.

    Columns of type image hold names (`<sha256>.<format>`); `load` gives the bytes when they are written, so that
    unchanged images are not even read. `known`: files of the same schema and writer by their logical hash, with their
    SHA-256, used instead of writing the same again unless they were damaged.
    """

    def __init__(
        self,
        features: Mapping[str, Feature],
        cuts: Cuts,
        work: Path,
        *,
        known: Mapping[str, tuple[Path, str]],
        load: Load,
    ) -> None:
        self._features = features
        self._cuts = cuts
        self._work = work
        self._known = known
        self._load = load
        self._images = [name for name, feature in features.items() if feature == "image"]
        self._schema = arrow_schema(features)
        self._names = pa.schema([pa.field(f.name, pa.string()) if f.name in self._images else f for f in self._schema])
        self._identity = hashlib.sha256(f"{fingerprint(features)}:{WRITER}".encode()).hexdigest()[:16]
        self._parts: list[pa.Table] = []
        self._ids: list[NDArray[np.int64]] = []
        self._pending = 0
        self.segments: list[Segment] = []

    def write(self, table: pa.Table, row_ids: NDArray[np.int64]) -> None:
        """Append rows. `table` holds at least the columns of the schema. Raises `RowInvalid`."""
        try:
            table = table.select(self._names.names).cast(self._names)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError, ValueError) as error:
            raise RowInvalid(f"Rows {row_ids[0]} to {row_ids[-1]} do not fit the schema: {error}") from error
        start = 0
        for end in self._ends(row_ids):
            self._append(table.slice(start, end - start), row_ids[start:end])
            self._finish()
            start = end
        self._append(table.slice(start), row_ids[start:])

    def close(self) -> list[Segment]:
        """Finish the last segment; all segments, in order."""
        self._finish()
        return self.segments

    def _ends(self, row_ids: NDArray[np.int64]) -> Iterator[int]:
        """Where segments end among these rows, as positions after their last row."""
        candidates = np.flatnonzero(_mixed(row_ids) & np.uint64(self._cuts.typical - 1) == 0) + 1
        start, pending = 0, self._pending
        while True:
            least, most = start + self._cuts.least - pending, start + self._cuts.most - pending
            later = candidates[np.searchsorted(candidates, least) :]
            end = min(int(later[0]) if later.size else most, most)
            if end > len(row_ids):
                return
            yield end
            start, pending = end, 0

    def _append(self, table: pa.Table, row_ids: NDArray[np.int64]) -> None:
        if table.num_rows:
            self._parts.append(table)
            self._ids.append(row_ids)
            self._pending += table.num_rows

    def _finish(self) -> None:
        if not self._pending:
            return
        try:
            table = pa.concat_tables(self._parts).combine_chunks()
        except pa.ArrowInvalid as error:
            first, last = self._ids[0][0], self._ids[-1][-1]
            raise RowInvalid(f"Rows {first} to {last} are too large for one file: {error}") from error
        content, ids = content_sha256(table), np.concatenate(self._ids)
        self._parts, self._ids, self._pending = [], [], 0
        rows = int(ids[0]), int(ids[-1])
        self.segments.append(self._intact(content, rows) or self._written(table, content, rows))

    def _intact(self, content: str, rows: tuple[int, int]) -> Segment | None:
        """The known file with these rows, if it still holds them."""
        path, sha256 = self._known.get(content, (None, ""))
        if path is not None:
            with suppress(OSError, pa.ArrowInvalid):
                found = segment(path, content, *rows)
                return found if found.sha256 == sha256 else None
        return None

    def _written(self, table: pa.Table, content: str, rows: tuple[int, int]) -> Segment:
        path = self._work / f"{content}-{self._identity}.parquet"
        if not path.is_file():
            self._write(table, path)
        return segment(path, content, *rows)

    def _write(self, table: pa.Table, path: Path) -> None:
        part = self._work / f".{path.stem}-{secrets.token_hex(4)}.part"
        try:
            with part.open("xb") as file:
                with pq.ParquetWriter(file, self._schema, **_options(self._schema, self._images)) as writer:
                    if self._images:
                        for group in self._groups(table):
                            writer.write_table(group, row_group_size=group.num_rows)
                    else:
                        writer.write_table(table.cast(self._schema), row_group_size=self._cuts.group)
                file.flush()
                os.fsync(file.fileno())
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)

    def _groups(self, table: pa.Table) -> Iterator[pa.Table]:
        """Row groups with their images' bytes, of bounded size."""
        start, size = 0, 0
        loaded: dict[str, list[dict[str, Any] | None]] = {name: [] for name in self._images}
        for row in range(table.num_rows):
            for name in self._images:
                image = table.column(name)[row].as_py()
                value = image and {"bytes": self._load(image), "path": image}
                loaded[name].append(value)
                size += len(value["bytes"]) if value else 0
            done = row + 1
            if done - start == self._cuts.group or size >= IMAGE_GROUP_BYTES or done == table.num_rows:
                group = table.slice(start, done - start)
                for name in self._images:
                    kind = self._schema.field(name).type
                    group = group.set_column(group.column_names.index(name), name, pa.array(loaded[name], kind))
                yield group.cast(self._schema)
                start, size, loaded = done, 0, {name: [] for name in self._images}


def segment(path: Path, content: str, first_row: int, last_row: int) -> Segment:
    """What a finished file is."""
    metadata = pq.read_metadata(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Segment(
        path=path,
        rows=metadata.num_rows,
        first_row=first_row,
        last_row=last_row,
        bytes=path.stat().st_size,
        num_bytes=sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)),
        sha256=digest,
        content_sha256=content,
    )


def image_names(table: pa.Table, images: list[str]) -> pa.Table:
    """A table read from a segment as it was before its images were loaded: names, recomputed from the bytes."""
    for name in images:
        named = []
        for value in table.column(name).to_pylist():
            suffix = Path(value["path"]).suffix if value else ""
            named.append(value and f"{hashlib.sha256(value['bytes']).hexdigest()}{suffix}")
        table = table.set_column(table.column_names.index(name), name, pa.array(named, pa.string()))
    return table


def _mixed(row_ids: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Every id as 64 well-mixed bits (the finaliser of splitmix64)."""
    mixed = row_ids.astype(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _options(schema: pa.Schema, images: list[str]) -> dict[str, Any]:
    """Compression by column: parquet wants the paths of the leaves, which an empty file tells."""
    empty = io.BytesIO()
    pq.write_table(schema.empty_table(), empty)
    leaves = pq.ParquetFile(empty).schema
    paths = [leaves.column(i).path for i in range(len(leaves))]
    text = [path for path in paths if path not in {f"{name}.bytes" for name in images}]
    return {
        "compression": {path: "zstd" if path in text else "none" for path in paths},
        "compression_level": dict.fromkeys(text, 3),
        "use_dictionary": text,
        "write_page_index": True,
    }
