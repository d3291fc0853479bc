"""The images of a data set as files: out of its own folder where they are there, else from their addresses.

A file is written beside its place under a temporary name, compared, brought to disk and renamed: what has a name is
whole and right, so that a run may be killed at any moment, and the next one fetches only what is missing.
"""

import hashlib
import json
import os
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from pixmo.clock import now
from pixmo.export.fetching import DEFAULTS, FetchOptions, Link, LinkClient, NoImage, Status
from pixmo.export.folder import FolderUnwritable
from pixmo.export.journal import locked
from pixmo.export.links import (
    Judge,
    NoLinks,
    check_outside,
    count_links,
    key,
    link_columns,
    link_of,
    link_tables,
    read_links,
    readable,
    schema_of,
)
from pixmo.export.rounds import Rounds
from pixmo.ids import is_sha256
from pixmo.images.formats import FORMATS, HEAD_BYTES, sniff

Names = Literal["url", "sha256"]

FAILURES = "failures.jsonl"
_LOCK = ".lock"
_PART = ".part-"
_ROWS = 16
"""Embedded images in memory at once."""
_PROGRESS_ROWS = 1000
_SUFFIXES = {name: ".jpg" if name == "jpeg" else f".{name}" for name in FORMATS}
_OTHER = ".bin"


class Origin(StrEnum):
    """Where a file came from. `kept`: it was there already."""

    KEPT = "kept"
    EMBEDDED = "embedded"
    LINKED = "linked"
    DOWNLOADED = "downloaded"


@dataclass(frozen=True)
class Done:
    """What became of one image: `origin` and `bytes` of its file, or why there is none."""

    link: Link
    status: Status
    origin: Origin | None = None
    bytes: int = 0
    http_status: int | None = None
    detail: str = ""


@dataclass
class Materialized:
    """Counts of a run, so far.

    `by_pixels` of the files have other bytes than the tables say, but the same pixels. `failed` counts by status;
    `failures` names each address, and is None if there are none. `bytes` are those of the files that
    this run put there.
    """

    to: Path
    total: int
    origins: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    by_pixels: int = 0
    bytes: int = 0
    failures: Path | None = None
    seconds: float = 0.0

    @property
    def done(self) -> int:
        return self.origins.total() + self.failed.total()

    def count(self, done: Done) -> None:
        if done.origin is None:
            self.failed[done.status] += 1
            return
        self.origins[done.origin] += 1
        self.by_pixels += done.status is Status.CHANGED_PIXELS_MATCH
        self.bytes += done.bytes

    def summary(self) -> dict[str, Any]:
        """The counts as JSON has them."""
        return {
            "to": str(self.to),
            "images": self.total,
            **{origin.value: self.origins[origin] for origin in Origin},
            "by_pixels": self.by_pixels,
            "failed": self.failed.total(),
            "failed_by_status": {status.value: self.failed[status] for status in Status if self.failed[status]},
            "failures": None if self.failures is None else str(self.failures),
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
        }


def materialize(
    folder: Path,
    to: Path,
    *,
    names: Names = "url",
    accept_pixels: bool = True,
    recheck: bool = False,
    options: FetchOptions = DEFAULTS,
    progress: Callable[[Materialized], None] = lambda done: None,
) -> Materialized:
    """Put every image of a data set into the folder `to`, as a file of its own.

    `names`: `url` gives `to/<SHA-256 of image_url>`, the cache of the original Molmo code; `sha256` gives
    `to/ab/<image_sha256>.<suffix>`. An image comes from the tables (embedded), from `files/` (as a hard link where
    that is possible), or from its address, and is taken if its bytes, or with `accept_pixels` its pixels, are those
    that the tables state. Files that are there are kept; with `recheck` they are compared first, and a wrong one is
    replaced as soon as the right one is found.

    Each address without an image is a line of `to/failures.jsonl`, written as it fails. `progress` is called in this
    thread with the growing counts. Raises `NoLinks`, `TableUnreadable`, `ReportTaken`, `JournalTaken` and
    `FolderUnwritable`; what was fetched until then is kept.
    """
    started = time.monotonic()
    tables = link_tables(folder)
    check_outside(to, folder)
    if names == "sha256" and any("image_sha256" not in schema_of(table).names for table in tables):
        raise NoLinks(f"{folder} has no column image_sha256 to name files by. Name them by their address.")
    result = Materialized(to, count_links(tables))
    try:
        to.mkdir(parents=True, exist_ok=True)
        with locked(to / _LOCK), ExitStack() as stack:
            place = _Place(to, names)
            place.sweep()
            judge = stack.enter_context(Judge(options.max_bytes))
            client = stack.enter_context(LinkClient(options))
            failures = stack.enter_context((to / FAILURES).open("wb"))
            accepted = {Status.OK, Status.CHANGED_PIXELS_MATCH} if accept_pixels else {Status.OK}
            run = _Run(folder, place, judge, client, result, failures, progress, accepted, recheck)
            run.all(tables, options)
            os.fsync(failures.fileno())
            if result.failed:
                result.failures = to / FAILURES
            else:
                (to / FAILURES).unlink()
    except OSError as error:
        raise FolderUnwritable(
            f"{to} cannot be written: {error}. Check free space and permissions, and run it again to go on."
        ) from error
    result.seconds = time.monotonic() - started
    return result


