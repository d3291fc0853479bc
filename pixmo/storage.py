"""Content-addressed blobs: bytes are written once, known by their SHA-256 and on disk before anyone is told so.

A blob belongs to a kind (`images`, `audio`, `chunks`, ...): a folder, so that a person who may read images cannot
reach speech by guessing a hash.
"""

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pixmo.errors import NotFound
from pixmo.ids import is_sha256


class BlobMissing(NotFound):
    code = "blob_missing"


class Storage:
    """Blobs as files under `root/kind/ab/abcdef...`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, kind: str, sha256: str) -> Path:
        """Where a blob lies (or would lie). Raises `BlobMissing` if `sha256` is not a digest."""
        if not is_sha256(sha256):
            raise BlobMissing(f"{sha256!r} is not a SHA-256 digest.")
        return self.root / kind / sha256[:2] / sha256

    def exists(self, kind: str, sha256: str) -> bool:
        return self.path(kind, sha256).is_file()

    def read(self, kind: str, sha256: str) -> bytes:
        """The bytes of a blob. Raises `BlobMissing`."""
        try:
            return self.path(kind, sha256).read_bytes()
        except FileNotFoundError:
            raise BlobMissing(f"No {kind} blob {sha256} is stored.") from None

    def put(self, kind: str, data: bytes) -> str:
        """Store `data` and return its SHA-256 in hex.

        When this returns, the bytes and their name have reached the disk. Storing the same bytes again does nothing;
        a crash leaves either the whole blob or a temporary file that `sweep` removes.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        target = self.path(kind, sha256)
        with suppress(FileNotFoundError):
            os.utime(target)  # new again, so that no sweep takes it for left over
            return sha256
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".part-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return sha256

    def delete(self, kind: str, sha256: str) -> None:
        """Remove a blob that no row names any more."""
        self.path(kind, sha256).unlink(missing_ok=True)

    def sweep(self, *, older_than: float) -> None:
        """Remove temporary files that a crash left more than `older_than` seconds ago."""
        limit = time.time() - older_than
        for path in self.root.glob("*/??/.part-*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < limit:
                    path.unlink()

    def walk(self, kind: str) -> Iterator[tuple[str, Path]]:
        """All blobs of a kind as (sha256, path)."""
        for path in sorted((self.root / kind).glob("??/*")):
            if is_sha256(path.name):
                yield path.name, path
