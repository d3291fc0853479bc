"""A worker process with jobs that succeed, fail, hang or kill it: `python -m tests.toy_worker STORE SILENCE`."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from pixmo.context import Context
from pixmo.jobs import Job, Parked, Worker
from pixmo.settings import Settings


def _note(context: Context, line: str) -> None:
    with (context.settings.store_dir / "notes").open("a") as file:
        file.write(line + "\n")


def _count(context: Context, line: str) -> int:
    return (context.settings.store_dir / "notes").read_text().splitlines().count(line)


def write(context: Context, subject: str) -> None:
    _note(context, f"write {subject}")


def slow(context: Context, subject: str) -> None:
    _note(context, f"begin {subject}")
    if _count(context, f"begin {subject}") == 1:
        time.sleep(60)
    _note(context, f"end {subject}")


def flaky(context: Context, subject: str) -> None:
    _note(context, f"flaky {subject}")
    if _count(context, f"flaky {subject}") < 3:
        raise OSError("the disk is busy")


def broken(context: Context, subject: str) -> None:
    _note(context, f"broken {subject}")
    raise ValueError("this file is broken")


def hopeless(context: Context, subject: str) -> None:
    _note(context, f"hopeless {subject}")
    raise Parked("no model for this language")


def deadly(context: Context, subject: str) -> None:
    _note(context, f"deadly {subject}")
    os.kill(os.getpid(), signal.SIGKILL)


JOBS = [Job(run.__name__, run) for run in (write, slow, flaky, broken, hopeless, deadly)]


def main() -> None:
    settings = Settings(
        data_dir=Path(sys.argv[1]), worker_silence_seconds=float(sys.argv[2]), job_attempts=3, job_backoff_seconds=0.05
    )
    worker = Worker(Context.open(settings), JOBS)
    worker.start()
    print("ready", flush=True)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    stop.wait()
    worker.stop()


if __name__ == "__main__":
    main()
