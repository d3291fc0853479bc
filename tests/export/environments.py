"""Environments with other releases of `datasets`, made once and kept below `.cache/`."""

import fcntl
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache" / "readers"
RELEASES = {
    "2.21.0": (
        "datasets==2.21.0",
        "huggingface_hub<0.25",
        "pandas<2.3",
        "numpy<2; python_version < '3.13'",
        "pyarrow<18; python_version < '3.13'",
    ),
    "3.1.0": ("datasets==3.1.0", "huggingface_hub<1", "pandas<3", "pyarrow<19"),
    "newest": ("datasets",),
}
"""What is installed besides Pillow: old releases with what was current in their time, and whatever is newest."""

WEEK = 7 * 24 * 3600
_MARKER = "finished.json"


@contextmanager
def environment(folder: Path, requirements: Sequence[str]) -> Iterator[Path]:
    """The interpreter of an environment in `folder` that has `requirements`; it stays as it is until the end.

    It is made if it is not there, if it was not finished, or if it is older than a week and its requirements do not
    pin a version, so that newer ones can be found. Raises `RuntimeError` with what `uv` said.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        python = folder / "bin" / "python"
        identity = json.dumps([sys.version, *requirements])
        if not _is_usable(folder, identity, requirements):
            shutil.rmtree(folder, ignore_errors=True)
            _uv(handle.fileno(), "venv", "--python", sys.executable, str(folder))
            _uv(handle.fileno(), "pip", "install", "--python", str(python), *requirements)
            (folder / _MARKER).write_text(identity, "utf-8")
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield python


def _is_usable(folder: Path, identity: str, requirements: Sequence[str]) -> bool:
    marker = folder / _MARKER
    if not marker.is_file() or marker.read_text("utf-8") != identity:
        return False
    pinned = any("==" in one.partition(";")[0] for one in requirements)
    return pinned or time.time() - marker.stat().st_mtime < WEEK


def _uv(lock: int, *arguments: str) -> None:
    """Run `uv`, which holds the lock as long as it runs, even if its parent is killed."""
    uv = Path(sys.executable).with_name("uv")
    done = subprocess.run([uv, "--quiet", *arguments], pass_fds=[lock], capture_output=True, text=True, timeout=250)
    if done.returncode:
        raise RuntimeError(f"uv {' '.join(arguments)}: {done.stderr}")
