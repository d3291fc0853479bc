"""What changed between two versions: rows that came, went and were corrected, and in which columns."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pixmo.errors import Conflict
from pixmo.export.sets import data_set
from pixmo.export.versions import INDEX, SPLITS, File, Folder

EVALUATION = ("validation", "test")
_BOOL = NDArray[np.bool_]


class NotComparable(Conflict):
    code = "not_comparable"
    title = "These versions cannot be compared"


@dataclass
class Changes:
    """Rows by split, columns by name. `schema`: published configurations whose columns are not what they were;
    `provenance`: other ones.

    `moved`: rows that stand in another split than before; there are none, unless something is broken.
    """

    added: Counter[str] = field(default_factory=Counter)
    removed: Counter[str] = field(default_factory=Counter)
    corrected: Counter[str] = field(default_factory=Counter)
    moved: int = 0
    columns: Counter[str] = field(default_factory=Counter)
    schema: list[str] = field(default_factory=list)
    provenance: list[str] = field(default_factory=list)
    row_ids: dict[str, list[int]] = field(default_factory=dict)

    @property
    def bump(self) -> str | None:
        """The least part of the version number that must grow; None if nothing changed."""
        if self.schema or self.moved or any(self.removed[split] for split in EVALUATION):
            return "major"
        if self.added.total() or self.provenance:
            return "minor"
        return "patch" if self.corrected.total() or self.removed.total() else None

    def report(self) -> dict[str, Any]:
        """The changes as plain values, for `--json`."""
        return {
            "bump": self.bump,
            "added": dict(sorted(self.added.items())),
            "removed": dict(sorted(self.removed.items())),
            "corrected": dict(sorted(self.corrected.items())),
            "columns": dict(sorted(self.columns.items())),
            "schema": self.schema,
            "provenance": self.provenance,
            "rows": self.row_ids,
        }


def compare(old: Folder, new: Folder, *, keep_ids: int = 100) -> Changes:
    """What is different in `new`. At most `keep_ids` row ids are given for each kind of change.

    Segments with equal logical hashes are not read. Raises `NotComparable`, `NoVersion`.
    """
    if old.name != new.name:
        raise NotComparable(f"{old.title} and {new.title} are different data sets.")
    published, reshaped = data_set(new.name).configs, _reshaped(old, new)
    changes = Changes(
        schema=[name for name in reshaped if name in published],
        provenance=[name for name in reshaped if name not in published],
    )
    before, after = _ids(old), _ids(new)
    everywhere = np.concatenate([before[split] for split in SPLITS])
    for split in SPLITS:
        came = np.setdiff1d(after[split], before[split], assume_unique=True)
        went = np.setdiff1d(before[split], after[split], assume_unique=True)
        changes.moved += int(np.isin(came, everywhere).sum())
        _note(changes, "added", split, came, keep_ids)
        _note(changes, "removed", split, went, keep_ids)
        corrected: set[int] = set()
        for config in _compared(old, new):
            for ids, column in _corrections(old, new, config, split):
                changes.columns[column] += len(ids)
                corrected.update(ids.tolist())
        _note(changes, "corrected", split, np.array(sorted(corrected), np.int64), keep_ids)
    return changes


def _note(changes: Changes, kind: str, split: str, ids: NDArray[np.int64], keep_ids: int) -> None:
    if len(ids):
        getattr(changes, kind)[split] += len(ids)
        known = changes.row_ids.setdefault(kind, [])
        known.extend(ids[: max(0, keep_ids - len(known))].tolist())


def _reshaped(old: Folder, new: Folder) -> list[str]:
    """Configurations that both versions have, with other columns."""
    before, after = old.manifest["configs"], new.manifest["configs"]
    return sorted(
        name for name in before.keys() & after.keys() if before[name]["schema_sha256"] != after[name]["schema_sha256"]
    )


def _ids(version: Folder) -> dict[str, NDArray[np.int64]]:
    """Row ids by split, ascending."""
    ids = {}
    for split in SPLITS:
        parts = [version.read(file, ["row_id"]).column("row_id").to_numpy() for file in version.of(INDEX, split)]
        ids[split] = np.concatenate([np.empty(0, np.int64), *parts])
    return ids


def _compared(old: Folder, new: Folder) -> list[str]:
    """`enriched` has all columns; without it, the published configurations are compared."""
    if not old.plain and not new.plain:
        return ["enriched"]
    return [config for config in data_set(new.name).configs if config in old.manifest["configs"]]


def _corrections(old: Folder, new: Folder, config: str, split: str) -> Iterator[tuple[NDArray[np.int64], str]]:
    """Columns and the ids of the rows, in both versions, that are different in them."""
    before, after = old.of(config, split), new.of(config, split)
    same = {file.content_sha256 for file in before} & {file.content_sha256 for file in after}
    rest = [file for file in before if file.content_sha256 not in same]
    for file in after:
        if file.content_sha256 in same:
            continue
        overlapping = [one for one in rest if one.first_row <= file.last_row and one.last_row >= file.first_row]
        if not overlapping:
            continue
        ids, table = _rows(new, [file])
        old_ids, old_table = _rows(old, overlapping)
        _, here, there = np.intersect1d(ids, old_ids, assume_unique=True, return_indices=True)
        common = [name for name in table.column_names if name in old_table.column_names]
        for name in common:
            now = table.column(name).combine_chunks().take(pa.array(here))
            then = old_table.column(name).combine_chunks().take(pa.array(there))
            changed = np.ones(len(here), bool) if now.type != then.type else differ(then, now)
            if changed.any():
                yield ids[here[changed]], name


def _rows(version: Folder, files: Sequence[File]) -> tuple[NDArray[np.int64], pa.Table]:
    """The rows of segments and their ids; images by name, without their bytes."""
    tables, ids = [], []
    for file in files:
        table = version.read(file, _leaves(version, file))
        if "row_id" in table.column_names:
            ids.append(table.column("row_id").to_numpy())
        else:
            ids.append(_index_ids(version, file))
        tables.append(table)
    return np.concatenate(ids), pa.concat_tables(tables)


def _leaves(version: Folder, file: File) -> list[str]:
    """All columns, but of an image its name only."""
    found = data_set(version.name)
    features = found.enriched if file.config == "enriched" else found.configs[file.config]
    return [f"{name}.path" if features.get(name) == "image" else name for name in version.columns(file)]


def _index_ids(version: Folder, file: File) -> NDArray[np.int64]:
    """Row ids of a segment of a published configuration, which has no column for them."""
    found = []
    for one in version.of(INDEX, file.split):
        if one.first_row <= file.last_row and one.last_row >= file.first_row:
            table = version.read(one, ["row_id", "config"])
            table = table.filter(pc.equal(table.column("config"), file.config))
            found.append(table.column("row_id").to_numpy())
    ids: NDArray[np.int64] = np.concatenate([np.empty(0, np.int64), *found])
    return ids[(ids >= file.first_row) & (ids <= file.last_row)]


def differ(a: pa.Array, b: pa.Array) -> _BOOL:
    """For two arrays of one type and length, where their values differ; null equals null, and NaN equals NaN."""
    valid_a, valid_b = _valid(a), _valid(b)
    different: _BOOL = valid_a != valid_b
    both = np.flatnonzero(valid_a & valid_b)
    if not len(both):
        return different
    places = pa.array(both)
    x, y = (a, b) if len(both) == len(a) else (a.take(places), b.take(places))
    different[both] |= _values_differ(x, y)
    return different


def _valid(array: pa.Array) -> _BOOL:
    valid: _BOOL = array.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _values_differ(a: pa.Array, b: pa.Array) -> _BOOL:
    """As `differ`, of arrays without nulls."""
    if pa.types.is_struct(a.type):
        found: _BOOL = np.zeros(len(a), bool)
        for x, y in zip(a.flatten(), b.flatten(), strict=True):
            found |= differ(x, y)
        return found
    if pa.types.is_list(a.type):
        lengths = pc.list_value_length(a).to_numpy(zero_copy_only=False)
        others = pc.list_value_length(b).to_numpy(zero_copy_only=False)
        found = np.array(lengths != others, bool)
        same = np.flatnonzero(~found)
        inner = differ(a.take(pa.array(same)).flatten(), b.take(pa.array(same)).flatten())
        found[np.repeat(same, lengths[same])[inner]] = True
        return found
    unequal: _BOOL = pc.not_equal(a, b).to_numpy(zero_copy_only=False)
    if pa.types.is_floating(a.type):
        unequal &= ~pc.and_(pc.is_nan(a), pc.is_nan(b)).to_numpy(zero_copy_only=False)
    return unequal
