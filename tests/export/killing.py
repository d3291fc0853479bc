"""Run by `test_crash.py` in a process of its own: export in a child, kill it at a random moment, look, repeat."""

import hashlib
import json
import os
import random
import signal
import sys
import time
from itertools import cycle
from pathlib import Path

import pyarrow

from pixmo import export, pipeline
from pixmo.context import Context
from pixmo.settings import Settings

LICENCES = ("odc-by", "cc-by-4.0")


def export_for_ever(store: Path, folder: Path, licences: list[str], signal_to: int) -> None:
    """Write a byte to the pipe before every export."""
    context = Context.open(Settings(data_dir=store))
    for licence in cycle(licences):
        os.write(signal_to, b".")
        export.cap(context.db, context.storage, context.settings, folder, licence=licence)


def state(folder: Path) -> str:
    """The licence of the whole export that lies in `folder`; fails if it is not whole."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {file["path"] for file in manifest["files"]} | {"manifest.json"}, names
    for file in manifest["files"]:
        assert hashlib.sha256((folder / file["path"]).read_bytes()).hexdigest() == file["sha256"], file
    card = (folder / "README.md").read_text()
    (found,) = [licence for licence in LICENCES if f"license: {licence}\n" in card]
    return found


def main(store: Path, folder: Path, trials: int) -> None:
    pyarrow.array([1])  # imports the rest of pyarrow here and not in every child
    pipeline.load("cap")
    random.seed(7)
    seen: list[str] = []
    interrupted = 0
    for trial in range(trials):
        turn = list(LICENCES) if trial % 2 else list(LICENCES[::-1])
        listen, signal_to = os.pipe()
        child = os.fork()
        if child == 0:
            export_for_ever(store, folder, turn, signal_to)
        os.close(signal_to)
        os.read(listen, 1)
        begin = time.monotonic()
        os.read(listen, 1)  # one export is done, the next begins
        time.sleep(random.uniform(0, time.monotonic() - begin))
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        os.close(listen)
        interrupted += any(path.name.startswith(f".{folder.name}.new-") for path in folder.parent.iterdir())
        seen.append(state(folder))
    child = os.fork()
    if child == 0:
        context = Context.open(Settings(data_dir=store))
        export.cap(context.db, context.storage, context.settings, folder, licence=LICENCES[0])
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert state(folder) == LICENCES[0]
    left = [path.name for path in folder.parent.iterdir() if path.name.startswith(f".{folder.name}")]
    print(json.dumps({"seen": seen, "interrupted": interrupted, "left": left}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
