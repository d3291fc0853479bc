"""Run by `test_crash.py` in a process of its own: export in a child, kill it, look, go on, compare.

Every trial begins with a fresh copy of the store and ends with the same versions, byte for byte, as those that were
made there without an interruption.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow

from pixmo import pipeline
from pixmo.context import Context
from pixmo.export import compose, segments, service
from pixmo.export.sets import data_set
from pixmo.export.verification import verify
from pixmo.settings import Settings
from tests.export.filling import tree

EXPORTS = Path("exports")


def export() -> None:
    """Two versions. What is there already is not made again."""
    context = Context.open(Settings())
    service.create(context, "cap")
    service.create(context, "cap", images="url")
    context.close()


def child(work: Callable[[], None]) -> int:
    """The id of a process that does `work`."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
        os._exit(0)
    return pid


def killed(pid: int) -> bool:
    """Wait for a child; whether it was killed. It must not have failed."""
    status = os.waitpid(pid, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status == signal.SIGKILL


def fresh(store: Path) -> None:
    """A copy of the store, and nothing exported."""
    shutil.rmtree(EXPORTS, ignore_errors=True)
    shutil.rmtree("pixmo-data", ignore_errors=True)
    shutil.copytree(store, "pixmo-data")


def look(seen: dict[str, int]) -> None:
    """Every version that can be seen is whole, whatever was cut short. Counts what lies about."""
    for folder in EXPORTS.glob("cap@*"):
        verify(folder)
        seen["visible"] += 1
    seen["unfinished"] += any(EXPORTS.glob(".cap@*.new-*"))


def written(paths: Iterable[Path]) -> set[tuple[int, int]]:
    """Which files these are on disk, and when they were written."""
    return {(path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def go_on(whole: dict[str, str], seen: dict[str, int]) -> None:
    """The next run ends with the versions that were to be made, of the segments that were finished before."""
    finished = written(EXPORTS.glob(".cap.work/[0-9a-f]*.parquet"))
    assert not killed(child(export))
    assert tree(EXPORTS) == whole
    assert finished <= written(EXPORTS.rglob("*.parquet")), "a finished segment was written again"
    seen["segments used again"] += len(finished)


def at_random(store: Path, trials: int) -> dict[str, int]:
    """Kill at any moment of an export."""
    fresh(store)
    begin = time.monotonic()
    assert not killed(child(export))
    seconds, whole = time.monotonic() - begin, tree(EXPORTS)
    seen = dict.fromkeys(("killed", "visible", "unfinished", "segments used again"), 0)
    rng = random.Random(7)
    while seen["killed"] < trials:
        fresh(store)
        pid = child(export)
        time.sleep(seconds * (seen["killed"] + rng.random()) / trials)
        os.kill(pid, signal.SIGKILL)
        if not killed(pid):
            seconds *= 0.8  # it was done already: the machine is faster than it was
            continue
        seen["killed"] += 1
        look(seen)
        go_on(whole, seen)
    return seen


def dies(module: Any, name: str, *, after: int = 0, call: bool = False) -> Callable[[], None]:
    """An export that is killed when it calls a function for the time after `after`: before it, or with `call` after."""

    def work() -> None:
        original, calls = getattr(module, name), [0]

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            calls[0] += 1
            done = original(*args, **kwargs) if call or calls[0] <= after else None
            if calls[0] > after:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        setattr(module, name, wrapped)
        export()

    return work


MOMENTS = {
    "between two segments": [dies(segments.SegmentWriter, "_write", after=3)],
    "before a segment has its name": [dies(os, "fsync", after=2, call=True)],
    "while the folder is put together": [dies(compose, "croissant")],
    "between place and record": [dies(service, "_record")],
    "between place and record of the second": [dies(service, "_record", after=1)],
    "after the record": [dies(service, "_record", call=True)],
    "twice between place and record": [dies(service, "_record"), dies(service, "_record")],
    "while what has no record is removed": [dies(service, "_record"), dies(shutil, "rmtree")],
}
"""What is cut short, one child after another."""


def at_moments(store: Path) -> dict[str, dict[str, int]]:
    """Kill at each of `MOMENTS`."""
    fresh(store)
    assert not killed(child(export))
    whole, report = tree(EXPORTS), {}
    for moment, works in MOMENTS.items():
        seen = dict.fromkeys(("killed", "visible", "unfinished", "segments used again"), 0)
        fresh(store)
        for work in works:
            seen["killed"] += killed(child(work))
            look(seen)
        go_on(whole, seen)
        report[moment] = seen
    return report


def main(store: Path, trials: int) -> None:
    """`trials` random moments, or all chosen ones if it is 0. Prints what was seen, as JSON."""
    pyarrow.array([1])  # imports the rest of pyarrow here and not in every child
    pipeline.load("cap")
    data_set("cap")
    print(json.dumps(at_random(store, trials) if trials else at_moments(store)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
