"""All cores at work on images: worker processes, each with one image at a time."""

import json
import os
import queue
import signal
import subprocess
import tempfile
from typing import IO, Any, Self, cast

from pixmo.errors import PixmoError, SetupError
from pixmo.images.normalise import BadImage, Limits, Reason
from pixmo.images.sources import FileAt, Inline, ZipMember
from pixmo.images.worker import READY, WorkerLimits, command
from pixmo.storage import Storage


class StoreBroken(PixmoError):
    """The store cannot take more; the run stops, since no image is to blame."""

    status = 507
    code = "store_broken"
    title = "The store cannot be written"


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Worker:
    """One worker process, started when first needed and again after it died."""

    def __init__(self, argv: list[str], environment: dict[str, str]) -> None:
        self._argv = argv
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the worker

    def _start(self) -> subprocess.Popen[bytes]:
        # A session of its own: an interrupt from the terminal reaches the parent, which lets the work end.
        process = subprocess.Popen(
            self._argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=self._environment,
            start_new_session=True,
        )
        if self._exchange(process, b"") != READY:
            process.communicate()
            raise SetupError(f"An image worker cannot start: {self._last_words()}")
        return process

    @staticmethod
    def _exchange(process: subprocess.Popen[bytes], message: bytes) -> bytes:
        """Send `message` and return the line that answers it, empty if the process died."""
        stdin, stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
        try:
            stdin.write(message)
            stdin.flush()
            return stdout.readline()
        except BrokenPipeError:
            return b""

    def _last_words(self) -> str:
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def run(self, job: dict[str, Any], payload: bytes) -> dict[str, Any]:
        """What the worker answers to a job. If it dies of it, that is the answer."""
        process = self._process
        if process is None or process.poll() is not None:  # it may have died while it had nothing to do
            self._end()
            process = self._process = self._start()
        line = self._exchange(process, json.dumps(job).encode() + b"\n" + payload)
        if line.endswith(b"\n"):
            answer: dict[str, Any] = json.loads(line)
            return answer
        self._end()
        failed = process.returncode > 0
        detail = self._last_words() if failed else f"its worker process {_ending(process.returncode)}"
        return {"bad": Reason.UNREADABLE, "detail": detail}

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.communicate()

    def close(self) -> None:
        self._end()
        self._stderr.close()


def _ending(code: int) -> str:
    if code == -signal.SIGXCPU:
        return "used up its time"
    if code == -signal.SIGKILL:
        return "was killed, most likely for its memory"
    return f"died of {signal.Signals(-code).name}" if code < 0 else "ended"


class Workers:
    """A pool of worker processes. `run` may be called from many threads; each call waits for a free process."""

    def __init__(self, storage: Storage, limits: Limits, worker: WorkerLimits, count: int | None = None) -> None:
        self._free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._all = [_Worker(*command(storage, limits, worker)) for _ in range(count or cores())]
        for one in self._all:
            self._free.put(one)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._all:
            worker.close()

    def run(self, locator: FileAt | ZipMember | Inline, sha256: str | None) -> dict[str, Any]:
        """Read, normalise and store one image.

        Returns the columns of its row; its blobs are on disk by then. Raises `BadImage`, also if the image ended its
        worker process, and `StoreBroken` if the blobs cannot be written.
        """
        payload = locator.data if isinstance(locator, Inline) else b""
        job = {"bytes": len(payload)} if isinstance(locator, Inline) else vars(locator)
        worker = self._free.get()
        try:
            answer = worker.run(job | {"sha256": sha256}, payload)
        finally:
            self._free.put(worker)
        if "bad" in answer:
            raise BadImage(Reason(answer["bad"]), answer["detail"])
        if "broken" in answer:
            raise StoreBroken(f"Ingest stopped: {answer['broken']}. What was taken is kept; run it again.")
        columns: dict[str, Any] = answer["image"]
        return columns
