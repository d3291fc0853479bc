"""Are the images of a data set still at their addresses? Reading the addresses, and asking each of them."""

import hashlib
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from pixmo.clock import now
from pixmo.errors import Conflict, NotFound, Unprocessable
from pixmo.export.fetching import DEFAULTS, FetchOptions, Link, LinkClient, NoImage, Status
from pixmo.export.folder import FolderUnwritable
from pixmo.export.journal import Journal
from pixmo.export.rounds import Rounds
from pixmo.ids import is_sha256
from pixmo.images.formats import HEAD_BYTES, ORIGINALS, sniff
from pixmo.images.normalise import BadImage, Limits
from pixmo.images.sources import Inline
from pixmo.images.worker import KIND, WorkerLimits
from pixmo.images.workers import StoreBroken, Workers
from pixmo.storage import Storage

REPORT_FORMAT = "pixmo-links-1"
_SCHEMA = pa.schema(
    [
        ("image_url", pa.string()),
        ("image_sha256", pa.string()),
        ("status", pa.string()),
        ("http_status", pa.int32()),
        ("detail", pa.string()),
        ("checked_at", pa.timestamp("us", tz="UTC")),
    ]
)
_DIGESTS = ("image_sha256", "original_sha256", "served_sha256", "pixel_sha256")
_COLUMNS = ("image_url", *_DIGESTS)
_BATCH_ROWS = 8192
_SPOOL_BYTES = 4 * 2**20
"""A body larger than this goes to a temporary file."""


class NoLinks(NotFound):
    """There is no table of images by address."""

    code = "no_links"
    title = "There are no image addresses here"


class TableUnreadable(Unprocessable):
    code = "table_unreadable"
    title = "A table cannot be read"


class ReportTaken(Conflict):
    """Something else lies where the report is to go."""

    code = "report_taken"
    title = "The report cannot be written there"


def link_tables(folder: Path) -> list[Path]:
    """The parquet files of `folder` that name images by `image_url`, in order of their names.

    `folder` is a version, a folder in the layout of the published sets (`data/*.parquet`), or one parquet file.
    `enriched` is preferred to `data`: its rows are the same and it knows all hashes. Raises `NoLinks` and
    `TableUnreadable`.
    """
    if folder.is_file():
        tables = [folder]
    elif folder.is_dir():
        found = (sorted(folder.glob(pattern)) for pattern in ("enriched/*.parquet", "data/*.parquet", "*.parquet"))
        tables = next((paths for paths in found if paths), [])
    else:
        raise NoLinks(f"There is no folder or file {folder}. Check the path.")
    if not tables:
        raise NoLinks(f"{folder} holds no tables (data/*.parquet). Name the folder of a version, or a parquet file.")
    for table in tables:
        if "image_url" not in schema_of(table).names:
            raise NoLinks(f"{table} has no column image_url, so there is nothing to fetch. Name another data set.")
    return tables


def schema_of(table: Path) -> pa.Schema:
    """The columns of a parquet file. Raises `TableUnreadable`."""
    with readable(table):
        return pq.read_schema(table)


