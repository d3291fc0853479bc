from pathlib import Path
from typing import IO

import pytest

from pixmo.export.journal import Journal, JournalTaken

ABOUT = {"format": "test", "kind": 1}
HEADER = b'{"format": "test", "kind": 1}\n'


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return tmp_path / "report.txt"


@pytest.fixture
def journal(report: Path) -> Path:
    return report.with_name("report.txt.journal")


def test_rows_are_there_again(report: Path, journal: Path) -> None:
    with Journal.open(report, ABOUT) as first:
        first.append([{"a": 1}, {"a": "ü\n"}])
    with Journal.open(report, ABOUT) as second:
        assert list(second.rows()) == [{"a": 1}, {"a": "ü\n"}]
        second.append([{"a": 3}])
        assert len(list(second.rows())) == 3
    assert journal.read_bytes().startswith(HEADER)


@pytest.mark.parametrize("torn", [b'{"a": 2', b'{"a": 2}', b"\0\0\0\0", b"\0\0\n", b'2}\n{"a": 3}\n'])
def test_a_torn_end_is_cut_off(report: Path, journal: Path, torn: bytes) -> None:
    journal.write_bytes(HEADER + b'{"a": 1}\n' + torn)
    with Journal.open(report, ABOUT) as opened:
        assert list(opened.rows()) == [{"a": 1}]
        opened.append([{"a": 4}])
    assert journal.read_bytes() == HEADER + b'{"a": 1}\n{"a": 4}\n'


@pytest.mark.parametrize("length", [0, 1, len(HEADER) - 1])
def test_a_journal_without_a_whole_first_line_begins_anew(report: Path, journal: Path, length: int) -> None:
    journal.write_bytes(HEADER[:length])
    with Journal.open(report, ABOUT) as opened:
        assert list(opened.rows()) == []
    assert journal.read_bytes() == HEADER


@pytest.mark.parametrize("other", [b"my notes", b"my notes\n", HEADER.replace(b"1", b"2")])
def test_what_is_no_journal_of_this_stays(report: Path, journal: Path, other: bytes) -> None:
    journal.write_bytes(other)
    with pytest.raises(JournalTaken, match="remove the file"), Journal.open(report, ABOUT):
        pass
    assert journal.read_bytes() == other


def test_one_process_at_a_time(report: Path) -> None:
    with (
        Journal.open(report, ABOUT),
        pytest.raises(JournalTaken, match="Another run is at work"),
        Journal.open(report, ABOUT),
    ):
        pass


def test_the_report_takes_the_place_of_the_journal(report: Path, journal: Path) -> None:
    report.write_text("old")

    def fail(file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError("no space")

    with Journal.open(report, ABOUT) as opened:
        with pytest.raises(OSError, match="no space"):
            opened.finish(fail)
        assert report.read_text() == "old"
        opened.finish(lambda file: file.write(b"new"))
    assert [path.name for path in report.parent.iterdir()] == ["report.txt"]
    assert report.read_text() == "new"
