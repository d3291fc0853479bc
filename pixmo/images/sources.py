"""Where images come from: folders, archives, lists and single files, each read lazily as `Item`s in a fixed order."""

import csv
import json
import os
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol
from unicodedata import category

from pixmo.errors import Unprocessable
from pixmo.ids import is_sha256
from pixmo.images.normalise import Reason

IMAGE_SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".avif"),
    *(".heic", ".heif", ".jp2", ".j2k", ".jxl", ".svg", ".psd", ".ico"),
}
"""Names taken for images in folders and archives, besides names without a suffix. What a file is, its bytes decide."""

_UNSAFE = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories: control characters, surrogates, line and paragraph separators."""
_COLUMNS = {
    "path": ("path", "file", "file_name", "filename", "image"),
    "url": ("url", "image_url"),
    "sha256": ("sha256", "image_sha256"),
    "topic": ("topic",),
    "licence": ("licence", "license"),
    "attribution": ("attribution",),
    "source_url": ("source_url",),
}


class SourceMissing(Unprocessable):
    """What the person named as a source is not there, or is no source."""

    code = "source_missing"


@dataclass(frozen=True)
class Meta:
    """What is known of an image besides its bytes."""

    topic: str | None = None
    licence: str | None = None
    attribution: str | None = None
    source_url: str | None = None

    def __post_init__(self) -> None:
        for name in ("topic", "licence"):
            if len(getattr(self, name) or "") > 120:
                raise ValueError(f"the {name} is longer than 120 characters")

    def or_else(self, defaults: "Meta") -> "Meta":
        """The same, with what is missing taken from `defaults`."""
        return Meta(**{name: value or getattr(defaults, name) for name, value in vars(self).items()})


@dataclass(frozen=True)
class FileAt:
    """A file on this machine."""

    path: str


@dataclass(frozen=True)
class ZipMember:
    """A member of a zip archive, by its place in the central directory (names need not be unique)."""

    path: str
    index: int


@dataclass(frozen=True)
class UrlAt:
    """An image on the web."""

    url: str


@dataclass(frozen=True)
class Inline:
    """Bytes that are already here."""

    data: bytes


@dataclass(frozen=True)
class Made:
    """Bytes that are made when they are wanted."""

    make: Callable[[], bytes]


@dataclass(frozen=True)
class Refused:
    """A row or file known to be bad before any image is read."""

    reason: Reason
    detail: str


Locator = FileAt | ZipMember | UrlAt | Inline | Made | Refused


@dataclass(frozen=True)
class Item:
    """One offered image. `key` stays the same from run to run as long as the bytes behind it do."""

    key: str
    name: str
    locator: Locator
    meta: Meta = Meta()
    sha256: str | None = None


class Source(Protocol):
    """A place that offers images."""

    ignored: int
    """Files passed over because their names are not those of images, so far."""

    def count(self) -> int | None:
        """How many items there will be, as far as that is known beforehand."""

    def items(self) -> Iterator[Item]:
        """The items, always in the same order."""


def printable(text: str) -> str:
    """`text` with control characters and undecodable bytes written out, safe for a terminal and for the database."""
    return "".join(char.encode("unicode_escape").decode() if category(char) in _UNSAFE else char for char in text)


def item_at(path: Path, meta: Meta = Meta(), sha256: str | None = None) -> Item:
    """The item for a file, known by its absolute path, size and time of change."""
    path = path.absolute()
    name = printable(str(path))
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        detail = getattr(error, "strerror", None) or str(error)
        return Item(f"file:{name}|missing", name, Refused(Reason.UNREADABLE, detail), meta)
    key = f"file:{name}|{status.st_size}|{status.st_mtime_ns}"
    if not stat.S_ISREG(status.st_mode):
        return Item(key, name, Refused(Reason.UNREADABLE, "not a regular file"), meta)
    return Item(key, name, FileAt(str(path)), meta, sha256)


def item_at_url(url: str, meta: Meta = Meta(), sha256: str | None = None) -> Item:
    """The item for a URL, which becomes the image's `source_url` if no other is given."""
    name = printable(url)
    return Item(f"url:{name}|{sha256 or ''}", name, UrlAt(url), meta.or_else(Meta(source_url=name)), sha256)


@dataclass(frozen=True)
class Row:
    """What pixmo understands of a row of a list or data set."""

    path: str | None
    url: str | None
    sha256: str | None
    meta: Meta


def parse_row(row: Mapping[str, Any]) -> Row:
    """The known columns of a row. Raises `ValueError` if one cannot be what it says."""
    found: dict[str, str] = {}
    for field, names in _COLUMNS.items():
        values = (row.get(column) for column in names)
        texts = (str(value).strip() for value in values if isinstance(value, str | int))
        text = next(filter(None, texts), None)
        if text is not None:
            found[field] = text
    path, url, sha256 = (found.pop(field, None) for field in ("path", "url", "sha256"))
    if path is not None and path.startswith(("http://", "https://")):
        path, url = None, path
    if sha256 is not None and not is_sha256(sha256 := sha256.lower()):
        raise ValueError("sha256 is not 64 hexadecimal digits")
    meta = Meta(**{field: printable(" ".join(text.split())) for field, text in found.items()})
    return Row(path, url, sha256, meta.or_else(Meta(source_url=url and printable(url))))


