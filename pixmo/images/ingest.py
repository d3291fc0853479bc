"""The ingest run: sources in, images and a report out. May be killed at any moment and started again.

Threads wait for downloads and for worker processes, which use all cores; the calling thread alone writes rows, in
short transactions and in the order of the sources, so that ids, clusters and duplicates do not depend on which image
was ready first. A worker's blobs are on disk before its row is written.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixmo.database import Database
from pixmo.images.clusters import ClusterIndex
from pixmo.images.fetch import Fetcher
from pixmo.images.hub import HubDataset
from pixmo.images.normalise import BadImage, Limits
from pixmo.images.service import Known, Outcome, fill_missing, get_image, known_sources, record
from pixmo.images.sources import (
    Archive,
    Folder,
    Inline,
    Item,
    Made,
    Meta,
    Refused,
    RowList,
    Single,
    Source,
    SourceMissing,
    UrlAt,
    item_at,
    item_at_url,
    printable,
)  # fmt: skip
from pixmo.images.worker import WorkerLimits
from pixmo.images.workers import Workers, cores
from pixmo.storage import Storage

BATCH_ROWS = 50
BATCH_SECONDS = 2.0
"""A transaction is written after so many rows or so much time."""

_LOOKUP = 256
"""Sources looked up at once. One that carries its bytes counts for `_INLINE`."""
_INLINE = 16


@dataclass(frozen=True)
class IngestOptions:
    """How to ingest. `defaults` holds for every image of the run whose source does not say otherwise."""

    defaults: Meta = field(default_factory=Meta)
    limits: Limits = field(default_factory=Limits)
    worker: WorkerLimits = field(default_factory=WorkerLimits)
    workers: int | None = None
    downloads: int = 16
    retry_failed: bool = False
    allow_private_urls: bool = False


@dataclass(frozen=True)
class Failure:
    """A source that gave no image. `earlier` if it failed in a run before and was not tried again."""

    source: str
    reason: str
    detail: str
    earlier: bool = False


@dataclass
class Report:
    """Counts of a run, so far. `known` are sources taken before and bytes that the store had already.

    `total` is the number of sources, where it is known beforehand; `ignored` counts files without an image's name.
    """

    total: int | None = None
    new: int = 0
    known: int = 0
    ignored: int = 0
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failed(self) -> int:
        return len(self.failures)

    @property
    def done(self) -> int:
        return self.new + self.known + self.failed


def add_images(
    db: Database,
    storage: Storage,
    sources: Sequence[Source],
    options: IngestOptions = IngestOptions(),
    progress: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Take every image of `sources` into the store and report what became of each.

    A source that was taken, or refused, in an earlier run is not read again (refused ones are, with
    `options.retry_failed`). `progress` is called in this thread after each step, with the growing report.

    Raises `StoreBroken` if blobs cannot be written and `SetupError` if workers cannot start; what was taken until then
    is kept. No bad image raises anything.
    """
    started = time.monotonic()
    counts = [source.count() for source in sources]
    report = Report(total=None if None in counts else sum(count or 0 for count in counts))
    with (
        Workers(storage, options.limits, options.worker, options.workers) as workers,
        Fetcher(
            options.limits.max_bytes, allow_private=options.allow_private_urls, connections=options.downloads
        ) as fetcher,
    ):
        run = _Run(db, workers, fetcher, options, report, progress)
        for source in sources:
            run.take(source.items())
    report.ignored = sum(source.ignored for source in sources)
    report.seconds = time.monotonic() - started
    return report


def open_source(argument: str) -> Source:
    """The source that a path or URL names. Raises `SourceMissing` if there is nothing there."""
    if argument.startswith(("http://", "https://")):
        return Single([item_at_url(argument)])
    path = Path(argument)
    if path.is_dir():
        return Folder(path)
    if not path.is_file():
        raise SourceMissing(f"There is no file or folder {printable(argument)}. Check the path.")
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return Archive(path)
    if suffix in {".csv", ".jsonl", ".ndjson"}:
        if not os.access(path, os.R_OK):
            raise SourceMissing(f"The list {printable(argument)} may not be read. Change its permissions.")
        return RowList(path)
    if suffix == ".parquet":
        return HubDataset(argument)
    return Single([item_at(path)])


@dataclass
class _Offer:
    """An item on its way. `outcome` is set once it is ready and its turn has come."""

    item: Item
    future: Future[dict[str, Any]]
    repeats: int = 0
    outcome: Outcome | None = None


