"""New folders as a whole: whoever looks sees none or a finished one, also after a crash."""

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pixmo.errors import Conflict, PixmoError


class FolderTaken(Conflict):
    """There is something already where a version should go."""

    code = "folder_taken"
    title = "This folder will not be overwritten"


class ExportRunning(Conflict):
    code = "export_running"
    title = "Another export is at work"


class FolderUnwritable(PixmoError):
    """No space, no permission, or a broken disk."""

    status = 500
    code = "folder_unwritable"
    title = "The folder cannot be written"


@contextmanager
def writable(place: Path) -> Iterator[None]:
    """Turn what the system says about a disk into `FolderUnwritable`."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise FolderUnwritable(
            f"{place} cannot be written: {error.strerror}. Check free space and permissions, then start again: "
            "what is finished is kept."
        ) from error


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """An empty folder to write to, which becomes `target` when the block ends without an error.

    Raises `FolderTaken` if there is something at `target`; then, and after every other error, nothing is left behind.
    """
    new = target.with_name(f".{target.name}.new-{secrets.token_hex(4)}")
    new.mkdir()
    try:
        yield new
        sync(new)
        try:
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, "exists")
            new.rename(target)
        except FileExistsError:
            raise FolderTaken(f"{target} exists already. Versions are never overwritten.") from None
        sync_folder(target.parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def clean_up(parent: Path, name: str) -> None:
    """Remove unfinished folders that a process left when it was killed. Call it with the lock held."""
    for left in parent.glob(f".{name}@*.new-*"):
        shutil.rmtree(left, ignore_errors=True)


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a lock file; the kernel lets it go if the process dies. Raises `ExportRunning`."""
    while True:
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise ExportRunning("Another export of this data set is at work here. Wait until it ends.") from None
        with suppress(FileNotFoundError):
            # The holder before may have removed the file that was opened here.
            if os.path.samestat(os.fstat(handle), path.stat()):
                break
        os.close(handle)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def place(source: Path, target: Path) -> None:
    """The same file at `target`: linked where the system can, else copied. Files of versions are never changed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        shutil.copyfile(source, target)


def sync(folder: Path) -> None:
    """Bring all files and names below `folder` to disk."""
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
