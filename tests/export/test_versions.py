import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from pixmo.context import Context
from pixmo.export.models import DatasetPush, DatasetVersion
from pixmo.export.service import create
from pixmo.export.versions import (
    MANIFEST,
    Folder,
    NoVersion,
    Number,
    VersionInvalid,
    folder_of,
    pushes,
    recorded,
    resolve,
)  # fmt: skip
from tests.export.conftest import IMAGES


@pytest.mark.parametrize("text", ["1.0.0", "0.0.0", "10.20.30", "0.1.999999999"])
def test_numbers_are_read_and_written(text: str) -> None:
    assert str(Number.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "1", "1.0", "1.0.0.0", "01.0.0", "1.00.0", "1.0.01", "1.0.0-rc", "1.0.0+build", "v1.0.0", "1.0.0\n", " 1.0.0",
        "1.0.", "1..0", "-1.0.0", "1,0,0", "1.0.x", "1.0.1٢", "1.0.²", "１.0.0", "1.0.1234567890", "latest", "../1.0.0",
    ],
)  # fmt: skip
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(VersionInvalid, match=r"major\.minor\.patch"):
        Number.parse(text)


def test_numbers_are_ordered_as_numbers() -> None:
    ordered = ["0.9.9", "1.0.0", "1.0.2", "1.0.10", "1.2.0", "1.10.0", "2.0.0", "10.0.0"]
    assert [str(number) for number in sorted(map(Number.parse, reversed(ordered)))] == ordered
    assert Number(1, 2, 3) == Number.parse("1.2.3")


def test_the_parts_after_the_one_that_grows_begin_again() -> None:
    number = Number(1, 2, 3)
    grown = [str(number.bumped(part)) for part in ("patch", "minor", "major")]
    assert grown == ["1.2.4", "1.3.0", "2.0.0"]


@pytest.fixture
def made(filled: Context) -> Folder:
    return create(filled, "cap").folder


def edit(folder: Folder, **values: Any) -> None:
    manifest = json.loads((folder.path / MANIFEST).read_bytes())
    (folder.path / MANIFEST).write_text(json.dumps(manifest | values))


