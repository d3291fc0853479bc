"""Versions: their numbers, their folders, and what the store remembers of them."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import select

from pixmo.context import Context
from pixmo.database import ReadSession, WriteSession
from pixmo.errors import NotFound, Unprocessable
from pixmo.export.models import DatasetPush, DatasetVersion
from pixmo.export.sets import NAMES
from pixmo.settings import Settings

FORMAT = "pixmo-export-2"
MANIFEST = "manifest.json"
CARD = "README.md"
CHANGELOG = "CHANGELOG.md"
CROISSANT = "croissant.json"
INDEX = "index"
SPLITS = ("train", "validation", "test")

_NUMBER = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})", re.ASCII)
_NEEDED = ("dataset", "version", "configs", "files")


class VersionInvalid(Unprocessable):
    code = "version_invalid"
    title = "This is no version number"


class NoVersion(NotFound):
    """There is no such version, or its folder is no whole version."""

    code = "no_version"
    title = "There is no such version"


@dataclass(frozen=True, order=True)
class Number:
    """A semantic version (semver.org) without pre-release. major: what was relied on changed; minor: rows were added;
    patch: rows were corrected or taken down.
    """

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """`"1.2.3"` as a number. Raises `VersionInvalid`."""
        if (match := _NUMBER.fullmatch(text)) is None:
            raise VersionInvalid(f"{text!r} is no version. Versions look like 1.2.0: major.minor.patch.")
        return cls(*map(int, match.groups()))

    def bumped(self, part: str) -> "Number":
        """The next version of `part`: `major`, `minor` or `patch`."""
        if part == "major":
            return Number(self.major + 1, 0, 0)
        if part == "minor":
            return Number(self.major, self.minor + 1, 0)
        return Number(self.major, self.minor, self.patch + 1)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


FIRST = Number(1, 0, 0)


@dataclass(frozen=True)
class File:
    """A segment as the manifest lists it. `first_row` and `last_row` are row ids."""

    path: str
    bytes: int
    sha256: str
    config: str
    split: str
    rows: int
    num_bytes: int
    first_row: int
    last_row: int
    content_sha256: str


@dataclass(frozen=True)
class Folder:
    """A version in a folder, as its manifest describes it."""

    path: Path
    manifest: dict[str, Any]
    manifest_sha256: str

    @classmethod
    def open(cls, path: Path) -> Self:
        """The version in `path`. Raises `NoVersion`."""
        try:
            return cls.of_manifest(path, (path / MANIFEST).read_bytes())
        except (OSError, ValueError, LookupError, TypeError):
            raise NoVersion(f"{path} is no version of a data set. Make one with: pixmo export NAME") from None

    @classmethod
    def of_manifest(cls, path: Path, text: bytes) -> Self:
        """The version that a manifest describes, whether or not its folder is still there. Raises `ValueError`."""
        manifest = json.loads(text)
        if manifest["format"] != FORMAT or not all(name in manifest for name in _NEEDED):
            raise ValueError(manifest["format"])
        return cls(path, manifest, hashlib.sha256(text).hexdigest())

    @property
    def name(self) -> str:
        return str(self.manifest["dataset"])

    @property
    def number(self) -> Number:
        return Number.parse(self.manifest["version"])

    @property
    def title(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.number}"

    @property
    def plain(self) -> bool:
        return "enriched" not in self.manifest["configs"]

    @cached_property
    def segments(self) -> list[File]:
        """All segments, in the order of the manifest."""
        names = File.__dataclass_fields__
        return [
            File(**{name: file[name] for name in names}) for file in self.manifest["files"] if "content_sha256" in file
        ]

    def of(self, config: str, split: str) -> list[File]:
        """The segments of one split of one configuration, in the order of their rows."""
        return [file for file in self.segments if (file.config, file.split) == (config, split)]

    def read(self, file: File, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of a segment. `columns` may name leaves, as `image.path`. Raises `NoVersion` if it is missing."""
        try:
            with pq.ParquetFile(self.path / file.path) as data:
                return data.read(columns=columns, use_threads=False)
        except (OSError, pa.ArrowInvalid) as error:
            raise NoVersion(f"{self.path / file.path} cannot be read: {error}. Check with: pixmo verify") from error

    def columns(self, file: File) -> list[str]:
        """The columns of a segment. Raises `NoVersion` if it is missing."""
        try:
            return list(pq.read_schema(self.path / file.path).names)
        except (OSError, pa.ArrowInvalid) as error:
            raise NoVersion(f"{self.path / file.path} cannot be read: {error}. Check with: pixmo verify") from error

    def index(self, split: str) -> Iterator[pa.Table]:
        """`row_id`, `original_sha256`, `annotators` and `config` of every row of a split."""
        for file in self.of(INDEX, split):
            yield self.read(file)


