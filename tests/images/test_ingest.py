import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from sqlalchemy import func, select

from pixmo.database import Database
from pixmo.images import ingest as module
from pixmo.images.formats import BLOBS, ORIGINALS
from pixmo.images.ingest import IngestOptions, Report, add_images, open_source
from pixmo.images.models import Image, ImageSource
from pixmo.images.normalise import Limits
from pixmo.images.service import count_images
from pixmo.images.sources import Archive, Folder, Inline, Item, Made, Meta, RowList, Single, SourceMissing
from pixmo.images.worker import WorkerLimits
from pixmo.images.workers import StoreBroken, Workers
from pixmo.storage import Storage
from tests.images.conftest import Ingest, encoded, nasty, picture, secret_jpeg, slow
from tests.images.test_fetch import Server


def counts(report: Report) -> tuple[int, int, int]:
    return report.new, report.known, report.failed


def fill(folder: Path, *seeds: int) -> Path:
    folder.mkdir(exist_ok=True)
    for seed in seeds:
        (folder / f"{seed:03}.jpg").write_bytes(encoded(picture(seed=seed)))
    return folder


def all_images(db: Database) -> list[Image]:
    with db.read() as session:
        return list(session.scalars(select(Image).order_by(Image.created_at, Image.id)))


def number_of_images(db: Database) -> int:
    with db.read() as session:
        return count_images(session)


def partition(db: Database) -> set[frozenset[str]]:
    """The clusters, as sets of hashes."""
    members = defaultdict(set)
    for image in all_images(db):
        members[image.cluster_id].add(image.sha256)
    return {frozenset(group) for group in members.values()}


def test_good_and_bad_files_of_a_folder(tmp_path: Path, ingest: Ingest, db: Database) -> None:
    folder = fill(tmp_path / "in", 0, 1, 2)
    for name, (data, _) in nasty().items():
        (folder / name).write_bytes(data)
    seen: list[tuple[int, int, int]] = []
    report = add_images(
        db, Storage(tmp_path / "blobs"), [Folder(folder)], IngestOptions(workers=1), lambda r: seen.append(counts(r))
    )
    assert counts(report) == (3, 0, len(nasty()))
    assert report.total == report.done == 3 + len(nasty())
    assert seen[-1] == counts(report)
    assert {Path(one.source).name: one.reason for one in report.failures} == {n: why for n, (_, why) in nasty().items()}
    assert all(failure.detail and not failure.earlier for failure in report.failures)
    with db.read() as session:
        rows = session.execute(select(ImageSource.reason, func.count()).group_by(ImageSource.reason)).all()
    assert dict(map(tuple, rows))[None] == 3


def test_rows_are_what_was_found(tmp_path: Path, ingest: Ingest, db: Database, storage: Storage) -> None:
    data = secret_jpeg(6, picture(1400, 900))
    (tmp_path / "a.jpg").write_bytes(data)
    ingest(tmp_path / "a.jpg", defaults=Meta("street", "CC0", "Archive"))
    (image,) = all_images(db)
    assert image.sha256 == hashlib.sha256(data).hexdigest()
    assert (image.format, image.width, image.height, image.frames, image.byte_size) == ("jpeg", 900, 1400, 1, len(data))
    assert (image.topic, image.licence, image.attribution, image.source_url) == ("street", "CC0", "Archive", None)
    assert image.cluster_id == image.id
    stored = [storage.read(BLOBS, sha256) for sha256 in (image.served_sha256, image.web_sha256, image.thumb_sha256)]
    assert [len(blob) < len(data) for blob in stored] == [True, True, True]
    assert b"1987" not in b"".join(stored)
    assert len(list(storage.walk(BLOBS))) == 3  # the original, with its location, is apart from what is served
    assert [sha256 for sha256, _ in storage.walk(ORIGINALS)] == [image.sha256]


