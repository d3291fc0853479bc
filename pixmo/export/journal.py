"""Results that survive a crash: appended to a file line by line, and made into a report at the end."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Self

from pixmo.errors import Conflict


class JournalTaken(Conflict):
    """Another run is at work there, or one of something else did not end."""

    code = "journal_taken"
    title = "Something else is being done there"


@contextmanager
def locked(path: Path) -> Iterator[IO[bytes]]:
    """`path`, made if it is not there and held by this process alone; the kernel lets it go if the process dies.

    Raises `JournalTaken` if another process holds it.
    """
    while True:
        file = path.open("a+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise JournalTaken(f"Another run is at work on {path}. Wait until it ends.") from None
        with suppress(FileNotFoundError):
            # The holder before may have removed the file that was opened here.
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
        file.close()
    with file:
        yield file


class Journal:
    """One JSON object a line. The first line says what the others are about."""

    def __init__(self, report: Path | None, file: IO[bytes] | None, start: int) -> None:
        self._report = report
        self._file = file
        self._start = start

    @classmethod
    @contextmanager
    def open(cls, report: Path | None, about: dict[str, Any]) -> Iterator[Self]:
        """The journal of `report`, with the lines of an earlier run about the same; without a report, none is kept.

        Raises `JournalTaken`.
        """
        if report is None:
            yield cls(None, None, 0)
            return
        report.parent.mkdir(parents=True, exist_ok=True)
        path = report.with_name(f"{report.name}.journal")
        with locked(path) as file:
            file.seek(0)
            found, first = file.readline(), json.dumps(about).encode() + b"\n"
            if len(found) < len(first) and first.startswith(found):  # new, or not even its first line was written
                file.truncate(0)
                file.write(first)
                _sync(file)
            elif found != first:
                raise JournalTaken(
                    f"{path} belongs to an unfinished check of other tables, or of another kind. "
                    "Finish that one, remove the file, or choose another report."
                )
            journal = cls(report, file, len(first))
            journal._cut_torn_end()
            yield journal

    def _cut_torn_end(self) -> None:
        """Remove what a crash left half-written at the end."""
        file = self._opened()
        end = file.seek(self._start)
        for line in file:
            if not line.endswith(b"\n") or _parsed(line) is None:
                break
            end += len(line)
        file.truncate(end)

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            raise ValueError("this journal has no file")
        return self._file

    def rows(self) -> Iterator[dict[str, Any]]:
        """All that was appended, also by earlier runs."""
        if self._file is not None:
            self._file.seek(self._start)
            for line in self._file:
                yield json.loads(line)

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Add rows; they are on disk when this returns."""
        if self._file is not None:
            self._file.write(b"".join(json.dumps(row).encode() + b"\n" for row in rows))  # always at the end
            _sync(self._file)

    def finish(self, write: Callable[[IO[bytes]], object]) -> None:
        """Put the report that `write` writes in its place, as a whole, and remove the journal."""
        if self._report is None:
            return
        new = self._report.with_name(f".{self._report.name}.new")
        try:
            with new.open("wb") as file:
                write(file)
                _sync(file)
            new.replace(self._report)
        finally:
            new.unlink(missing_ok=True)
        Path(self._opened().name).unlink()


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