class _Place:
    """The folder of the files: what each is called, and how it gets there."""

    def __init__(self, root: Path, names: Names) -> None:
        self.root = root
        self._names = names

    def names(self, link: Link) -> bool:
        """Whether there is a name for the file of an image."""
        return self._names == "url" or link.image_sha256 is not None

    def find(self, link: Link) -> Path | None:
        """The file of an image, if it is there."""
        return next((path for path in self._candidates(link) if path.is_file()), None)

    def _candidates(self, link: Link) -> Iterator[Path]:
        suffixes = ("",) if self._names == "url" else (*_SUFFIXES.values(), _OTHER)
        return (self._path(link, suffix) for suffix in suffixes)

    def _path(self, link: Link, suffix: str) -> Path:
        if self._names == "url":
            return self.root / hashlib.sha256(link.image_url.encode(errors="surrogatepass")).hexdigest()
        name = link.image_sha256 or ""
        return self.root / name[:2] / f"{name}{suffix}"

    @contextmanager
    def part(self) -> Iterator[Path]:
        """The name of a temporary file, which is removed at the end if it is still there."""
        path = self.root / f"{_PART}{secrets.token_hex(8)}"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def put(self, part: Path, link: Link, head: bytes) -> None:
        """Give `part`, which begins with `head`, the name of the image."""
        kind = sniff(head)
        target = self._path(link, _SUFFIXES[kind] if kind else _OTHER)
        target.parent.mkdir(exist_ok=True)
        wrong = self.find(link)
        part.replace(target)
        if wrong is not None and wrong != target:  # its suffix was wrong as well
            wrong.unlink()

    def sweep(self) -> None:
        """Remove what a run that was killed left behind."""
        for path in self.root.glob(f"{_PART}*"):
            path.unlink(missing_ok=True)