def test_a_second_run_reads_nothing(tmp_path: Path, ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fill(tmp_path / "in", 0, 1)
    (folder / "bad.jpg").write_bytes(b"no image")
    assert counts(ingest(folder)) == (2, 0, 1)
    monkeypatch.setattr(Workers, "run", None)
    report = ingest(folder)
    assert counts(report) == (0, 2, 1)
    assert report.failures[0].earlier
    assert report.failures[0].reason == "not_an_image"


def test_a_failed_source_is_tried_again_when_asked(tmp_path: Path, ingest: Ingest) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(picture()))
    small = Limits(max_bytes=10)
    assert counts(ingest(path, limits=small)) == (0, 0, 1)
    assert counts(ingest(path)) == (0, 0, 1)
    assert counts(ingest(path, retry_failed=True)) == (1, 0, 0)
    assert counts(ingest(path, retry_failed=True)) == (0, 1, 0)


def test_a_changed_file_is_a_new_source(tmp_path: Path, ingest: Ingest) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(picture()))
    ingest(path)
    path.write_bytes(encoded(picture(seed=1)))
    assert counts(ingest(path)) == (1, 0, 0)


def test_the_same_bytes_are_one_image(tmp_path: Path, ingest: Ingest, db: Database) -> None:
    data = encoded(picture())
    for name in ("a.jpg", "b.jpg", "c"):
        (tmp_path / name).write_bytes(data)
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr("../../e.jpg", data)
    assert counts(ingest(tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "d.zip")) == (1, 2, 0)
    assert counts(ingest(tmp_path / "c")) == (0, 1, 0)
    (image,) = all_images(db)
    with db.read() as session:
        assert set(session.scalars(select(ImageSource.image_id))) == {image.id}
        assert session.scalar(select(func.count()).select_from(ImageSource)) == 4


def test_nothing_of_an_archive_is_written_elsewhere(tmp_path: Path, ingest: Ingest) -> None:
    inner = tmp_path / "deep" / "er"
    inner.mkdir(parents=True)
    with zipfile.ZipFile(inner / "slip.zip", "w") as archive:
        archive.writestr("../../evil.jpg", encoded(picture()))
        archive.writestr("/tmp/evil.jpg", encoded(picture(seed=1)))
    assert counts(ingest(inner / "slip.zip")) == (2, 0, 0)
    assert [path.name for path in (tmp_path / "deep").rglob("*")] == ["er", "slip.zip"]
    assert not list(tmp_path.rglob("evil*"))


def test_a_later_source_fills_in_what_is_missing(tmp_path: Path, ingest: Ingest, db: Database) -> None:
    fill(tmp_path / "in", 0)
    ingest(tmp_path / "in", defaults=Meta(topic="street"))
    ingest(tmp_path / "in", defaults=Meta(topic="sea", licence="CC0"))  # known by its source
    (tmp_path / "copy.jpg").write_bytes((tmp_path / "in" / "000.jpg").read_bytes())
    ingest(tmp_path / "copy.jpg", defaults=Meta(licence="other", attribution="Archive"))  # known by its bytes
    (image,) = all_images(db)
    assert (image.topic, image.licence, image.attribution) == ("street", "CC0", "Archive")


def test_a_list_says_more_than_the_defaults(tmp_path: Path, ingest: Ingest, db: Database) -> None:
    fill(tmp_path, 0, 1)
    good = hashlib.sha256((tmp_path / "000.jpg").read_bytes()).hexdigest()
    rows = [f"000.jpg,sea,{good}", f"001.jpg,,{good}", "nothing.jpg,,", ",,"]
    (tmp_path / "list.csv").write_text("path,topic,sha256\n" + "\n".join(rows))
    report = ingest(tmp_path / "list.csv", defaults=Meta("street", "CC0"))
    assert counts(report) == (1, 0, 3)
    assert [failure.reason for failure in report.failures] == ["hash_mismatch", "unreadable", "unreadable"]
    (image,) = all_images(db)
    assert (image.topic, image.licence) == ("sea", "CC0")


class Files(SimpleHTTPRequestHandler):
    folder: Path
    asked: list[str]

    def translate_path(self, path: str) -> str:
        self.asked.append(path)
        return str(self.folder / path.partition("?")[0].lstrip("/"))

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Server]:
    Files.folder, Files.asked = fill(tmp_path / "web", 0, 1), []
    server = Server(Files)
    yield server
    server.stop()


