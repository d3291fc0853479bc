import os
import signal
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from pixmo.errors import SetupError
from pixmo.images import workers as module
from pixmo.images.formats import BLOBS
from pixmo.images.normalise import BadImage, Limits, Reason
from pixmo.images.sources import FileAt, Inline, ZipMember
from pixmo.images.worker import WorkerLimits
from pixmo.images.workers import StoreBroken, Workers, cores
from pixmo.storage import Storage
from tests.images.conftest import bomb, encoded, nasty, picture, png, slow

GOOD = Inline(encoded(picture()))


def refusal(workers: Workers, locator: FileAt | ZipMember | Inline) -> tuple[Reason, str]:
    with pytest.raises(BadImage) as caught:
        workers.run(locator, None)
    return caught.value.reason, caught.value.detail


def test_blobs_are_stored_before_the_answer(storage: Storage, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(GOOD.data)
    with Workers(storage, Limits(), WorkerLimits(), 1) as workers:
        columns = workers.run(FileAt(str(path)), None)
        assert workers.run(GOOD, columns["sha256"]) == columns
    assert (columns["width"], columns["height"]) == (160, 120)
    for name in ("served_sha256", "web_sha256", "thumb_sha256"):
        assert storage.exists(BLOBS, columns[name])


def test_files_that_cannot_be_read(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "large.jpg").write_bytes(bytes(2000))
    with Workers(storage, Limits(max_bytes=1000), WorkerLimits(), 1) as workers:
        assert refusal(workers, FileAt(str(tmp_path / "none"))) == (Reason.UNREADABLE, "No such file or directory")
        assert refusal(workers, FileAt(str(tmp_path / "large.jpg")))[0] == Reason.TOO_LARGE
        assert refusal(workers, FileAt(str(tmp_path)))[0] == Reason.UNREADABLE


def test_zip_members(storage: Storage, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("good.jpg", GOOD.data)
        archive.writestr("zeros.jpg", bytes(900_000))
        archive.writestr("large.bmp", b"BM" + bytes(2_000_000))
        archive.writestr("wrong.png", encoded(picture(), "PNG"))
    data = bytearray(path.read_bytes())
    start = data.index(b"wrong.png") + 60
    data[start : start + 4] = b"\xff\xff\xff\xff"
    encrypted = data.index(b"PK\1\2")
    data[encrypted + 8] |= 1
    path.write_bytes(data)
    with Workers(storage, Limits(max_bytes=1_000_000), WorkerLimits(), 1) as workers:
        assert refusal(workers, ZipMember(str(path), 0))[0] == Reason.UNREADABLE
        data[encrypted + 8] &= 0xFE
        other = tmp_path / "b.zip"
        other.write_bytes(data)
        assert workers.run(ZipMember(str(other), 0), None)["format"] == "jpeg"
        assert refusal(workers, ZipMember(str(other), 1))[0] == Reason.NOT_AN_IMAGE
        assert refusal(workers, ZipMember(str(other), 2))[0] == Reason.TOO_LARGE
        assert refusal(workers, ZipMember(str(other), 3))[0] == Reason.CORRUPT
        assert refusal(workers, ZipMember(str(other), 9))[0] == Reason.CORRUPT
        assert refusal(workers, ZipMember(str(tmp_path / "none.zip"), 0))[0] == Reason.UNREADABLE


def test_an_image_that_needs_too_much_memory_is_a_bomb(storage: Storage) -> None:
    rows = bytes((8000 // 8 + 1) * 8000)
    limits = WorkerLimits(memory_bytes=300 * 2**20)
    with Workers(storage, Limits(), limits, 1) as workers:
        assert refusal(workers, Inline(png(8000, 8000, 1, 0, rows)))[0] == Reason.BOMB
        assert workers.run(GOOD, None)["width"] == 160


def test_an_image_that_takes_too_long_ends_its_worker_and_nothing_else(storage: Storage) -> None:
    with Workers(storage, Limits(), WorkerLimits(cpu_seconds=1), 1) as workers:
        assert refusal(workers, Inline(slow())) == (Reason.UNREADABLE, "its worker process used up its time")
        assert workers.run(GOOD, None)["width"] == 160


def test_a_killed_worker_is_started_again(storage: Storage) -> None:
    with Workers(storage, Limits(), WorkerLimits(), 1) as workers:
        workers.run(GOOD, None)
        process = workers._all[0]._process
        assert process is not None
        picture_of_noise = Inline(slow())
        threading.Timer(0.5, os.kill, (process.pid, signal.SIGKILL)).start()
        reason, detail = refusal(workers, picture_of_noise)
        assert (reason, detail) == (Reason.UNREADABLE, "its worker process was killed, most likely for its memory")
        assert workers.run(GOOD, None)["width"] == 160


def test_a_worker_that_died_idle_is_no_image_s_fault(storage: Storage) -> None:
    with Workers(storage, Limits(), WorkerLimits(), 1) as workers:
        workers.run(GOOD, None)
        process = workers._all[0]._process
        assert process is not None
        process.kill()
        process.wait()
        assert workers.run(GOOD, None)["width"] == 160


def test_the_pixel_limit_may_be_raised_above_pillow_s(storage: Storage) -> None:
    with Workers(storage, Limits(max_pixels=250_000_000), WorkerLimits(), 1) as workers:
        assert refusal(workers, Inline(bomb()))[0] == Reason.TOO_LARGE


def test_bad_images_one_after_the_other_in_one_worker(storage: Storage) -> None:
    with Workers(storage, Limits(), WorkerLimits(), 1) as workers:
        for data, reason in nasty().values():
            assert refusal(workers, Inline(data))[0] == reason
        first = workers._all[0]._process
        assert refusal(workers, Inline(bomb()))[0] == Reason.BOMB
        assert workers._all[0]._process is first


def test_a_store_that_cannot_be_written_stops_the_run(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file where a folder should be")
    with (
        Workers(Storage(tmp_path / "blobs"), Limits(), WorkerLimits(), 1) as workers,
        pytest.raises(StoreBroken, match="the store cannot be written: Not a directory"),
    ):
        workers.run(GOOD, None)


def test_a_worker_that_cannot_start_says_why(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    argv = [sys.executable, "-c", "raise ImportError('no module named pixmo')"]
    monkeypatch.setattr(module, "command", lambda *_: (argv, dict(os.environ)))
    with (
        Workers(storage, Limits(), WorkerLimits(), 1) as workers,
        pytest.raises(SetupError, match="cannot start: ImportError: no module named pixmo"),
    ):
        workers.run(GOOD, None)


def test_many_threads_share_few_workers(storage: Storage) -> None:
    found: list[str] = []
    with Workers(storage, Limits(), WorkerLimits(), 2) as workers:
        threads = [threading.Thread(target=lambda: found.append(workers.run(GOOD, None)["sha256"])) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_workers_end_with_the_pool(storage: Storage) -> None:
    with Workers(storage, Limits(), WorkerLimits(), 1) as workers:
        workers.run(GOOD, None)
        process = workers._all[0]._process
    assert process is not None
    assert process.returncode == 0
    assert cores() >= 1
    assert time.process_time() > 0
