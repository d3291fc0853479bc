"""The process that meets untrusted bytes: `python -m pixmo.images.worker`, driven through its pipes.

It stands alone so that a file which exhausts its memory or time ends it and nothing else, and so that it ends with
its parent: when standard input closes, there is no more work. Each job is one JSON line, followed by the image's
bytes if they are sent along; each answer is one JSON line.
"""

import json
import os
import resource
import sys
import time
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO

from PIL import AvifImagePlugin, Image

from pixmo.images.formats import BLOBS, HEAD_BYTES, ORIGINALS, sniff
from pixmo.images.normalise import BadImage, Limits, Normalised, Reason, normalise
from pixmo.storage import Storage

KIND = "images"
"""The kind of blob that images are stored as."""
READY = b"ready\n"
"""The first line of a worker that started well."""


@dataclass(frozen=True)
class WorkerLimits:
    """What one worker process may use."""

    memory_bytes: int = 4 * 2**30
    """Address space; an image of 80 million pixels with transparency needs about half of it."""
    cpu_seconds: int = 120
    """For one image."""


def _read_file(path: str, max_bytes: int) -> bytes:
    try:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > max_bytes:
                raise BadImage(Reason.TOO_LARGE, f"{size:,} bytes, the limit is {max_bytes:,}")
            return file.read(max_bytes + 1)
    except OSError as error:
        raise BadImage(Reason.UNREADABLE, error.strerror or str(error)) from None


@lru_cache(maxsize=4)
def _archive(path: str) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def _read_member(path: str, index: int, max_bytes: int) -> bytes:
    """A zip member's bytes. What is not an image is not inflated beyond its first bytes."""
    try:
        archive = _archive(path)
        member = archive.infolist()[index]
        if member.file_size > max_bytes:
            raise BadImage(Reason.TOO_LARGE, f"{member.file_size:,} bytes, the limit is {max_bytes:,}")
        with archive.open(member) as file:
            head = file.read(HEAD_BYTES)
            return head + file.read(max_bytes + 1 - len(head)) if sniff(head) else head
    except (zipfile.BadZipFile, zlib.error, EOFError, IndexError) as error:
        raise BadImage(Reason.CORRUPT, f"{type(error).__name__}: {error}") from None
    except (OSError, RuntimeError, NotImplementedError) as error:  # encrypted, or an unknown compression
        raise BadImage(Reason.UNREADABLE, str(error)) from None


def _read(job: dict[str, Any], pipe: BinaryIO, max_bytes: int) -> bytes:
    if "bytes" in job:
        return pipe.read(job["bytes"])
    if "index" in job:
        return _read_member(job["path"], job["index"], max_bytes)
    return _read_file(job["path"], max_bytes)


def _stored(data: bytes, image: Normalised, storage: Storage) -> dict[str, Any]:
    """The columns of an image's row. Its blobs are on disk when this returns."""
    columns = {name: value for name, value in vars(image).items() if not isinstance(value, bytes)}
    with ThreadPoolExecutor(4) as threads:  # the disk is waited for once, not four times
        original = threads.submit(storage.put, ORIGINALS, data)
        digests = threads.map(partial(storage.put, BLOBS), (image.served, image.web, image.thumb))
        columns |= zip(("served_sha256", "web_sha256", "thumb_sha256"), digests, strict=True)
        original.result()
    return columns


def _answer(job: dict[str, Any], pipe: BinaryIO, limits: Limits, storage: Storage) -> dict[str, Any]:
    try:
        data = _read(job, pipe, limits.max_bytes)
        image = normalise(data, limits, job["sha256"])
    except BadImage as bad:
        return {"bad": bad.reason, "detail": bad.detail}
    except MemoryError:
        return {"bad": Reason.BOMB, "detail": "needs more memory than a worker may use"}
    try:
        return {"image": _stored(data, image, storage)}
    except OSError as error:
        return {"broken": f"the store cannot be written: {error.strerror}"}


def _limit(what: int, value: int) -> None:
    """Lower a soft limit of this process, within its hard limit."""
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def command(storage: Storage, limits: Limits, worker: WorkerLimits) -> tuple[list[str], dict[str, str]]:
    """The command line and environment that start a worker with the modules of this process."""
    config = json.dumps([str(storage.root), asdict(limits), asdict(worker)])
    path = os.pathsep.join(filter(None, sys.path))
    environment = os.environ | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}  # a process for each core is enough
    return [sys.executable, "-P", "-m", "pixmo.images.worker", config], environment


def main() -> None:
    root, limits, worker = json.loads(sys.argv[1])
    limits, worker, storage = Limits(**limits), WorkerLimits(**worker), Storage(Path(root))
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    Image.MAX_IMAGE_PIXELS = limits.max_pixels  # Pillow refuses twice as many, also where only it looks
    _limit(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":  # macOS neither enforces nor accepts it
        _limit(resource.RLIMIT_AS, worker.memory_bytes)
    jobs, answers = sys.stdin.buffer, sys.stdout.buffer
    answers.write(READY)
    answers.flush()
    for line in iter(jobs.readline, b""):
        _limit(resource.RLIMIT_CPU, int(time.process_time()) + 1 + worker.cpu_seconds)
        answers.write(json.dumps(_answer(json.loads(line), jobs, limits, storage)).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
