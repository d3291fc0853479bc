"""Folders as `datasets` saves them to disk, written with pyarrow: Arrow streams, and what there is to say of them.

Features are spelled as every release of `datasets` from 2.21 reads them: what `datasets` 4 itself writes, older ones
do not read.
"""

import ctypes
import hashlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from pixmo.export.folder import FolderTaken, sync_folder

SHARD_BYTES = 500 * 10**6
BATCH_ROWS = 1_000
"""Rows of a record batch, as `datasets` writes them."""
PART = ".part-"
_EXCHANGE = 2
_HERE = -100
"""RENAME_EXCHANGE and AT_FDCWD of Linux."""
DICT, STATE, INFO = "dataset_dict.json", "state.json", "dataset_info.json"


@contextmanager
def new_folders(targets: Sequence[Path]) -> Iterator[list[Path]]:
    """Names of folders to write, each of which takes the place of its target if the block ends without an error."""
    for target in targets:
        if target.exists() and not any((target / name).is_file() for name in (DICT, STATE)):
            raise FolderTaken(f"{target} exists, and is no data set. Move it away, or choose another folder.")
    folders = [target.with_name(f".{target.name}.new-{secrets.token_hex(4)}") for target in targets]
    try:
        yield folders
        for new, target in zip(folders, targets, strict=True):
            if not target.exists():
                new.rename(target)
            elif not _exchange(new, target):
                old = target.rename(target.with_name(f".{target.name}.old-{secrets.token_hex(4)}"))
                new.rename(target)
                shutil.rmtree(old)
            sync_folder(target.parent)
    finally:
        for new in folders:
            shutil.rmtree(new, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap the names of two folders at once (renameat2(2), RENAME_EXCHANGE); whether that was done."""
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "renameat2"):
        return False
    return bool(libc.renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0)


class SplitWriter:
    """Writes one split to a new folder; `description` and `licence` are said of it."""

    def __init__(
        self,
        folder: Path,
        schema: pa.Schema,
        split: str,
        *,
        description: str,
        licence: str,
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        self._folder, self._schema, self._split, self._most = folder, schema, split, shard_bytes
        self._info = {"citation": "", "description": description, "homepage": "", "license": licence}
        self._shards: list[Path] = []
        self._writer: Any = None
        self._shard_bytes = 0
        self.rows = 0

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True)
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self._end_shard()
        if error is None:
            self._finish()

    def write(self, table: pa.Table) -> None:
        """Append rows. `table` holds at least the columns of the schema."""
        for batch in table.select(self._schema.names).cast(self._schema).to_batches(max_chunksize=BATCH_ROWS):
            if self._writer is not None and self._shard_bytes + batch.nbytes > self._most:
                self._end_shard()
            self._shard().write_batch(batch)
            self._shard_bytes += batch.nbytes
            self.rows += batch.num_rows

    def _shard(self) -> Any:
        if self._writer is None:
            self._shards.append(self._folder / f"{len(self._shards)}.arrow")
            self._writer = pa.ipc.new_stream(str(self._shards[-1]), self._schema)
            self._shard_bytes = 0
        return self._writer

    def _end_shard(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _finish(self) -> None:
        if not self._shards:  # a split without rows is a stream without batches
            self._shard()
            self._end_shard()
        number = len(self._shards)
        names = [f"data-{i:05d}-of-{number:05d}.arrow" for i in range(number)]
        shards = [shard.rename(self._folder / name) for shard, name in zip(self._shards, names, strict=True)]
        for shard in shards:
            with shard.open("rb") as file:
                os.fsync(file.fileno())
        features = json.loads(self._schema.metadata[b"huggingface"])["info"]["features"]
        described = {"name": self._split, "num_bytes": _num_bytes(shards), "num_examples": self.rows}
        write_json(self._folder / INFO, {**self._info, "features": features, "splits": {self._split: described}})
        write_json(self._folder / STATE, _state(self._split, shards))
        sync_folder(self._folder)


def write_json(path: Path, value: Any) -> None:
    """Replace a small file as a whole."""
    with replacing(path) as part, part.open("xb") as file:
        file.write(json.dumps(value, indent=2).encode())
        file.flush()
        os.fsync(file.fileno())


def move_images(folder: Path, images: Path) -> int:
    """Let the paths in the column `image` of a split lead to the folder `images`; how many led elsewhere.

    Each file is replaced as a whole, and one that is right already is left alone.
    """
    state, info = (json.loads((folder / name).read_text("utf-8")) for name in (STATE, INFO))
    shards = [folder / file["filename"] for file in state["_data_files"]]
    changed = [_move_shard(shard, images) for shard in shards]
    described = info["splits"][state["_split"]]
    described["num_bytes"] = _num_bytes(shards)
    for name, value in ((INFO, info), (STATE, _state(state["_split"], shards))):
        if json.loads((folder / name).read_text("utf-8")) != value:
            write_json(folder / name, value)
    sync_folder(folder)
    return sum(changed)


def _move_shard(shard: Path, images: Path) -> int:
    changed = sum(_differing(batch, _moved(batch, images)) for batch in _batches(shard))
    if not changed:
        return 0
    with replacing(shard) as part:
        batches = list(_batches(shard))
        with pa.ipc.new_stream(str(part), batches[0].schema) as writer:
            for batch in batches:
                place = batch.schema.get_field_index("image")
                writer.write_batch(batch.set_column(place, batch.schema.field(place), _moved(batch, images)))
        with part.open("rb") as file:
            os.fsync(file.fileno())
    return changed


def _moved(batch: pa.RecordBatch, images: Path) -> pa.Array:
    folder = str(images).replace("\\", r"\\")  # a backslash has a meaning in the replacement
    return pc.replace_substring_regex(batch.column("image"), pattern="(?s)^.*/", replacement=f"{folder}/")


def _differing(batch: pa.RecordBatch, moved: pa.Array) -> int:
    return pc.sum(pc.not_equal(batch.column("image"), moved), min_count=0).as_py() or 0


def _batches(shard: Path) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(shard)) as source, pa.ipc.open_stream(source) as reader:
        yield from reader


def _num_bytes(shards: Sequence[Path]) -> int:
    """The size of the rows in memory, as `datasets` states it."""
    return sum(batch.nbytes for shard in shards for batch in _batches(shard))


def _state(split: str, shards: Sequence[Path]) -> dict[str, Any]:
    """`state.json`. The fingerprint follows the bytes, so that `datasets` never takes a cached result for another."""
    digest = hashlib.sha256()
    for shard in shards:
        with shard.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return {
        "_data_files": [{"filename": shard.name} for shard in shards],
        "_fingerprint": digest.hexdigest()[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": split,
    }


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write to, which becomes `path` if the block ends without an error."""
    part = path.with_name(f"{PART}{secrets.token_hex(8)}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