def item_from_row(key: str, name: str, row: Mapping[str, Any], base: Path) -> Item:
    """The item that a row of a list describes; a row that describes none becomes a refused item.

    `key` and `name` are the row's own, used if it is refused. Relative paths start at `base`.
    """
    try:
        parsed = parse_row(row)
    except ValueError as error:
        return Item(key, name, Refused(Reason.UNREADABLE, str(error)))
    if parsed.path is not None:
        return item_at(base / parsed.path, parsed.meta, parsed.sha256)
    if parsed.url is not None:
        return item_at_url(parsed.url, parsed.meta, parsed.sha256)
    return Item(key, name, Refused(Reason.UNREADABLE, "the row has neither a path nor a url"))


def _taken(name: str) -> bool:
    suffix = Path(name).suffix.lower()
    return suffix in IMAGE_SUFFIXES or suffix == ""


def _hidden(part: str) -> bool:
    return part == "__MACOSX" or (part.startswith(".") and part not in {".", ".."})


class Single:
    """Items given one by one: a file or a URL named on the command line."""

    ignored = 0

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = list(items)

    def count(self) -> int:
        return len(self._items)

    def items(self) -> Iterator[Item]:
        yield from self._items


class Folder:
    """All images below a folder, in the order of their names. Links to folders are not followed."""

    def __init__(self, path: Path) -> None:
        self.ignored = 0
        self._refused: list[Item] = []
        self._paths: list[Path] = []
        for folder, folders, files in os.walk(path, onerror=self._unreadable):
            folders[:] = sorted(name for name in folders if not _hidden(name))
            for name in sorted(files):
                if not _hidden(name) and _taken(name):
                    self._paths.append(Path(folder, name))
                else:
                    self.ignored += 1

    def _unreadable(self, error: OSError) -> None:
        name = printable(str(error.filename))
        refused = Refused(Reason.UNREADABLE, error.strerror or "cannot be opened")
        self._refused.append(Item(f"folder:{name}", name, refused))

    def count(self) -> int:
        return len(self._paths) + len(self._refused)

    def items(self) -> Iterator[Item]:
        yield from self._refused
        yield from map(item_at, self._paths)


class Archive:
    """The images in a zip archive. Members are read from within it: no path in it is ever written to."""

    def __init__(self, path: Path) -> None:
        self.ignored = 0
        self._items: list[Item] = []
        file = item_at(path)
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        except (OSError, zipfile.BadZipFile, NotImplementedError, UnicodeError) as error:
            corrupt = Refused(Reason.CORRUPT, f"not a readable zip archive: {error}")
            self._items.append(replace(file, locator=corrupt))
            return
        for index, member in enumerate(members):
            name = printable(member.filename)
            if member.is_dir():
                continue
            if any(map(_hidden, member.filename.split("/"))) or not _taken(member.filename):
                self.ignored += 1
                continue
            key = f"zip:{file.name}|{name}|{member.file_size}|{member.CRC:08x}"
            self._items.append(Item(key, f"{file.name}:{name}", ZipMember(str(path.absolute()), index)))

    def count(self) -> int:
        return len(self._items)

    def items(self) -> Iterator[Item]:
        yield from self._items


class RowList:
    """A list of images: CSV with a heading, or one JSON object a line.

    Columns: `path` (relative paths start at the list's folder) or `url`; optional `sha256`, `topic`, `licence`,
    `attribution`, `source_url`. The published names `image_url`, `image_sha256`, `file_name` and `license` are
    understood too.
    """

    ignored = 0

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = item_at(path)

    def count(self) -> int:
        """The number of lines, which for CSV is an upper bound."""
        with self._path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(2**20), b""))

    def items(self) -> Iterator[Item]:
        rows = self._csv() if self._path.suffix.lower() == ".csv" else self._json_lines()
        for line, row in rows:
            key, name = f"row:{self._file.key}|{line}", f"{self._file.name}:{line}"
            if isinstance(row, str):
                yield Item(key, name, Refused(Reason.UNREADABLE, row))
            else:
                yield item_from_row(key, name, row, self._path.parent)

    def _csv(self) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
        # Undecodable bytes are kept: in a path they are the bytes of the file's name.
        with self._path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.DictReader(file)
            while True:
                try:
                    row = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield reader.line_num, f"not CSV: {error}"
                    continue
                yield reader.line_num, {str(name).strip().lower(): value for name, value in row.items()}

    def _json_lines(self) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
        with self._path.open("rb") as file:
            for line, text in enumerate(file, 1):
                if not text.strip():
                    continue
                try:
                    row = json.loads(text)
                except (ValueError, RecursionError) as error:
                    yield line, f"not JSON: {error}"
                    continue
                yield line, row if isinstance(row, dict) else "not a JSON object"
