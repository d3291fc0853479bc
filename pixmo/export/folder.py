"""Replacing a folder as a whole: whoever looks sees the old one or the new one, also after a crash.

The new folder is written beside the old one, brought to disk, and exchanged with it in one step of the kernel
(`renameat2`, Linux 3.15). Where that is missing, the old folder is renamed aside first; a crash between the two
renames is put right by the next export.
"""

import ctypes
import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pixmo.errors import Conflict, PixmoError

FORMAT = "pixmo-export-1"
MANIFEST = "manifest.json"
CARD = "README.md"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


class FolderTaken(Conflict):
    """The folder holds something that pixmo did not write, or that was changed since."""

    code = "folder_taken"
    title = "This folder will not be overwritten"


class ExportRunning(Conflict):
    code = "export_running"
    title = "Another export is writing this folder"


class FolderUnwritable(PixmoError):
    """No space, no permission, or a broken disk."""

    status = 500
    code = "folder_unwritable"
    title = "The folder cannot be written"


@contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """An empty folder to write to, which takes the place of `target` when the block ends without an error.

    Only an export of pixmo that nobody changed is replaced. Raises `FolderTaken`, `ExportRunning` and
    `FolderUnwritable`; `target` is then what it was.
    """
    target = Path(os.path.realpath(target.expanduser()))
    try:
        with _replaced(target) as new:
            yield new
    except OSError as error:
        raise FolderUnwritable(f"{target} cannot be written: {error}. Check free space and permissions.") from error


@contextmanager
def _replaced(target: Path) -> Iterator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target):
        _clean_up(target)
        check_own(target)
        new = target.with_name(f".{target.name}.new-{secrets.token_hex(4)}")
        new.mkdir()
        try:
            yield new
            _sync(new)
            check_own(target)
            _put_in_place(new, target)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an export. Raises `FolderTaken` if there is none."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if manifest["format"] == FORMAT:
            return dict(manifest)
    except (OSError, ValueError, LookupError, TypeError):
        pass
    raise FolderTaken(f"{folder} is no export of pixmo.")


def check_own(target: Path) -> None:
    """Whether `target` may be replaced: it is missing, empty, or an export as pixmo wrote it. Raises `FolderTaken`."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    try:
        manifest = read_manifest(target)
    except FolderTaken:
        raise FolderTaken(f"{target} holds something that pixmo did not write. Export to another folder.") from None
    known = {file["path"]: file for file in manifest["files"]}
    for path in sorted(target.rglob("*")):
        name = path.relative_to(target).as_posix()
        if path.is_file() and name not in known and name != MANIFEST:
            raise FolderTaken(f"{target} holds {name}, which pixmo did not write. Move it away or export elsewhere.")
    card = (target / CARD).read_bytes() if (target / CARD).is_file() else b""
    if hashlib.sha256(card).hexdigest() != known[CARD]["sha256"]:
        raise FolderTaken(f"{target / CARD} was edited. Move it away with its folder, or export to another folder.")


def _put_in_place(new: Path, target: Path) -> None:
    if not target.exists():
        new.rename(target)
    elif not _exchange(new, target):
        _rename_aside(new, target)
    _sync_folder(target.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step; False where the system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(second))


def _rename_aside(new: Path, target: Path) -> None:
    aside = _aside(target)
    target.rename(aside)
    new.rename(target)
    _sync_folder(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def _clean_up(target: Path) -> None:
    """Undo what an export that was killed left behind."""
    aside = _aside(target)
    if aside.is_dir() and not target.exists():
        aside.rename(target)
        _sync_folder(target.parent)
    shutil.rmtree(aside, ignore_errors=True)
    for left in target.parent.iterdir():
        if left.name.startswith(f".{target.name}.new-"):
            shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _lock(target: Path) -> Iterator[None]:
    """Hold a lock file beside `target`; the kernel lets it go if the process dies."""
    path = target.with_name(f".{target.name}.lock")
    while True:
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise ExportRunning(f"Another export is writing {target}. Wait until it ends.") from None
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


def _sync(folder: Path) -> None:
    """Bring all files and names below `folder` to disk."""
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir():
            _sync_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