def test_images_by_url(tmp_path: Path, ingest: Ingest, db: Database, web: Server) -> None:
    digest = hashlib.sha256((tmp_path / "web" / "001.jpg").read_bytes()).hexdigest()
    rows = [
        {"url": f"{web.url}/000.jpg"},
        {"url": f"{web.url}/001.jpg", "sha256": digest, "source_url": "https://example.org/page"},
        {"url": f"{web.url}/001.jpg?", "sha256": "0" * 64},
        {"url": f"{web.url}/gone.jpg"},
        {"url": f"{web.url}/000.jpg"},
        {"url": f"{web.url}/gone.jpg"},
    ]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    report = ingest(tmp_path / "list.jsonl", allow_private_urls=True)
    assert counts(report) == (2, 1, 3)
    assert sorted(failure.reason for failure in report.failures) == [
        "download_failed",
        "download_failed",
        "hash_mismatch",
    ]
    assert sorted(image.source_url or "" for image in all_images(db)) == [
        f"{web.url}/000.jpg",
        "https://example.org/page",
    ]
    assert len(Files.asked) == 4  # what is offered twice is asked for once
    assert counts(ingest(tmp_path / "list.jsonl", allow_private_urls=True)) == (0, 3, 3)
    assert len(Files.asked) == 4
    assert counts(ingest(f"{web.url}/000.jpg", allow_private_urls=True)) == (0, 1, 0)