@dataclass
class _Run:
    folder: Path
    place: _Place
    judge: Judge
    client: LinkClient
    result: Materialized
    failures: IO[bytes]
    progress: Callable[[Materialized], None]
    accepted: set[Status]
    recheck: bool
    seen: set[int] = field(default_factory=set)

    def all(self, tables: list[Path], options: FetchOptions) -> None:
        """First what the tables hold, then the rest from files and addresses."""
        self.progress(self.result)
        self._take_embedded(tables)
        links = self._missing(read_links(tables, self.seen))
        with closing(Rounds(self._attempt, _refused, options).run(links)) as batches:
            for batch in batches:
                self._count(batch)

    def _count(self, batch: list[Done]) -> None:
        for done in batch:
            self.result.count(done)
            if done.origin is None:
                self.failures.write(_failure(done))
        self.failures.flush()
        self.progress(self.result)

    def _missing(self, links: Iterator[Link]) -> Iterator[Link]:
        """Those whose file is not there, or is to be looked at again."""
        for link in links:
            if self.recheck or self.place.find(link) is None:
                yield link
                continue
            self.result.origins[Origin.KEPT] += 1
            if self.result.done % _PROGRESS_ROWS == 0:
                self.progress(self.result)

    def _attempt(self, link: Link, asked: int) -> Done:
        """In a thread: the image of `link` from wherever it is. Raises `NoImage`."""
        if not self.place.names(link):
            raise NoImage(Status.CHANGED, "its row has no image_sha256 to name the file by")
        if asked == 0:
            done = self._kept(link) or self._linked(link)
            if done is not None:
                return done
        if not link.host and link.image_url[:4].lower() in ("urn:", ""):
            raise NoImage(Status.NO_ADDRESS, "the image is not in the folder, and has no address")
        with self.place.part() as part, part.open("x+b") as file:
            sha256 = self.client.download(link.image_url, file)
            status, detail = self.judge.look(link, sha256, file)
            if status not in self.accepted:
                raise NoImage(status, detail, 200)
            return self._placed(link, status, Origin.DOWNLOADED, part, file)

    def _placed(self, link: Link, status: Status, origin: Origin, part: Path, file: IO[bytes]) -> Done:
        file.flush()
        os.fsync(file.fileno())
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        self.place.put(part, link, file.read(HEAD_BYTES))
        return Done(link, status, origin, size)

    def _right(self, link: Link, path: Path) -> Status | None:
        """The status of a file that holds the image of `link`, None if it does not."""
        with path.open("rb") as file:
            status, _ = self.judge.look(link, hashlib.file_digest(file, "sha256").hexdigest(), file)
        return status if status in self.accepted else None

    def _kept(self, link: Link) -> Done | None:
        found = self.place.find(link) if self.recheck else None
        status = found and self._right(link, found)
        return Done(link, status, Origin.KEPT) if status else None

    def _linked(self, link: Link) -> Done | None:
        """The image out of `files/`, if it is there and right."""
        source = self._file_of(link)
        if source is None or (status := self._right(link, source)) is None:
            return None
        with self.place.part() as part:
            try:
                os.link(source, part)
            except OSError:  # another disk, or a file system without links
                shutil.copyfile(source, part)
            with part.open("rb") as file:
                return self._placed(link, status, Origin.LINKED, part, file)

    def _file_of(self, link: Link) -> Path | None:
        files = self.folder / "files"
        for sha256 in filter(None, (link.served_sha256, link.image_sha256)):
            for suffix in (*_SUFFIXES.values(), ".jpeg"):
                if (path := files / sha256[:2] / f"{sha256}{suffix}").is_file():
                    return path
        return None

    def _take_embedded(self, tables: list[Path]) -> None:
        """Write the images that the tables themselves hold; one whose bytes are wrong is left to its address."""
        images = sorted(self.folder.glob("images/*.parquet"))
        holders = [table for table in images or tables if _holds_images(table)]
        named = all({"image_url", "image_sha256"} <= set(schema_of(table).names) for table in holders)
        known = None if named else _by_served(tables)
        with ThreadPoolExecutor(8, thread_name_prefix="embedded") as threads:
            for table in holders:
                for links, pictures in self._embedded(table, known):
                    found = list(threads.map(self._unpack, links, pictures))
                    self.seen -= {key(link.image_url) for link, done in zip(links, found, strict=True) if done is None}
                    self._count([done for done in found if done is not None])

    def _embedded(
        self, table: Path, known: dict[str, list[Link]] | None
    ) -> Iterator[tuple[list[Link], list[dict[str, Any]]]]:
        """Links that are still missing, and their images, in small lists. Row groups that are done are not read."""
        columns = ["image.path"] if known is not None else [*link_columns(table), "image.path"]
        with readable(table), pq.ParquetFile(table, pre_buffer=False) as file:
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group, columns=columns).to_pylist()
                wanted = [self._wanted(row, known) for row in rows]
                first = 0
                if not any(wanted):
                    continue
                for batch in file.iter_batches(_ROWS, row_groups=[group], columns=["image"]):
                    some = wanted[first : first + len(batch)]
                    first += len(batch)
                    pairs = [
                        (link, picture.as_py() or {})
                        for links, picture in zip(some, batch.column(0), strict=True)
                        for link in links
                    ]
                    yield [link for link, _ in pairs], [picture for _, picture in pairs]

    def _wanted(self, row: dict[str, Any], known: dict[str, list[Link]] | None) -> list[Link]:
        """The links of a row of images whose files are to be written."""
        name = Path((row["image"] or {}).get("path") or "").stem
        if known is None:
            link = link_of(row)
            links = [replace(link, served_sha256=name) if is_sha256(name) else link]
        else:
            links = known.get(name, [])
        links = [link for link in links if key(link.image_url) not in self.seen]
        self.seen.update(key(link.image_url) for link in links)
        return list(self._missing(iter(links)))

    def _unpack(self, link: Link, picture: dict[str, Any]) -> Done | None:
        """In a thread: write one embedded image. None if its bytes are missing or wrong."""
        data = picture.get("bytes")
        if (done := self._kept(link)) is not None or not data:
            return done
        with self.place.part() as part, part.open("x+b") as file:
            file.write(data)
            status, _ = self.judge.look(link, hashlib.sha256(data).hexdigest(), file)
            if status not in self.accepted or not self.place.names(link):
                return None
            return self._placed(link, status, Origin.EMBEDDED, part, file)


def _holds_images(table: Path) -> bool:
    schema = schema_of(table)
    if "image" not in schema.names:
        return False
    kind = schema.field("image").type
    return pa.types.is_struct(kind) and {"bytes", "path"} <= {field.name for field in kind}


def _by_served(tables: list[Path]) -> dict[str, list[Link]]:
    """The links of `tables` by the hash that their images are called by."""
    links: dict[str, list[Link]] = {}
    for link in read_links(tables, set()):
        if link.served_sha256 is not None:
            links.setdefault(link.served_sha256, []).append(link)
    return links


def _refused(link: Link, why: NoImage) -> Done:
    return Done(link, why.status, http_status=why.http_status, detail=why.detail)


def _failure(done: Done) -> bytes:
    line = {
        "image_url": done.link.image_url,
        "image_sha256": done.link.image_sha256,
        "status": done.status,
        "http_status": done.http_status,
        "detail": done.detail,
        "at": now().isoformat(),
    }
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"
