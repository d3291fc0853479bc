import hashlib
import json
import multiprocessing
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from pixmo.export import folder as module
from pixmo.export.folder import (
    CARD,
    FORMAT,
    MANIFEST,
    ExportRunning,
    FolderTaken,
    FolderUnwritable,
    read_manifest,
    replaced_folder,
)  # fmt: skip


def write(folder: Path, text: str) -> None:
    """What an export leaves, with `text` in it."""
    (folder / "data").mkdir()
    names = {CARD: f"# {text}\n", "data/rows": text}
    for name, content in names.items():
        (folder / name).write_text(content)
    files = [
        {"path": name, "bytes": len(content), "sha256": hashlib.sha256(content.encode()).hexdigest()}
        for name, content in names.items()
    ]
    (folder / MANIFEST).write_text(json.dumps({"format": FORMAT, "files": files}))


def export(target: Path, text: str) -> None:
    with replaced_folder(target) as new:
        write(new, text)


def hidden(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir() if path.name.startswith("."))


def test_a_new_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "cap"
    with replaced_folder(target) as new:
        write(new, "one")
        assert not target.exists()
    assert (target / "data/rows").read_text() == "one"
    assert hidden(target) == []


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "rename aside"])
def test_an_older_export_is_replaced_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(module, "_exchange", lambda first, second: False)
    target = tmp_path / "cap"
    export(target, "one")
    (target / "data/stale").unlink(missing_ok=True)
    with replaced_folder(target) as new:
        write(new, "two")
        assert (target / "data/rows").read_text() == "one"
    assert (target / "data/rows").read_text() == "two"
    assert hidden(target) == []


def test_an_error_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "cap"
    export(target, "one")
    with pytest.raises(FolderUnwritable, match="Check free space"):
        _fail(target)
    assert (target / "data/rows").read_text() == "one"
    assert hidden(target) == []


def _fail(target: Path) -> None:
    """An export that fails half-way, while the old one is there."""
    with replaced_folder(target) as new:
        assert (target / "data/rows").read_text() == "one"
        write(new, "two")
        (new / "data").mkdir()


def test_an_empty_folder_and_a_link_may_be_written(tmp_path: Path) -> None:
    (tmp_path / "cap").mkdir()
    (tmp_path / "link").symlink_to("cap")
    export(tmp_path / "link", "one")
    assert (tmp_path / "cap/data/rows").read_text() == "one"
    assert (tmp_path / "link").is_symlink()


def test_what_pixmo_did_not_write_is_never_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "cap"
    target.mkdir()
    (target / "thesis.tex").write_text("years of work")
    with pytest.raises(FolderTaken, match="pixmo did not write"):
        export(target, "one")
    (target / MANIFEST).write_text('{"format": "something else"}')
    with pytest.raises(FolderTaken, match="pixmo did not write"):
        export(target, "one")
    assert (target / "thesis.tex").read_text() == "years of work"
    (tmp_path / "file").write_text("a file")
    with pytest.raises(FolderTaken):
        export(tmp_path / "file", "one")


def test_a_file_added_to_an_export_is_not_lost(tmp_path: Path) -> None:
    target = tmp_path / "cap"
    export(target, "one")
    (target / "data/notes.txt").write_text("mine")
    with pytest.raises(FolderTaken, match=r"data/notes\.txt"):
        export(target, "two")
    assert (target / "data/notes.txt").read_text() == "mine"


def test_an_edited_card_is_not_lost(tmp_path: Path) -> None:
    target = tmp_path / "cap"
    export(target, "one")
    (target / CARD).write_text("# My own words\n")
    with pytest.raises(FolderTaken, match="was edited"):
        export(target, "two")
    assert (target / CARD).read_text() == "# My own words\n"


def test_what_a_killed_export_left_is_cleaned_up(tmp_path: Path) -> None:
    target = tmp_path / "cap"
    export(target, "one")
    (tmp_path / ".cap.new-0123abcd").mkdir()
    (tmp_path / ".cap.new-0123abcd" / "half").write_text("x")
    (tmp_path / ".cap.old").mkdir()
    (tmp_path / ".caption.new-1").mkdir()
    export(target, "two")
    assert hidden(target) == [".caption.new-1"]
    assert (target / "data/rows").read_text() == "two"


def test_a_kill_between_two_renames_is_put_right(tmp_path: Path) -> None:
    target = tmp_path / "cap"
    export(target, "one")
    target.rename(tmp_path / ".cap.old")
    with pytest.raises(FolderUnwritable, match="Check free space"):
        _fail(target)
    assert (target / "data/rows").read_text() == "one"


def _hold(target: Path, held: Event, done: Event) -> None:
    with replaced_folder(target) as new:
        held.set()
        done.wait(20)
        write(new, "first")


def test_two_exports_do_not_write_one_folder(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("spawn")
    target = tmp_path / "cap"
    held, done = processes.Event(), processes.Event()
    holder = processes.Process(target=_hold, args=(target, held, done))
    holder.start()
    assert held.wait(20)
    with pytest.raises(ExportRunning, match="Wait until it ends"):
        export(target, "second")
    export(tmp_path / "other", "beside")
    done.set()
    holder.join(20)
    assert (target / "data/rows").read_text() == "first"
    export(target, "second")
    assert (target / "data/rows").read_text() == "second"


def test_a_folder_without_manifest_is_no_export(tmp_path: Path) -> None:
    with pytest.raises(FolderTaken, match="no export of pixmo"):
        read_manifest(tmp_path)


def test_a_place_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(FolderUnwritable, match="Check free space"):
        export(tmp_path / "file" / "cap", "one")