def test_private_urls_are_refused_by_default(web: Server, ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixmo.images.fetch.getproxies", dict)
    report = ingest(f"{web.url}/000.jpg")
    assert counts(report) == (0, 0, 1)
    assert Files.asked == []


def near(seed: int, quality: int) -> bytes:
    """The same picture at another JPEG quality: other bytes, nearly the same pixels."""
    return encoded(picture(600, 450, seed=seed), quality=quality)


def test_near_duplicates_are_one_cluster_whatever_the_order(tmp_path: Path, db: Database, storage: Storage) -> None:
    items = [
        Item(f"{seed}-{quality}", "x", Inline(near(seed, quality))) for seed in range(4) for quality in (95, 60, 35)
    ]
    random.Random(1).shuffle(items)
    add_images(db, storage, [Single(items)], IngestOptions(workers=2))
    assert sorted(len(group) for group in partition(db)) == [3, 3, 3, 3]
    order = [hashlib.sha256(item.locator.data).hexdigest() for item in items if isinstance(item.locator, Inline)]
    images = all_images(db)
    assert [image.sha256 for image in images] == order  # rows in the order of the sources, not of the workers
    first = {}
    for image in images:
        assert image.cluster_id == first.setdefault(image.cluster_id, image.id)


def test_two_runs_beside_each_other_agree(
    tmp_path: Path, db: Database, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second process adds a near-duplicate between two transactions of the first."""
    monkeypatch.setattr(module, "BATCH_ROWS", 1)
    other = [Item("other", "x", Inline(near(0, 60)))]
    done: list[int] = []

    def progress(report: Report) -> None:
        if report.new == 1 and not done:
            done.append(1)
            add_images(Database(db.url), storage, [Single(other)], IngestOptions(workers=1))

    items = [Item(str(seed), "x", Inline(near(seed, 95))) for seed in (1, 0, 2)]
    add_images(db, storage, [Single(items)], IngestOptions(workers=1), progress)
    assert sorted(len(group) for group in partition(db)) == [1, 1, 2]


def test_hostile_files_stop_nothing(tmp_path: Path, ingest: Ingest) -> None:
    items = [
        Item("1", "1", Inline(encoded(picture()))),
        Item("2", "killer", Inline(slow())),
        Item("3", "3", Inline(encoded(picture(seed=1)))),
    ]
    report = ingest(Single(items), worker=WorkerLimits(cpu_seconds=1))
    assert counts(report) == (2, 0, 1)
    assert (report.failures[0].source, report.failures[0].reason) == ("killer", "unreadable")


def test_an_interrupt_keeps_what_was_taken(
    tmp_path: Path, db: Database, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_ROWS", 2)

    def interrupt(report: Report) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add_images(db, storage, [Folder(fill(tmp_path / "in", *range(30)))], IngestOptions(workers=1), interrupt)
    assert len(all_images(db)) == 2
    report = add_images(db, storage, [Folder(tmp_path / "in")], IngestOptions(workers=1))
    assert counts(report) == (28, 2, 0)


def test_a_full_disk_stops_the_run_and_keeps_what_was_taken(tmp_path: Path, db: Database) -> None:
    storage = Storage(tmp_path / "blobs")

    def break_store() -> bytes:
        while not list(storage.walk(ORIGINALS)) or len(list(storage.walk(BLOBS))) < 2:
            time.sleep(0.01)
        while list(storage.root.rglob(".part-*")):  # until the first image is stored
            time.sleep(0.1)
        (tmp_path / "blobs").rename(tmp_path / "aside")
        (tmp_path / "blobs").write_text("no folder")
        return encoded(picture(seed=1))

    items = [Item("1", "1", Inline(encoded(picture()))), Item("2", "2", Made(break_store))]
    with pytest.raises(StoreBroken, match="run it again"):
        add_images(db, storage, [Single(items)], IngestOptions(workers=1))
    assert len(all_images(db)) == 1


KILLED = """
import sys
from pathlib import Path
from pixmo.database import Database
from pixmo.images import ingest
from pixmo.images.sources import Folder
from pixmo.storage import Storage
ingest.BATCH_ROWS = 4
report = ingest.add_images(Database(sys.argv[1]), Storage(Path(sys.argv[2])), [Folder(Path(sys.argv[3]))])
print(report.new, report.known, report.failed)
"""


def workers_of(root: Path) -> list[str]:
    """Worker processes that write to a storage."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "pixmo.images.worker" in line and str(root) in line:
            lines.append(line)
    return lines


def test_killed_at_any_moment_and_started_again(tmp_path: Path, db: Database, storage: Storage, migrated: Path) -> None:
    folder = fill(tmp_path / "in", *range(40))
    for seed in range(5):
        (folder / f"near{seed}.jpg").write_bytes(near(seed, 80))
    (folder / "bad.jpg").write_bytes(b"no image")
    command = [sys.executable, "-c", KILLED, db.url, str(storage.root), str(folder)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    taken = 0
    for _ in range(2):
        process = subprocess.Popen(command, env=environment)
        end = time.monotonic() + 60
        while number_of_images(db) < taken + 5 and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert taken < len(all_images(db)) < 45
        taken = len(all_images(db))
    finished = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert finished.stdout.split() == [str(45 - taken), str(taken), "1"]
    for _ in range(100):
        if not workers_of(storage.root):
            break
        time.sleep(0.05)
    assert workers_of(storage.root) == []  # they ended with their killed parents
    images = all_images(db)
    for image in images:
        for sha256 in (image.served_sha256, image.web_sha256, image.thumb_sha256):
            assert hashlib.sha256(storage.read(BLOBS, sha256)).hexdigest() == sha256

    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "pixmo.db").write_bytes(migrated.read_bytes())
    other = Database(f"sqlite:///{whole / 'pixmo.db'}")
    add_images(other, Storage(whole / "blobs"), [Folder(folder)])
    assert [image.sha256 for image in images] == [image.sha256 for image in all_images(other)]
    assert partition(db) == partition(other)
    other.close()


def test_sources_by_what_they_are_called(tmp_path: Path) -> None:
    for name in ("a.zip", "a.CSV", "a.jsonl", "a.jpg", "a"):
        (tmp_path / name).write_bytes(b"")
    assert isinstance(open_source(str(tmp_path)), Folder)
    assert isinstance(open_source(str(tmp_path / "a.zip")), Archive)
    assert isinstance(open_source(str(tmp_path / "a.CSV")), RowList)
    assert isinstance(open_source(str(tmp_path / "a.jsonl")), RowList)
    assert isinstance(open_source(str(tmp_path / "a.jpg")), Single)
    assert isinstance(open_source("https://example.org/a.zip"), Single)
    with pytest.raises(SourceMissing, match="no file or folder"):
        open_source(str(tmp_path / "absent"))


def test_a_list_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_text("url\n")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root, as which tests may run, can read everything
    with pytest.raises(SourceMissing, match="may not be read"):
        open_source(str(tmp_path / "a.csv"))