def folder_of(settings: Settings, name: str, number: Number | str) -> Path:
    """Where a version lies."""
    return settings.exports_dir.expanduser() / f"{name}@{number}"


def recorded(session: ReadSession | WriteSession, name: str | None = None) -> list[DatasetVersion]:
    """The versions that the store knows, by name and number."""
    statement = select(DatasetVersion)
    if name is not None:
        statement = statement.where(DatasetVersion.name == name)
    return sorted(session.scalars(statement), key=lambda row: (NAMES.index(row.name), Number.parse(row.version)))


def pushes(session: ReadSession) -> dict[int, list[DatasetPush]]:
    """Where versions went, by the version's id."""
    found: dict[int, list[DatasetPush]] = {}
    for push in session.scalars(select(DatasetPush).order_by(DatasetPush.id)):
        found.setdefault(push.version_id, []).append(push)
    return found


def resolve(target: str | Path, context: Context | None = None, settings: Settings | None = None) -> Folder:
    """The version that `target` names: a folder, `name@version`, or `name` for the newest.

    Without a store (`context`), names are looked up in the folder of exports. Raises `NoVersion`, `VersionInvalid`.
    """
    path = Path(target).expanduser()
    if (path / MANIFEST).is_file():
        return Folder.open(path)
    settings = context.settings if context is not None else settings or Settings()
    name, pinned, version = str(target).partition("@")
    if name not in NAMES or path.is_dir():
        raise NoVersion(
            f"{target} is no version of a data set. Name a folder or a version, as cap@1.0.0; see: pixmo versions"
        )
    number = Number.parse(version) if pinned else _newest(name, context, settings)
    title = f"{name}@{number}"
    folder = Folder.open(_existing(folder_of(settings, name, number), title))
    if folder.title != title:
        raise NoVersion(f"{folder.path} holds {folder.title}, not {title}. Restore it from a backup or from the Hub.")
    if context is not None:
        _check_recorded(context, folder)
    return folder


def _existing(path: Path, title: str) -> Path:
    if not path.is_dir():
        raise NoVersion(f"There is no {title} in {path.parent}. See: pixmo versions")
    return path


def _newest(name: str, context: Context | None, settings: Settings) -> Number:
    if context is not None:
        with context.db.read() as session:
            numbers = [Number.parse(row.version) for row in recorded(session, name)]
    else:
        folders = settings.exports_dir.expanduser().glob(f"{name}@*")
        texts = [folder.name.partition("@")[2] for folder in folders if (folder / MANIFEST).is_file()]
        numbers = [Number.parse(text) for text in texts if _NUMBER.fullmatch(text)]
    if not numbers:
        raise NoVersion(f"There is no version of {name} yet. Make one with: pixmo export {name}")
    return max(numbers)


def _check_recorded(context: Context, folder: Folder) -> None:
    """A folder whose manifest is not the one that was recorded is somebody's else."""
    with context.db.read() as session:
        row = session.scalar(
            select(DatasetVersion).where(
                DatasetVersion.name == folder.name, DatasetVersion.version == str(folder.number)
            )
        )
    if row is not None and row.manifest_sha256 != folder.manifest_sha256:
        raise NoVersion(
            f"The manifest in {folder.path} is not the one that was recorded for {folder.title}. "
            "Restore the folder from a backup or from the Hub."
        )
