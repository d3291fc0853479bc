import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pixmo.export.folder import (
    ExportRunning,
    FolderTaken,
    FolderUnwritable,
    clean_up,
    lock,
    new_folder,
    place,
    sync,
    writable,
)  # fmt: skip

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from pathlib import Path
from pixmo.export.folder import lock, new_folder
with lock(Path(sys.argv[1], ".cap.lock")), new_folder(Path(sys.argv[1], "cap@1.0.0")) as folder:
    (folder / "half").write_text("half")
    print("held", flush=True)
    sys.stdin.readline()
"""
FULL = """
import resource, sys
from pathlib import Path
from pixmo.export.folder import new_folder, writable
from tests.export.writing import PHOTOS, SMALL, photos, write
root = Path(sys.argv[1])
table, stored = photos(range(1, 61), size=4_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
for make in (lambda: write(root / "work", table, PHOTOS, SMALL, load=stored.__getitem__), lambda: place()):
    def place():
        with new_folder(root / "cap@1.0.0") as folder:
            (folder / "data").mkdir()
            (folder / "data" / "small").write_bytes(bytes(1_000))
            (folder / "data" / "large").write_bytes(bytes(50_000))
    try:
        with writable(root):
            make()
    except Exception as error:
        print(type(error).__name__, error)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def run(program: str, *arguments: str | Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_new_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "cap@1.0.0"
    with new_folder(target) as new:
        assert new.parent == tmp_path
        assert new.name.startswith(".cap@1.0.0.new-")
        (new / "data").mkdir()
        (new / "data/rows").write_text("one")
        assert not target.exists()
    assert (target / "data/rows").read_text() == "one"
    assert names(tmp_path) == ["cap@1.0.0"]


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with new_folder(tmp_path / "cap@1.0.0") as new:
            (new / "data").mkdir()
            (new / "data/rows").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names(tmp_path) == []


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("a file")
    (tmp_path / "link").symlink_to("full")
    (tmp_path / "dangling").symlink_to("nowhere")
    before = names(tmp_path)
    for name in before:
        with pytest.raises(FolderTaken, match=f"{name} exists already"), new_folder(tmp_path / name) as new:
            (new / "rows").write_text("new")
    assert names(tmp_path) == before
    assert names(tmp_path / "full") == ["thesis.tex"]
    assert (tmp_path / "file").read_text() == "a file"


def test_what_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "cap@1.0.0"
    with pytest.raises(FolderTaken), new_folder(target) as new:
        (new / "rows").write_text("late")
        with new_folder(target) as other:
            (other / "rows").write_text("first")
    assert (target / "rows").read_text() == "first"
    assert names(tmp_path) == ["cap@1.0.0"]


def test_what_killed_exports_left_is_cleaned_up(tmp_path: Path) -> None:
    for name in (".cap@1.0.0.new-0a", ".cap@2.0.0.new-1b", ".cap-qa@1.0.0.new-2c", ".cap.work", "cap@1.0.0"):
        (tmp_path / name / "data").mkdir(parents=True)
    clean_up(tmp_path, "cap")
    assert names(tmp_path) == [".cap-qa@1.0.0.new-2c", ".cap.work", "cap@1.0.0"]
    clean_up(tmp_path / "missing", "cap")


def test_a_lock_is_held_once_and_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / ".cap.lock"
    for _ in range(2):
        with lock(path):
            with lock(tmp_path / ".points.lock"):
                assert names(tmp_path) == [".cap.lock", ".points.lock"]
            with pytest.raises(ExportRunning, match="Wait until it ends"), lock(path):
                raise AssertionError("two hold the lock")
        assert names(tmp_path) == []


def test_a_lock_is_let_go_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), lock(tmp_path / ".cap.lock"):
        raise KeyError
    with lock(tmp_path / ".cap.lock"):
        assert names(tmp_path) == [".cap.lock"]


def test_another_process_holds_the_lock_until_it_ends(tmp_path: Path) -> None:
    holder = run(HOLD, tmp_path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(ExportRunning), lock(tmp_path / ".cap.lock"):
        raise AssertionError("two hold the lock")
    assert len(names(tmp_path)) == 2
    holder.communicate("end\n", timeout=60)
    assert holder.returncode == 0
    assert names(tmp_path) == ["cap@1.0.0"]
    with lock(tmp_path / ".cap.lock"):
        assert names(tmp_path / "cap@1.0.0") == ["half"]


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    holder = run(HOLD, tmp_path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGKILL)
    holder.communicate(timeout=60)
    assert [name.partition("-")[0] for name in names(tmp_path)] == [".cap.lock", ".cap@1.0.0.new"]
    with lock(tmp_path / ".cap.lock"):
        clean_up(tmp_path, "cap")
        assert names(tmp_path) == [".cap.lock"]
    assert names(tmp_path) == []


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: writing fails half-way, in pyarrow and in Python."""
    output, _ = run(FULL, tmp_path).communicate(timeout=60)
    message = (
        f"FolderUnwritable {tmp_path} cannot be written: {os.strerror(errno.EFBIG)}. Check free space and permissions, "
        "then start again: what is finished is kept.\n"
    )
    assert output == message * 2
    assert names(tmp_path) == ["work"]
    assert {path.suffix for path in (tmp_path / "work").iterdir()} <= {".parquet"}


def test_errors_of_the_disk_are_told_and_others_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    refused = pytest.raises(FolderUnwritable, match=r"file cannot be written: Not a directory\. Check free space")
    with refused, writable(tmp_path / "file"), new_folder(tmp_path / "file/cap@1.0.0"):
        raise AssertionError("unreachable")
    with pytest.raises(OSError, match="no number"), writable(tmp_path):
        raise OSError("no number")
    with pytest.raises(FolderTaken), writable(tmp_path), new_folder(tmp_path / "file"):
        pass
    assert names(tmp_path) == ["file"]


def test_the_same_file_is_linked(tmp_path: Path) -> None:
    source, target = tmp_path / "one", tmp_path / "deep/er/two"
    source.write_text("rows")
    place(source, target)
    assert target.samefile(source)
    with pytest.raises(FileExistsError):
        place(source, target)
    with pytest.raises(FileNotFoundError):
        place(tmp_path / "missing", tmp_path / "three")
    sync(tmp_path)


def test_a_file_of_another_file_system_is_copied(tmp_path: Path) -> None:
    """Files of /proc lie on another file system, where this one's cannot be linked from."""
    place(Path("/proc/self/stat"), tmp_path / "copy")
    assert (tmp_path / "copy").read_text().startswith(f"{os.getpid()} ")
