import json
import os
import zipfile
from pathlib import Path

import pytest

from pixmo.images.normalise import Reason
from pixmo.images.sources import (
    Archive,
    FileAt,
    Folder,
    Meta,
    Refused,
    RowList,
    Single,
    UrlAt,
    ZipMember,
    item_at,
    item_at_url,
    parse_row,
    printable,
)  # fmt: skip
from tests.images.conftest import encoded, picture


def reason(item: object) -> str:
    locator = item.locator  # type: ignore[attr-defined]
    assert isinstance(locator, Refused)
    return locator.detail


def test_meta_fills_what_is_missing() -> None:
    assert Meta("street").or_else(Meta("sea", "CC0")) == Meta("street", "CC0")
    with pytest.raises(ValueError, match="licence is longer than 120"):
        Meta(licence="x" * 121)


def test_names_are_safe_to_print() -> None:
    assert printable("👩\u200d🚀\u00a0à") == "👩\u200d🚀\u00a0à"
    assert printable("a\x1b[31mb\nc\udcff ü") == "a\\x1b[31mb\\nc\\udcff ü"


def test_a_folder_in_order_without_what_is_hidden(tmp_path: Path) -> None:
    for name in ("b/2.PNG", "b/10.jpg", "a.webp", "c", ".hidden.jpg", ".git/x.jpg", "__MACOSX/y.jpg", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    folder = Folder(tmp_path)
    names = [Path(item.name).relative_to(tmp_path).as_posix() for item in folder.items()]
    assert names == ["a.webp", "c", "b/10.jpg", "b/2.PNG"]
    assert folder.count() == 4
    assert folder.ignored == 2


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    scandir = os.scandir

    def guarded(path: str) -> object:
        if str(path) == str(closed):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)  # root, as which tests may run, can read everything
    (item,) = Folder(tmp_path).items()
    assert item.name == str(closed)
    assert reason(item) == "Permission denied"


def test_a_file_is_known_by_name_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"one")
    os.utime(path, ns=(5, 7))
    before = item_at(path)
    assert before.key == f"file:{path}|3|7"
    assert before.locator == FileAt(str(path))
    path.write_bytes(b"two!")
    assert item_at(path).key != before.key


@pytest.mark.parametrize("name", ["absent.jpg", "nul\0byte.jpg"])
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    assert reason(item_at(tmp_path / name))


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert reason(item_at(tmp_path / "pipe.jpg")) == "not a regular file"


def test_an_undecodable_name(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg"))
    path.write_bytes(b"x")
    (item,) = Folder(tmp_path).items()
    assert item.name.endswith("\\udcff.jpg")
    item.key.encode()
    assert isinstance(item.locator, FileAt)
    assert Path(item.locator.path).read_bytes() == b"x"


def test_an_archive_keeps_odd_names_inside(tmp_path: Path) -> None:
    path = tmp_path / "some.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in (
            "../../evil.jpg",
            "/abs.jpg",
            "a/b.png",
            "a/.DS_Store",
            "__MACOSX/a/._b.png",
            "read.me",
            "a/b.png",
        ):
            if name != "a/b.png" or "a/b.png" not in archive.namelist():
                archive.writestr(name, encoded(picture()))
        archive.mkdir("empty")
    source = Archive(path)
    items = list(source.items())
    assert [item.name for item in items] == [f"{path}:{name}" for name in ("../../evil.jpg", "/abs.jpg", "a/b.png")]
    assert items[0].locator == ZipMember(str(path), 0)
    assert (source.count(), source.ignored) == (3, 3)


@pytest.mark.parametrize("data", [b"", b"PK\3\4 no archive", b"PK\5\6" + b"\xff" * 18])
def test_a_broken_archive_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "broken.zip"
    path.write_bytes(data)
    (item,) = Archive(path).items()
    assert item.name == str(path)
    assert isinstance(item.locator, Refused)
    assert item.locator.reason == Reason.CORRUPT


def test_a_csv_with_all_columns_and_bad_rows(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    digest = "AB" * 32
    lines = [
        "Path,url,sha256,topic,License,attribution,source_url",
        "a.jpg,,,street,CC0,Archive,https://example.org/a",
        f",https://example.org/b.jpg,{digest},,,,",
        "https://example.org/c.jpg,,,,,,",
        ",,,nothing,,,",
        "a.jpg,,abc,,,,",
        f"a.jpg,,,{'t' * 121},,,",
        "",
        "missing.jpg,,,,,,",
    ]
    path = tmp_path / "list.csv"
    path.write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    source = RowList(path)
    items = list(source.items())
    assert source.count() == 8
    assert items[0].locator == FileAt(str(tmp_path / "a.jpg"))
    assert items[0].meta == Meta("street", "CC0", "Archive", "https://example.org/a")
    assert (items[1].locator, items[1].sha256) == (UrlAt("https://example.org/b.jpg"), digest.lower())
    assert items[1].meta.source_url == "https://example.org/b.jpg"
    assert items[2].locator == UrlAt("https://example.org/c.jpg")
    assert [reason(item) for item in items[3:]] == [
        "the row has neither a path nor a url",
        "sha256 is not 64 hexadecimal digits",
        "the topic is longer than 120 characters",
        "No such file or directory",
    ]
    assert items[3].name == f"{path}:5"


def test_a_csv_goes_on_after_a_row_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("url\n" + "x" * 200_000 + "\nhttps://example.org/a.jpg\n")
    items = list(RowList(path).items())
    assert "not CSV" in reason(items[0])
    assert items[-1].locator == UrlAt("https://example.org/a.jpg")


def test_json_lines_with_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "list.ndjson"
    rows = [
        json.dumps({"image_url": "https://example.org/a.jpg", "image_sha256": "0" * 64, "license": "CC0", "topic": 7}),
        "{not json",
        "[1, 2]",
        "",
        json.dumps({"path": None, "url": {"no": "text"}}),
        "[" * 100_000,
    ]
    path.write_text("\n".join(rows))
    items = list(RowList(path).items())
    assert items[0].locator == UrlAt("https://example.org/a.jpg")
    assert items[0].meta == Meta("7", "CC0", None, "https://example.org/a.jpg")
    assert items[0].sha256 == "0" * 64
    assert [reason(item).split(":")[0] for item in items[1:]] == [
        "not JSON",
        "not a JSON object",
        "the row has neither a path nor a url",
        "not JSON",
    ]


def test_a_path_with_a_url_beside_it_names_its_source() -> None:
    row = parse_row({"file_name": "a.jpg", "url": "https://example.org/a.jpg"})
    assert (row.path, row.meta.source_url) == ("a.jpg", "https://example.org/a.jpg")


def test_the_same_rows_have_the_same_keys(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("url,sha256\nhttps://example.org/a.jpg,\n,\n")
    assert [item.key for item in RowList(path).items()] == [item.key for item in RowList(path).items()]


def test_single_items() -> None:
    source = Single([item_at_url("https://example.org/a.jpg")])
    assert source.count() == 1
    assert [item.key for item in source.items()] == ["url:https://example.org/a.jpg|"]
