"""Checking a version offline: files, rows, counts, splits, images and signatures against its manifest."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pixmo.captions import receipt
from pixmo.errors import Conflict, NotFound
from pixmo.export.build import IMAGES_CONFIG, INDEX_COLUMNS
from pixmo.export.digest import combined, content_sha256
from pixmo.export.schemas import Feature, arrow_schema, fingerprint
from pixmo.export.segments import image_names
from pixmo.export.sets import data_set
from pixmo.export.versions import INDEX, MANIFEST, SPLITS, File, Folder

Progress = Callable[[int, int], None]
_BLOCK = 65_536


class VersionDamaged(Conflict):
    """The folder is not what was exported. `problems` names every file that is wrong, and how."""

    code = "version_damaged"
    title = "The version is damaged"

    def __init__(self, folder: Path, problems: list[str]) -> None:
        shown = "\n  ".join(problems[:20])
        more = f"\n  and {len(problems) - 20:,} more" if len(problems) > 20 else ""
        super().__init__(f"{folder} is not what was exported:\n  {shown}{more}", problems=problems)
        self.problems = problems


@dataclass
class Verified:
    """What held. `keys`: ids of the keys that signed manifest and receipts."""

    files: int = 0
    rows: int = 0
    receipts: int = 0
    keys: list[str] = field(default_factory=list)


def verify(folder: Path, *, signer: str | None = None, progress: Progress | None = None) -> Verified:
    """Check every file, hash, schema, count, split and signature of a version. Needs neither store nor network.

    `signer`: key id that manifest and receipts must be signed by; without it, anybody's signature will do. Hidden
    files, as a download from the Hub leaves them, are ignored. `progress(done, total)` counts bytes. Raises
    `NoVersion` if `folder` is no version, and `VersionDamaged`, which names everything that is wrong.
    """
    check = _Check(Folder.open(folder), signer)
    check.signature()
    try:
        check.everything(progress or (lambda done, total: None))
    except (LookupError, TypeError, AttributeError, NotFound) as error:
        check.wrong(MANIFEST, f"is no manifest of pixmo: {type(error).__name__} {error}.")
    if check.problems:
        raise VersionDamaged(folder, check.problems)
    check.found.keys = sorted(check.keys)
    return check.found


class _Check:
    """One pass over a version, gathering what is wrong."""

    def __init__(self, version: Folder, signer: str | None) -> None:
        self.version = version
        self.signer = signer
        self.problems: list[str] = []
        self.found = Verified()
        self.keys: set[str] = set()
        self._ids: dict[tuple[str, str], list[NDArray[np.int64]]] = {}
        self._parts: Counter[tuple[str, str]] = Counter()

    def everything(self, progress: Progress) -> None:
        """All that can be checked besides the signature."""
        files = self.version.manifest["files"]
        segments = {file.path: file for file in self.version.segments}
        total, done = sum(file["bytes"] for file in files), 0
        for file in files:
            self.file(file, segments.get(file["path"]))
            done += file["bytes"]
            progress(done, total)
        self.unlisted()
        self.counts()
        if not self.problems:
            self.rows()
            self.splits()

    def wrong(self, path: str, what: str) -> None:
        self.problems.append(f"{path} {what}")

    def signature(self) -> None:
        manifest = self.version.manifest
        try:
            self.keys.add(receipt.check_signature(manifest, signer=self.signer))
        except receipt.ReceiptInvalid as error:
            self.wrong(MANIFEST, f"was changed after it was signed, or by somebody else: {error.detail}")

    def file(self, stated: dict[str, Any], segment: File | None) -> None:
        """Size and hash of a file; what is in it, if it is a segment."""
        path = self.version.path / stated["path"]
        if not path.resolve().is_relative_to(self.version.path.resolve()):
            return self.wrong(stated["path"], "lies outside of the folder.")
        if not path.is_file():
            return self.wrong(stated["path"], "is missing.")
        if path.stat().st_size != stated["bytes"]:
            return self.wrong(stated["path"], f"has {path.stat().st_size:,} bytes, not {stated['bytes']:,}.")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != stated["sha256"]:
                return self.wrong(stated["path"], "is not what was exported: its SHA-256 differs.")
        self.found.files += 1
        if segment is not None:
            try:
                self._segment(segment)
            except (OSError, ValueError, LookupError, TypeError, pa.ArrowException) as error:
                self.wrong(segment.path, f"cannot be read as rows of {segment.config}: {error}")
        elif stated["path"].startswith("files/") and path.name.partition(".")[0] != stated["sha256"]:
            self.wrong(stated["path"], "is not named by its SHA-256.")
        return None

    def _segment(self, file: File) -> None:
        features = self._features(file)
        if features is None:
            return self.wrong(file.path, f"belongs to {file.config}, which {self.version.name} does not have.")
        path = self.version.path / file.path
        stored, expected = pq.read_schema(path), arrow_schema(features)
        if (
            fingerprint(features) != self.version.manifest["configs"][file.config]["schema_sha256"]
            or not stored.equals(expected)
            or (stored.metadata or {}).get(b"huggingface") != expected.metadata[b"huggingface"]
        ):
            return self.wrong(file.path, f"does not have the columns of {file.config}.")
        table = pa.concat_tables([self._named(part, features) for part in _groups(path)]).combine_chunks()
        if table.num_rows != file.rows:
            return self.wrong(file.path, f"has {table.num_rows:,} rows, not {file.rows:,}.")
        if content_sha256(table) != file.content_sha256:
            return self.wrong(file.path, "holds other rows than were exported: its logical hash differs.")
        if file.config == INDEX:
            self.found.rows += table.num_rows
            self._parts.update((config, file.split) for config in table.column("config").to_pylist())
        if "row_id" in table.column_names:
            ids = table.column("row_id").to_numpy()
            self._ids.setdefault((file.config, file.split), []).append(ids)
            if (np.diff(ids) <= 0).any() or (int(ids[0]), int(ids[-1])) != (file.first_row, file.last_row):
                self.wrong(file.path, "has rows out of order.")
        if "receipt" in table.column_names:
            self._receipts(file, table)
        return None

    def _features(self, file: File) -> dict[str, Feature] | None:
        """The columns that a segment must have."""
        known = data_set(self.version.name)
        if file.config == INDEX:
            return INDEX_COLUMNS
        if file.config == "images":
            return IMAGES_CONFIG
        if file.config == "enriched":
            embedded = self.version.manifest["settings"]["images"] == "embed"
            return {name: kind for name, kind in known.enriched.items() if name != "image" or embedded}
        return dict(known.configs[file.config]) if file.config in known.configs else None

    def _named(self, table: pa.Table, features: dict[str, Feature]) -> pa.Table:
        """With the names of images, from their bytes, in place of the bytes."""
        return image_names(
            table.replace_schema_metadata(), [name for name, kind in features.items() if kind == "image"]
        )

    def _receipts(self, file: File, table: pa.Table) -> None:
        """The receipt of every row, which must be about its image and caption."""
        columns = table.select(["row_id", "original_sha256", "caption", "receipt"])
        for batch in columns.to_batches(max_chunksize=1_000):
            for row in batch.to_pylist():
                try:
                    signed = json.loads(row["receipt"])
                    receipt.verify(
                        signed, signer=self.signer, image_sha256=row["original_sha256"], caption=row["caption"]
                    )
                except (ValueError, receipt.ReceiptInvalid) as error:
                    self.wrong(file.path, f"row {row['row_id']}: {getattr(error, 'detail', error)}")
                    continue
                self.keys.add(signed["key"]["id"])
                self.found.receipts += 1

    def unlisted(self) -> None:
        """Files that the manifest does not know: `datasets` would read them as rows."""
        known = {MANIFEST, *(file["path"] for file in self.version.manifest["files"])}
        for path in sorted(self.version.path.rglob("*")):
            name = path.relative_to(self.version.path)
            if path.is_file() and name.as_posix() not in known and not any(part.startswith(".") for part in name.parts):
                self.wrong(name.as_posix(), "is not part of the version. Move it away.")

    def counts(self) -> None:
        """Rows of segments against those of configurations, and of configurations against each other."""
        manifest = self.version.manifest
        for config, stated in manifest["configs"].items():
            for split, numbers in stated["splits"].items():
                files = self.version.of(config, split)
                content = combined(file.content_sha256 for file in files)
                if sum(file.rows for file in files) != numbers["rows"] or content != numbers["content_sha256"]:
                    self.wrong(MANIFEST, f"does not agree with itself about {config}/{split}.")
        index = {split: numbers["rows"] for split, numbers in manifest["configs"][INDEX]["splits"].items()}
        if index != manifest["statistics"]["rows"]:
            self.wrong(MANIFEST, "does not agree with itself about the number of rows.")

    def rows(self) -> None:
        """`index`, the published configurations and `enriched` have the same rows, in the same order."""
        published = data_set(self.version.name).configs
        for split in SPLITS:
            ids = np.concatenate([np.empty(0, np.int64), *self._ids.get((INDEX, split), [])])
            if (np.diff(ids) <= 0).any():
                self.wrong(f"{INDEX}/", f"has segments of {split} out of order.")
            others = np.concatenate([np.empty(0, np.int64), *self._ids.get(("enriched", split), [])])
            if not self.version.plain and not np.array_equal(ids, others):
                self.wrong("enriched/", f"has other rows than {INDEX}/ in {split}.")
                continue
            for config, features in published.items():
                files = self.version.of(config, split)
                if sum(file.rows for file in files) != self._parts[config, split]:
                    self.wrong(files[0].path if files else config, f"has another number of rows than {INDEX}/.")
                elif not self.version.plain:
                    columns = [name for name, kind in features.items() if kind != "image"]
                    self._compare(config, split, columns)

    def _compare(self, config: str, split: str, columns: list[str]) -> None:
        """The columns of a published configuration say the same in `enriched`."""
        part = data_set(self.version.name).part
        ours = _blocks(self._tables(config, split, columns))
        theirs = _blocks(
            table.filter(pc.equal(table.column(part), config)).select(columns) if part else table
            for table in self._tables("enriched", split, [*columns, part] if part else columns)
        )
        for one, other in zip_longest(ours, theirs):
            if one is None or other is None or content_sha256(one) != content_sha256(other):
                file = self.version.of(config, split)[0]
                return self.wrong(file.path, "and the segments after it hold other values than enriched/.")
        return None

    def _tables(self, config: str, split: str, columns: list[str]) -> Iterator[pa.Table]:
        for file in self.version.of(config, split):
            yield self.version.read(file, columns)

    def splits(self) -> None:
        """No row, image or cluster of near-duplicates stands in two splits."""
        for column, config in (("row_id", INDEX), ("original_sha256", INDEX), ("split_cluster", "enriched")):
            seen: dict[Any, str] = {}
            for split in SPLITS:
                for value in self._distinct(config, split, column):
                    if value is not None and seen.setdefault(value, split) != split:
                        self.wrong(f"{config}/", f"has {column} {value} in {seen[value]} and in {split}.")

    def _distinct(self, config: str, split: str, column: str) -> Iterator[Any]:
        for file in self.version.of(config, split):
            if column in self.version.columns(file):
                yield from self.version.read(file, [column]).column(column).unique().to_pylist()


def _blocks(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of one size, the last one smaller."""
    rest: pa.Table | None = None
    for table in tables:
        rest = table if rest is None else pa.concat_tables([rest, table])
        while rest.num_rows >= _BLOCK:
            yield rest.slice(0, _BLOCK)
            rest = rest.slice(_BLOCK)
    if rest is not None and rest.num_rows:
        yield rest


def _groups(path: Path) -> Iterator[pa.Table]:
    """Row group by row group, so that images are not all in memory at once."""
    with pq.ParquetFile(path) as file:
        for i in range(file.num_row_groups):
            yield file.read_row_group(i, use_threads=False)
