"""CHANGELOG.md: one section a version, newest first, in plain sentences made from what differs."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_HEAD = "# Changelog\n"
_VERSION = re.compile(r"^## (\S+)$", re.MULTILINE)
_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Changes:
    """What differs from the version before, in rows; against nothing, every row is added.

    `added`, `removed`, `corrected`: {split: rows}. `columns`: {column: rows in which it was corrected}. `left_out`:
    {reason: rows that the new version leaves out}. `schema`: one phrase for each change of columns, like "column
    `topic` added". `previous`: the version before, if there is one.
    """

    added: Mapping[str, int] = field(default_factory=dict)
    removed: Mapping[str, int] = field(default_factory=dict)
    corrected: Mapping[str, int] = field(default_factory=dict)
    columns: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    images_added: int = 0
    images_removed: int = 0
    schema: tuple[str, ...] = ()
    previous: str | None = None


def section(version: str, parent: str | None, changes: Changes, notes: Iterable[str] = ()) -> str:
    """The section of a version.

    `parent`: SHA-256 of the manifest of the version before. `notes`: sentences of the publisher, which come first.
    """
    lines = [_one_line(note) for note in notes]
    if changes.previous:
        by = f" (manifest `{parent}`)" if parent else ""
        lines.append(f"Follows {changes.previous}{by}.")
    else:
        lines.append("First version.")
    lines += [f"Schema: {change}." for change in changes.schema]
    for verb, rows in (("added", changes.added), ("removed", changes.removed), ("corrected", changes.corrected)):
        if total := sum(rows.values()):
            lines.append(f"{_many(total, 'row')} {verb}: {_by_split(rows)}.")
    if columns := _counted(changes.columns):
        lines.append(f"Corrected, by column: {columns}.")
    if images := _images(changes):
        lines.append(images)
    if changes.previous and not any(
        [changes.schema, *map(_counted, (changes.added, changes.removed, changes.corrected))]
    ):
        lines.append("No row differs.")
    if reasons := _counted(changes.left_out):
        lines.append(f"Left out of this version, by reason: {reasons}.")
    return f"## {version}\n\n" + "".join(f"- {line}\n" for line in lines)


def changelog(earlier: str | None, new_section: str) -> str:
    """The whole file: the new section above those of `earlier`, which stay as they are.

    Raises `ValueError` if `earlier` is no changelog, or has a section of that version.
    """
    if earlier is None:
        return f"{_HEAD}\n{new_section}"
    if not earlier.startswith(_HEAD):
        raise ValueError(f"The changelog does not begin with {_HEAD.strip()!r}.")
    (version,) = _VERSION.findall(new_section)
    if version in _VERSION.findall(earlier):
        raise ValueError(f"The changelog has a section {version} already.")
    return f"{_HEAD}\n{new_section}\n{earlier.removeprefix(_HEAD).lstrip()}"


def _by_split(rows: Mapping[str, int]) -> str:
    ordered = sorted(rows, key=lambda split: (_SPLITS.index(split) if split in _SPLITS else len(_SPLITS), split))
    return ", ".join(f"{split} {rows[split]:,}" for split in ordered if rows[split])


def _counted(rows: Mapping[str, int]) -> str:
    """Most first, then by name."""
    ordered = sorted(rows.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"`{name}` {number:,}" for name, number in ordered if number)


def _images(changes: Changes) -> str:
    parts = [
        f"{_many(number, 'image')} {verb}"
        for number, verb in ((changes.images_added, "added"), (changes.images_removed, "removed"))
        if number
    ]
    return f"{', '.join(parts)}." if parts else ""


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _one_line(text: str) -> str:
    return " ".join(text.split())