class _Run:
    def __init__(
        self,
        db: Database,
        workers: Workers,
        fetcher: Fetcher,
        options: IngestOptions,
        report: Report,
        progress: Callable[[Report], None],
    ) -> None:
        self._db = db
        self._workers = workers
        self._fetcher = fetcher
        self._options = options
        self._report = report
        self._progress = progress
        # Enough on the way to hide the slowest of them from the rest, few enough to hold their bytes in memory.
        self._window = 2 * (options.workers or cores()) + options.downloads
        self._queue: deque[_Offer] = deque()
        self._offers: dict[str, _Offer] = {}
        self._batch: list[Outcome] = []
        self._written = time.monotonic()
        with db.read() as session:
            self._index = ClusterIndex.load(session)

    def take(self, items: Iterable[Item]) -> None:
        """Work through `items` and write what became of them."""
        with ThreadPoolExecutor(self._window, thread_name_prefix="ingest") as threads:
            try:
                for chunk in _chunks(items):
                    self._take_chunk(chunk, threads)
                self._settle_down_to(0)
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                self._fetcher.close()
                raise
            finally:
                self._write()

    def _take_chunk(self, chunk: Sequence[Item], threads: ThreadPoolExecutor) -> None:
        self._write()
        self._offers = {key: offer for key, offer in self._offers.items() if offer.outcome is None}
        items = [
            Item(item.key, item.name, item.locator, item.meta.or_else(self._options.defaults), item.sha256)
            for item in chunk
        ]
        with self._db.read() as session:
            known = known_sources(session, [item.key for item in items])
        for item in items:
            before = known.get(item.key)
            if before is not None and (before.image_id is not None or not self._options.retry_failed):
                self._count_known(item, before)
            elif (offer := self._offers.get(item.key)) is not None:
                self._repeat(offer)
            else:
                offer = self._offers[item.key] = _Offer(item, threads.submit(self._process, item))
                self._queue.append(offer)
                self._settle_down_to(self._window)
        self._fill_missing(items, known)

    def _process(self, item: Item) -> dict[str, Any]:
        """In a thread: the columns of the item's image."""
        locator = item.locator
        if isinstance(locator, Refused):
            raise BadImage(locator.reason, locator.detail)
        if isinstance(locator, UrlAt):
            locator = Inline(self._fetcher.get(locator.url))
        if isinstance(locator, Made):
            locator = Inline(locator.make())
        return self._workers.run(locator, item.sha256)

    def _settle_down_to(self, waiting: int) -> None:
        """Wait for the oldest offers until at most so many are left."""
        while len(self._queue) > waiting:
            offer = self._queue[0]
            found: dict[str, Any] | BadImage
            try:
                found = offer.future.result()
            except BadImage as bad:
                found = bad
            self._queue.popleft()
            offer.outcome = Outcome(offer.item, found)
            self._batch.append(offer.outcome)
            if len(self._batch) >= BATCH_ROWS or time.monotonic() - self._written > BATCH_SECONDS:
                self._write()
            for _ in range(offer.repeats):
                self._repeat(offer)

    def _write(self) -> None:
        """Write what is settled, in one transaction, and count it."""
        self._written = time.monotonic()
        if not self._batch:
            return
        batch, self._batch = self._batch, []
        with self._db.write() as session:
            if not self._index.is_current(session):
                self._index = ClusterIndex.load(session)
            new = record(session, self._index, batch)
        for outcome in batch:
            if isinstance(outcome.found, BadImage):
                self._count_failed(outcome.item, outcome.found.reason, outcome.found.detail)
        self._report.new += new
        self._report.known += sum(isinstance(outcome.found, dict) for outcome in batch) - new
        self._progress(self._report)

    def _repeat(self, offer: _Offer) -> None:
        """Count a source that was offered already in this run."""
        if offer.outcome is None:
            offer.repeats += 1
        elif isinstance(offer.outcome.found, BadImage):
            self._count_failed(offer.item, offer.outcome.found.reason, offer.outcome.found.detail)
        else:
            self._report.known += 1

    def _count_known(self, item: Item, before: Known) -> None:
        if before.image_id is None:
            self._count_failed(item, before.reason, before.detail, earlier=True)
        else:
            self._report.known += 1
        self._progress(self._report)

    def _count_failed(self, item: Item, reason: str, detail: str, *, earlier: bool = False) -> None:
        self._report.failures.append(Failure(item.name, reason, detail, earlier))

    def _fill_missing(self, items: Sequence[Item], known: dict[str, Known]) -> None:
        """Complete the rows of images taken earlier with what this run knows of them."""
        todo = [
            (image_id, item.meta)
            for item in items
            if (before := known.get(item.key)) is not None and (image_id := before.image_id) is not None
            if any(getattr(item.meta, name) is not None for name in before.missing)
        ]
        if todo:
            with self._db.write() as session:
                for image_id, meta in todo:
                    fill_missing(get_image(session, image_id), meta)


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    chunk: list[Item] = []
    weight = 0
    for item in items:
        chunk.append(item)
        weight += _INLINE if isinstance(item.locator, Inline) else 1
        if weight >= _LOOKUP:
            yield chunk
            chunk, weight = [], 0
    if chunk:
        yield chunk
