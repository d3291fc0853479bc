"""Blobs are whole or absent, written once, and reachable only by their digest."""

import hashlib
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pixmo.storage import BlobMissing, Storage


def test_what_is_put_is_read_by_its_digest(storage: Storage) -> None:
    sha256 = storage.put("audio", b"speech")
    assert sha256 == hashlib.sha256(b"speech").hexdigest()
    assert storage.read("audio", sha256) == b"speech"
    assert storage.put("audio", b"speech") == sha256
    assert [found for found, _ in storage.walk("audio")] == [sha256]


def test_kinds_are_apart(storage: Storage) -> None:
    sha256 = storage.put("audio", b"speech")
    assert not storage.exists("images", sha256)
    with pytest.raises(BlobMissing):
        storage.read("images", sha256)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 64 + "/", "\0" * 64])
def test_only_digests_are_paths(storage: Storage, name: str) -> None:
    with pytest.raises(BlobMissing):
        storage.path("images", name)


def test_what_a_crash_left_is_swept_when_it_is_old(storage: Storage) -> None:
    sha256 = storage.put("audio", b"speech")
    part = storage.path("audio", sha256).parent / ".part-1"
    part.write_bytes(b"spee")
    storage.sweep(older_than=60)
    assert part.exists()
    storage.sweep(older_than=-1)
    assert not part.exists()
    assert storage.read("audio", sha256) == b"speech"


def test_many_writers_of_one_blob(storage: Storage) -> None:
    data = b"x" * 500_000
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(lambda _: storage.put("images", data), range(64)))) == 1
    assert len([path for path in storage.root.rglob("*") if path.is_file()]) == 1


def test_a_blob_is_whole_or_absent_after_kill_9(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from pixmo.storage import Storage
        storage = Storage(Path(sys.argv[1]))
        for number in range(1_000_000):
            print(storage.put("audio", bytes([number % 256]) * 300_000 + str(number).encode()), flush=True)
        """
    )
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        told = [process.stdout.readline().strip() for _ in range(20)]
        process.kill()
        told += process.communicate()[0].split()
        stored = dict(Storage(tmp_path).walk("audio"))
        for sha256, path in stored.items():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
        assert {sha256 for sha256 in told if len(sha256) == 64} <= set(stored)