def test_a_folder_is_what_its_manifest_says(made: Folder) -> None:
    assert (made.name, made.number, made.title, made.plain) == ("cap", Number(1, 0, 0), "cap@1.0.0", False)
    assert made.manifest_sha256 == hashlib.sha256((made.path / MANIFEST).read_bytes()).hexdigest()
    assert {file.path for file in made.segments} == {
        path.relative_to(made.path).as_posix() for path in made.path.rglob("*.parquet")
    }
    rows = 0
    for split in ("train", "validation", "test"):
        for default, enriched, index in zip(
            *(made.of(c, split) for c in ("default", "enriched", "index")), strict=True
        ):
            assert default.rows == enriched.rows == index.rows == made.read(enriched).num_rows
            assert made.columns(default) == ["image_url", "caption", "transcripts"]
            assert made.read(enriched, ["image.path"]).to_pylist()[0]["image"].keys() == {"path"}
            rows += index.rows
        found = [row for table in made.index(split) for row in table.to_pylist()]
        assert [row["row_id"] for row in found] == sorted(row["row_id"] for row in found)
        assert all(len(row["annotators"]) == 2 and row["config"] == "default" for row in found)
    assert rows == IMAGES
    assert made.of("default", "withheld") == made.of("nothing", "train") == []


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"[]", b"null", b"7", b'"pixmo-export-2"', b"{}", b'{"format": "pixmo-export-1"}',
        b'{"format": "pixmo-export-2"}', b"\xff\xfe", b'{"format": ["pixmo-export-2"]}',
    ],
)  # fmt: skip
def test_another_manifest_is_no_version(tmp_path: Path, text: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(text)
    with pytest.raises(NoVersion, match="pixmo export NAME"):
        Folder.open(tmp_path)


def test_no_manifest_is_no_version(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(NoVersion):
            Folder.open(path)
    (tmp_path / MANIFEST).mkdir()
    with pytest.raises(NoVersion):
        Folder.open(tmp_path)


def test_a_damaged_segment_is_named(made: Folder) -> None:
    file = next(file for file in made.segments if file.config == "default")
    (made.path / file.path).write_bytes(b"PAR1 but not quite")
    for read in (made.read, made.columns):
        with pytest.raises(NoVersion, match=f"{file.path}.*pixmo verify"):
            read(file)
    (made.path / file.path).unlink()
    with pytest.raises(NoVersion, match=f"{file.path}.*pixmo verify"):
        made.read(file)


def test_versions_are_found_by_name_number_and_folder(filled: Context, made: Folder, tmp_path: Path) -> None:
    second = create(filled, "cap", bump="major").folder
    assert second.title == "cap@2.0.0"
    for context in (filled, None):
        assert resolve("cap", context, filled.settings).path == second.path
        assert resolve("cap@1.0.0", context, filled.settings) == made
        assert resolve("cap@2.0.0", context, filled.settings) == second
        assert resolve("exports/cap@1.0.0", context, filled.settings) == made
        assert resolve(tmp_path / "exports/cap@1.0.0", context, filled.settings).manifest == made.manifest
    shutil.copytree(made.path, tmp_path / "copy")
    assert resolve(tmp_path / "copy").title == "cap@1.0.0"
    assert resolve("cap@1.0.0").path == Path("exports/cap@1.0.0")


def test_the_newest_version_has_the_greatest_number(made: Folder) -> None:
    for number in ("1.2.0", "1.10.0", "1.9.0"):
        shutil.copytree(made.path, made.path.with_name(f"cap@{number}"))
        edit(Folder.open(made.path.with_name(f"cap@{number}")), version=number)
    for other in ("cap@9", "cap@9.0.0-rc", "cap-qa@9.0.0", "cap@8.0.0"):
        made.path.with_name(other).mkdir()
    (made.path.with_name("cap@9") / MANIFEST).write_text("{}")
    assert resolve("cap").title == "cap@1.10.0"


def test_what_names_no_version_is_refused(filled: Context, made: Folder) -> None:
    for target in ("nothing", "cap-x@1.0.0", "CAP", "", "@1.0.0", "pixmo-data", made.path / "data", Path("/")):
        for context in (filled, None):
            with pytest.raises(NoVersion, match=r"is no version of a data set\. .*pixmo versions"):
                resolve(target, context, filled.settings)


def test_a_bad_number_is_refused(filled: Context, made: Folder) -> None:
    for target in ("cap@", "cap@1", "cap@latest", "cap@v1.0.0", "cap@1.0.0@2", "cap@1.0.0/data"):
        for context in (filled, None):
            with pytest.raises(VersionInvalid):
                resolve(target, context, filled.settings)


def test_versions_that_are_not_there(filled: Context, made: Folder) -> None:
    for context in (filled, None):
        with pytest.raises(NoVersion, match=r"There is no cap@3\.0\.0 in exports\. See: pixmo versions"):
            resolve("cap@3.0.0", context, filled.settings)
        with pytest.raises(NoVersion, match=r"no version of points yet.*pixmo export points"):
            resolve("points", context, filled.settings)
    shutil.rmtree(made.path)
    with pytest.raises(NoVersion, match=r"There is no cap@1\.0\.0"):
        resolve("cap", filled)
    with pytest.raises(NoVersion, match="no version of cap yet"):
        resolve("cap")


def test_an_edited_version_is_not_the_one_that_was_recorded(filled: Context, made: Folder) -> None:
    edit(made, statistics={})
    for target in ("cap", "cap@1.0.0"):
        with pytest.raises(NoVersion, match="not the one that was recorded"):
            resolve(target, filled)
    assert resolve("cap@1.0.0").manifest["statistics"] == {}


def test_a_folder_of_another_version_does_not_pass(filled: Context, made: Folder) -> None:
    create(filled, "cap", bump="major")
    shutil.rmtree("exports/cap@2.0.0")
    shutil.copytree(made.path, "exports/cap@2.0.0")
    for context in (filled, None):
        with pytest.raises(NoVersion, match=r"holds cap@1\.0\.0, not cap@2\.0\.0"):
            resolve("cap@2.0.0", context, filled.settings)


def test_the_store_remembers_versions_and_where_they_went(filled: Context, made: Folder) -> None:
    for _ in range(2):
        create(filled, "cap", bump="minor")
    create(filled, "cap", version="1.10.0")
    with filled.db.write() as session:
        rows = recorded(session, "cap")
        assert [row.version for row in rows] == ["1.0.0", "1.1.0", "1.2.0", "1.10.0"]
        assert rows[0].manifest.encode() == (made.path / MANIFEST).read_bytes()
        assert recorded(session, "points") == []
        text = rows[0].manifest
        for name in ("points", "clocks"):
            session.add(DatasetVersion(name=name, version="1.0.0", manifest=text, manifest_sha256="0" * 64))
        session.flush()
        first = rows[0].id
        for repo in ("team/one", "team/two"):
            session.add(DatasetPush(version_id=first, repo=repo, revision="0" * 40, tag="v1.0.0"))
    with filled.db.read() as session:
        assert [row.name for row in recorded(session)] == ["cap"] * 4 + ["points", "clocks"]
        assert {id_: [push.repo for push in found] for id_, found in pushes(session).items()} == {
            first: ["team/one", "team/two"]
        }
        assert len(session.scalars(select(DatasetVersion)).all()) == 6


def test_versions_lie_where_the_settings_say(filled: Context, tmp_path: Path) -> None:
    settings = filled.settings.model_copy(update={"exports_dir": tmp_path / "elsewhere"})
    assert folder_of(settings, "cap", Number(1, 2, 3)) == tmp_path / "elsewhere/cap@1.2.3"
    moved = Context(settings=settings, db=filled.db, storage=filled.storage)
    made = create(moved, "cap").folder
    assert made.path == tmp_path / "elsewhere/cap@1.0.0"
    assert resolve("cap", moved) == resolve("cap", None, settings) == made
    assert pq.read_metadata(made.path / made.segments[0].path).num_rows > 0