@contextmanager
def readable(table: Path) -> Iterator[None]:
    """Turns what a broken parquet file raises into `TableUnreadable`."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise TableUnreadable(f"{table} cannot be read: {error}. Fetch or export it anew.") from error


def link_columns(table: Path) -> list[str]:
    """The columns of a table that `link_of` reads."""
    names = schema_of(table).names
    return [name for name in _COLUMNS if name in names]


def link_of(row: dict[str, Any]) -> Link:
    """The link in a row with (some of) the columns of `link_columns`. What is no hash is not taken for one."""
    digests = {name: row.get(name) for name in _DIGESTS}
    return Link(
        row.get("image_url") or "",
        **{name: value for name, value in digests.items() if isinstance(value, str) and is_sha256(value)},
    )


def read_links(tables: list[Path], seen: set[int]) -> Iterator[Link]:
    """The links of `tables`, each address once and none whose `key` is in `seen`, which grows."""
    for table in tables:
        columns = link_columns(table)
        with readable(table), pq.ParquetFile(table, pre_buffer=False) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=columns):
                for row in batch.to_pylist():
                    link = link_of(row)
                    if (known := key(link.image_url)) not in seen:
                        seen.add(known)
                        yield link


def count_links(tables: list[Path]) -> int:
    """How many different addresses `tables` hold."""
    seen: set[int] = set()
    for table in tables:
        with readable(table), pq.ParquetFile(table, pre_buffer=False) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=["image_url"]):
                seen.update(key(url or "") for url in batch.column(0).unique().to_pylist())
    return len(seen)


def key(url: str) -> int:
    """64 bits of a hash: a set of a million addresses takes 70 MB, and two of them agree once in 10^7 sets."""
    return int.from_bytes(hashlib.blake2b(url.encode(errors="surrogatepass"), digest_size=8).digest())


class Judge:
    """Tells whether bytes are the image of a link. Unknown pictures are decoded in worker processes."""

    def __init__(self, max_bytes: int) -> None:
        self._work = tempfile.TemporaryDirectory(prefix="pixmo-links-")
        self._storage = Storage(Path(self._work.name))
        self._workers = Workers(self._storage, Limits(max_bytes=max_bytes), WorkerLimits())

    def __enter__(self) -> Self:
        self._workers.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._workers.__exit__()
        self._work.cleanup()

    def look(self, link: Link, sha256: str, body: IO[bytes]) -> tuple[Status, str]:
        """`ok`, `changed_pixels_match` or `changed`, and what there is to say of it.

        `sha256` is that of `body`, which is read only where hashes do not agree. Where the tables know no hash, any
        image is the image.
        """
        if sha256 in link.digests:
            return Status.OK, ""
        body.seek(0)
        head = body.read(HEAD_BYTES)
        if sniff(head) is None:
            return Status.CHANGED, f"no image: it begins with {head[:16]!r}" if head else "an empty answer"
        if not link.digests and link.pixel_sha256 is None:
            return Status.OK, "an image; its hash is not known"
        if link.pixel_sha256 is not None:
            try:
                found = self._pixel_sha256(head + body.read())
            except BadImage as bad:
                return Status.CHANGED, f"SHA-256 is {sha256}, and the image is bad: {bad.detail}"
            if found == link.pixel_sha256:
                return Status.CHANGED_PIXELS_MATCH, f"SHA-256 is {sha256}"
        return Status.CHANGED, f"SHA-256 is {sha256}"

    def _pixel_sha256(self, data: bytes) -> str:
        """As `pixmo.images` computes it on ingest. Raises `BadImage`."""
        try:
            columns = self._workers.run(Inline(data), None)
        except StoreBroken:
            raise FolderUnwritable(f"{self._work.name} cannot be written. Check free space, or set TMPDIR.") from None
        self._storage.delete(ORIGINALS, columns["sha256"])
        for name in ("served_sha256", "web_sha256", "thumb_sha256"):
            self._storage.delete(KIND, columns[name])
        return str(columns["pixel_sha256"])


@dataclass
class LinkReport:
    """Counts of a check, so far. `resumed` addresses were checked by an earlier run that did not end.

    `match` is false if the addresses were only asked whether they answer; `ok` means no more then.
    """

    match: bool
    total: int
    report: Path | None = None
    resumed: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    hosts: dict[str, Counter[str]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def done(self) -> int:
        return self.statuses.total()

    def count(self, link: Link, status: str) -> None:
        self.statuses[status] += 1
        self.hosts.setdefault(link.host, Counter())[status] += 1

    def summary(self, hosts: int | None = None) -> dict[str, Any]:
        """Counts and shares by status, in all and for the `hosts` (None: all) with the most addresses."""
        largest = sorted(self.hosts.items(), key=lambda item: (-item[1].total(), item[0]))[:hosts]
        return {
            "match": self.match,
            "links": self.total,
            "checked": self.done,
            "resumed": self.resumed,
            "statuses": _shares(self.statuses),
            "hosts": {host: {"links": counts.total(), "statuses": _shares(counts)} for host, counts in largest},
            "report": None if self.report is None else str(self.report),
            "seconds": round(self.seconds, 3),
        }


def _shares(counts: Counter[str]) -> dict[str, dict[str, float]]:
    return {
        status: {"count": counts[status], "share": counts[status] / counts.total()}
        for status in Status
        if counts[status]
    }


def check_links(
    folder: Path,
    *,
    report: Path | None = None,
    match: bool = True,
    options: FetchOptions = DEFAULTS,
    progress: Callable[[LinkReport], None] = lambda report: None,
) -> LinkReport:
    """Ask every different `image_url` of a data set, and write what became of each to `report` (parquet).

    With `match` images are downloaded and compared; without, an address is only asked whether it answers. Until the end the
    results lie in a journal beside the report, from which the same call goes on after a crash or an interrupt: what
    was answered is not asked again. The report's rows are in the order of the answers. `progress` is called in this thread with the growing counts.

    Raises `NoLinks`, `TableUnreadable`, `ReportTaken`, `JournalTaken` and `FolderUnwritable`.
    """
    started = time.monotonic()
    tables = link_tables(folder)
    if report is not None:
        _check_place(report, folder)
    result = LinkReport(match, count_links(tables), report)
    try:
        with Journal.open(report, {"format": REPORT_FORMAT, "match": match, "tables": _identity(tables)}) as journal:
            seen: set[int] = set()
            for row in journal.rows():
                link = Link(row["image_url"])
                seen.add(key(link.image_url))
                result.count(link, row["status"])
            result.resumed = result.done
            progress(result)
            _ask(read_links(tables, seen), journal, result, options, progress)
            if report is not None:
                metadata = {"pixmo": json.dumps({"format": REPORT_FORMAT, "match": match})}
                journal.finish(lambda file: _write_report(file, journal, metadata))
    except OSError as error:
        raise FolderUnwritable(
            f"The report cannot be written: {error}. Check free space and permissions, and run it again to go on."
        ) from error
    result.seconds = time.monotonic() - started
    return result


def _ask(
    links: Iterator[Link],
    journal: Journal,
    result: LinkReport,
    options: FetchOptions,
    progress: Callable[[LinkReport], None],
) -> None:
    with Judge(options.max_bytes) as judge, LinkClient(options) as client:

        def attempt(link: Link, asked: int) -> tuple[Link, dict[str, Any]]:
            if not link.host and link.image_url[:4].lower() in ("urn:", ""):
                raise NoImage(Status.NO_ADDRESS, "")
            if not result.match:
                return _row(link, Status.OK, client.probe(link.image_url, head=asked == 0), "")
            with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as body:
                status, detail = judge.look(link, client.download(link.image_url, body), body)
            return _row(link, status, 200, detail)

        def refused(link: Link, why: NoImage) -> tuple[Link, dict[str, Any]]:
            return _row(link, why.status, why.http_status, why.detail)

        with closing(Rounds(attempt, refused, options).run(links)) as batches:
            for batch in batches:
                journal.append([row for _, row in batch])
                for link, row in batch:
                    result.count(link, row["status"])
                progress(result)


def _row(link: Link, status: Status, http_status: int | None, detail: str) -> tuple[Link, dict[str, Any]]:
    return link, {
        "image_url": link.image_url,
        "image_sha256": link.image_sha256,
        "status": status,
        "http_status": http_status,
        "detail": detail,
        "checked_at": now().isoformat(),
    }


def _write_report(file: IO[bytes], journal: Journal, metadata: dict[str, str]) -> None:
    with pq.ParquetWriter(file, _SCHEMA.with_metadata(metadata), compression="zstd") as writer:
        rows: list[dict[str, Any]] = []
        for row in journal.rows():
            rows.append(row | {"checked_at": datetime.fromisoformat(row["checked_at"])})
            if len(rows) == _BATCH_ROWS:
                writer.write_table(pa.Table.from_pylist(rows, schema=writer.schema))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, schema=writer.schema))


def _check_place(report: Path, folder: Path) -> None:
    """Whether a report may be written there: a version is never changed, and only a report is replaced."""
    check_outside(report, folder)
    if report.exists():
        try:
            mark = json.loads((pq.read_schema(report).metadata or {})[b"pixmo"])
            if mark["format"] == REPORT_FORMAT:
                return
        except (pa.ArrowException, OSError, ValueError, LookupError, TypeError):
            pass
        raise ReportTaken(f"{report} is no report of pixmo. Choose another name, or move it away.")


def check_outside(path: Path, folder: Path) -> None:
    """Raises `ReportTaken` if `path` lies in the version `folder`, which is never changed."""
    root = Path(os.path.realpath(folder))
    if (root / "manifest.json").is_file() and Path(os.path.realpath(path)).is_relative_to(root):
        raise ReportTaken(f"{path} lies in the version {folder}, which is never changed. Write it elsewhere.")


def _identity(tables: list[Path]) -> str:
    """SHA-256 over names, sizes and ends (where parquet keeps what it knows of the rest) of the tables."""
    digest = hashlib.sha256()
    for table in tables:
        with table.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 65_536))
            digest.update(f"{table.name}\n{size}\n".encode() + file.read())
    return digest.hexdigest()
