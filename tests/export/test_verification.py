"""Every kind of damage is found, and named with its file."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pixmo.captions.receipt import key_id, server_key
from pixmo.context import Context
from pixmo.export.service import create
from pixmo.export.verification import VersionDamaged, verify
from pixmo.export.versions import NoVersion
from pixmo.settings import Settings
from pixmo.synthetic.models import Document, DocumentKind
from tests.export.conftest import IMAGES
from tests.export.filling import BEGIN, Filler
from tests.export.making import cap, described, images, pointed, resealed, rewritten

FORGER = Ed25519PrivateKey.from_private_bytes(bytes(32))
PARQUET = [f"{folder}/{split}-00000.parquet" for folder in ("data", "enriched", "index") for split in ("train", "test")]
OTHERS = ["README.md", "CHANGELOG.md", "croissant.json", "plots/0.png", "plots/1.png"]


@pytest.fixture(scope="module")
def made(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions of cap and of points in a folder, and the store that made them. Not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copytree(kitchen, folder / "pixmo-data")
    context = Context.open(Settings(data_dir=folder / "pixmo-data", exports_dir=folder))
    filler = Filler(context)
    filler._number = 10_000
    create(context, "cap")
    pointed(filler, {70: 3, 72: 1})
    create(context, "points")
    shutil.move(folder / "points@1.0.0", folder / "points")
    shutil.move(folder / "cap@1.0.0", folder / "cap")
    create(context, "points", version="2.0.0", images="repo", repo="org/points")
    shutil.move(folder / "points@2.0.0", folder / "files")
    context.close()
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the version of cap."""
    return Path(shutil.copytree(made / "cap", tmp_path / "cap"))


def problems(folder: Path, **options: Any) -> list[str]:
    """What `verify` finds; it must find something."""
    with pytest.raises(VersionDamaged) as error:
        verify(folder, **options)
    assert error.value.problems
    assert error.value.problems[0] in error.value.detail
    return error.value.problems


def test_an_untouched_version_holds(made: Path, folder: Path) -> None:
    own = key_id(server_key(Settings(data_dir=made / "pixmo-data")).public_key())
    seen: list[tuple[int, int]] = []
    held = verify(folder, signer=own, progress=lambda done, total: seen.append((done, total)))
    assert (held.files, held.rows, held.receipts, held.keys) == (len(PARQUET) + len(OTHERS), IMAGES, IMAGES, [own])
    assert seen[-1][0] == seen[-1][1] == sum(file["bytes"] for file in _manifest(folder)["files"])
    assert verify(made / "points").rows == 4
    assert verify(made / "files").rows == 4


def test_files_that_a_download_leaves_are_ignored(folder: Path) -> None:
    (folder / ".cache/huggingface").mkdir(parents=True)
    (folder / ".cache/huggingface/x.lock").write_text("")
    (folder / ".gitattributes").write_text("*.parquet filter=lfs")
    assert verify(folder).rows == IMAGES


@pytest.mark.parametrize("name", [*PARQUET, *OTHERS])
def test_every_file_is_looked_at(folder: Path, name: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    data = bytearray(whole)
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert problems(folder) == [f"{name} is not what was exported: its SHA-256 differs."]
    path.write_bytes(whole[:-10])
    assert problems(folder) == [f"{name} has {len(whole) - 10:,} bytes, not {len(whole):,}."]
    path.unlink()
    assert problems(folder) == [f"{name} is missing."]
    path.mkdir()
    assert problems(folder) == [f"{name} is missing."]


def test_a_file_too_many_is_named(folder: Path) -> None:
    shutil.copy(folder / PARQUET[0], folder / "data/train-00001.parquet")
    assert problems(folder) == ["data/train-00001.parquet is not part of the version. Move it away."]


def test_all_that_is_wrong_is_named_at_once(folder: Path) -> None:
    for name in PARQUET[:2]:
        (folder / name).unlink()
    (folder / "note.txt").write_text("x")
    assert [problem.split()[0] for problem in problems(folder)] == [PARQUET[1], PARQUET[0], "note.txt"]


def _manifest(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return manifest


def _write(folder: Path, manifest: dict[str, Any]) -> None:
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_an_edited_manifest_is_found_by_its_signature(folder: Path) -> None:
    manifest = _manifest(folder)
    manifest["settings"]["licence"] = "cc0-1.0"
    _write(folder, manifest)
    (problem,) = problems(folder)
    assert problem.startswith("manifest.json was changed after it was signed")


@pytest.mark.parametrize("key", ["dataset", "configs", "files", "statistics", "settings", "signature", "key", "signer"])
def test_a_manifest_without_a_part_is_an_error_and_no_crash(folder: Path, key: str) -> None:
    values: list[Any] = [None, [], {}, "x", 7, {"x": []}, [{"path": "README.md"}]]
    for value in values:
        manifest = _manifest(folder)
        manifest[key] = value
        _write(folder, manifest)
        with pytest.raises((VersionDamaged, NoVersion)):
            verify(folder)
    manifest = _manifest(folder)
    del manifest[key]
    _write(folder, manifest)
    with pytest.raises((VersionDamaged, NoVersion)):
        verify(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": "pixmo-export-2"}', '{"format": "other"}', "\xff"])
def test_what_is_no_manifest_is_no_version(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(NoVersion, match="pixmo export NAME"):
        verify(folder)


def test_an_empty_folder_is_no_version(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(NoVersion, match="pixmo export NAME"):
            verify(path)


def test_a_file_outside_of_the_folder_is_not_read(folder: Path) -> None:
    (folder.parent / "outside.txt").write_text("x")

    def edit(manifest: dict[str, Any]) -> None:
        manifest["files"].append({"path": "../outside.txt", "bytes": 1, "sha256": "0" * 64})

    resealed(folder, FORGER, edit)
    assert problems(folder) == ["../outside.txt lies outside of the folder."]


def test_another_signer_is_refused(folder: Path) -> None:
    (first, *rest) = problems(folder, signer="0" * 16)
    assert first.startswith("manifest.json was changed after it was signed, or by somebody else")
    assert "not by 0000000000000000" in first
    assert [problem.split(":")[0] for problem in rest] == [
        f"enriched/{split}-00000.parquet row {row}" for split, row in (("test", 5), ("test", 7), *(("train", i) for i in (1, 3, 9)))
    ]  # fmt: skip


def test_a_version_signed_anew_holds_for_nobody_who_knows_its_signer(made: Path, folder: Path) -> None:
    own = key_id(server_key(Settings(data_dir=made / "pixmo-data")).public_key())
    (folder / "README.md").write_text("Another card.")
    resealed(folder, FORGER)
    held = verify(folder)
    assert held.keys == sorted([own, key_id(FORGER.public_key())])
    (problem,) = problems(folder, signer=own)
    assert problem.startswith("manifest.json ")


def _swapped(folder: Path, config: str) -> None:
    a, b = (folder / f"{config}/{split}-00000.parquet" for split in ("train", "test"))
    first = a.read_bytes()
    a.write_bytes(b.read_bytes())
    b.write_bytes(first)


def _caption(table: pa.Table, value: str = "Something else.") -> pa.Table:
    captions = [value, *table.column("caption").to_pylist()[1:]]
    return table.set_column(table.column_names.index("caption"), table.field("caption"), [captions])


def _picture(table: pa.Table) -> pa.Table:
    pictures = table.column("image").to_pylist()
    pictures[0] = {"bytes": b"another picture", "path": pictures[0]["path"]}
    return table.set_column(table.column_names.index("image"), table.field("image"), [pictures])


def _receipts(table: pa.Table) -> pa.Table:
    receipts = table.column("receipt").to_pylist()[::-1]
    return table.set_column(table.column_names.index("receipt"), table.field("receipt"), [receipts])


@pytest.mark.parametrize(
    ("forge", "named"),
    [
        (lambda f: _swapped(f, "data"), "data/train-00000.parquet has another number of rows than index/."),
        (lambda f: _swapped(f, "index"), "enriched/ has other rows than index/ in train."),
        (lambda f: _swapped(f, "enriched"), "enriched/ has other rows than index/ in train."),
        (
            lambda f: rewritten(f, "data/train-00000.parquet", _caption),
            "data/train-00000.parquet and the segments after it hold other values than enriched/.",
        ),
        (
            lambda f: rewritten(f, "enriched/train-00000.parquet", _caption),
            "enriched/train-00000.parquet row 1: The receipt is about another caption.",
        ),
        (
            lambda f: rewritten(f, "enriched/train-00000.parquet", _receipts),
            "enriched/train-00000.parquet row 1: The receipt is about another image.",
        ),
        (
            lambda f: rewritten(f, "index/test-00000.parquet", lambda table: table.take([1, 0])),
            "index/test-00000.parquet has rows out of order.",
        ),
        (
            lambda f: rewritten(f, "data/test-00000.parquet", lambda table: table.slice(1)),
            "data/test-00000.parquet has another number of rows than index/.",
        ),
        (
            lambda f: rewritten(f, "data/test-00000.parquet", lambda table: table.drop_columns(["caption"])),
            "data/test-00000.parquet does not have the columns of default.",
        ),
        (
            lambda f: rewritten(f, "data/test-00000.parquet", lambda table: table.replace_schema_metadata(None)),
            "data/test-00000.parquet does not have the columns of default.",
        ),
    ],
)  # fmt: skip
def test_forged_segments_are_found_even_if_they_are_signed_anew(
    folder: Path, forge: Callable[[Path], None], named: str
) -> None:
    forge(folder)
    resealed(folder, FORGER)
    assert named in problems(folder)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_picture, "enriched/train-00000.parquet holds other rows than were exported: its logical hash differs."),
        (
            lambda table: table.slice(1),
            "enriched/train-00000.parquet has 2 rows, not 3.",
        ),
    ],
)  # fmt: skip
def test_a_segment_with_the_right_hash_of_its_bytes_but_other_rows_is_found(
    folder: Path, change: Callable[[pa.Table], pa.Table], named: str
) -> None:
    name = "enriched/train-00000.parquet"
    (stated,) = (file for file in _manifest(folder)["files"] if file["path"] == name)
    rewritten(folder, name, change)

    def keep(manifest: dict[str, Any]) -> None:
        for file in manifest["files"]:
            if file["path"] == name:
                file |= {key: stated[key] for key in ("rows", "content_sha256")}

    resealed(folder, FORGER, keep)
    assert named in problems(folder)


def test_a_segment_that_is_no_parquet_is_found(folder: Path) -> None:
    name = "data/train-00000.parquet"
    data = (folder / name).read_bytes()
    forged = b"PAR1" + bytes(len(data) - 8) + b"PAR1"
    (folder / name).write_bytes(forged)
    manifest = _manifest(folder)
    for file in manifest["files"]:
        if file["path"] == name:
            file["sha256"] = hashlib.sha256(forged).hexdigest()
    _write(folder, manifest)
    assert [problem for problem in problems(folder) if problem.startswith(f"{name} cannot be read as rows of default")]


def test_a_row_in_two_splits_is_found(folder: Path) -> None:
    """A test row is put into train as well, everywhere, under another row id: only its image gives it away."""
    for config in ("data", "enriched", "index"):
        last = pq.read_table(folder / f"{config}/test-00000.parquet").slice(1)
        if "row_id" in last.column_names:
            ids = pa.array([1000], pa.int64())
            last = last.set_column(last.column_names.index("row_id"), last.field("row_id"), ids)
        rewritten(folder, f"{config}/train-00000.parquet", lambda table, last=last: pa.concat_tables([table, last]))  # type: ignore[misc]
    resealed(folder, FORGER)
    found = problems(folder)
    assert len(found) == 2
    assert found[0].startswith("index/ has original_sha256 ")
    assert found[0].endswith(" in train and in test.")
    assert found[1] == "enriched/ has split_cluster cluster-1 in train and in test."


def test_numbers_that_do_not_fit_each_other_are_found(folder: Path) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        manifest["statistics"]["rows"]["train"] += 1
        manifest["configs"]["default"]["splits"]["test"]["rows"] += 1

    resealed(folder, FORGER, edit)
    assert problems(folder) == [
        "manifest.json does not agree with itself about default/test.",
        "manifest.json does not agree with itself about the number of rows.",
    ]


def test_the_schema_that_the_manifest_states_is_that_of_the_files(folder: Path) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        manifest["configs"]["default"]["schema_sha256"] = "0" * 64

    resealed(folder, FORGER, edit)
    assert [problem.split()[0] for problem in problems(folder)] == [
        "data/test-00000.parquet", "data/train-00000.parquet"
    ]  # fmt: skip


def test_a_configuration_that_the_set_does_not_have_is_found(folder: Path) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        for file in manifest["files"]:
            if file["path"] == "data/test-00000.parquet":
                file["config"] = "more"

    resealed(folder, FORGER, edit)
    assert "data/test-00000.parquet belongs to more, which cap does not have." in problems(folder)


def test_images_as_files_are_checked_by_their_names(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made / "files", tmp_path / "points"))
    (image, other) = sorted((folder / "files").rglob("*.jpeg"))
    name = image.relative_to(folder).as_posix()
    data = image.read_bytes()
    image.write_bytes(other.read_bytes())
    assert [problem.split()[0] for problem in problems(folder)] == [name]
    resealed(folder, FORGER)
    assert problems(folder) == [f"{name} is not named by its SHA-256."]
    image.write_bytes(data)
    resealed(folder, FORGER)
    assert verify(folder).rows == 4


def test_a_set_of_several_configurations_is_compared_part_by_part(filled: Context, filler: Filler) -> None:
    with filled.db.write() as session:
        for number, kind in enumerate((*DocumentKind, DocumentKind.charts)):
            image = images(filled)[number].id
            asked = [{"question": "What?", "answer": f"{number}"}]
            session.add(Document(image_id=image, kind=kind, questions=asked, code="draw()", created_at=BEGIN))
    folder = create(filled, "docs").folder.path
    assert verify(folder).rows == 5
    name = "charts/train-00000.parquet"

    def swap(table: pa.Table) -> pa.Table:
        questions = table.column("questions").combine_chunks()
        backwards = questions.take(pc.subtract(len(questions) - 1, pa.array(range(len(questions)))))
        return table.set_column(table.column_names.index("questions"), table.field("questions"), backwards)

    rewritten(folder, name, swap)
    resealed(folder, FORGER)
    assert problems(folder) == [f"{name} and the segments after it hold other values than enriched/."]


def test_versions_that_share_bytes_are_whole_each(filled: Context, filler: Filler) -> None:
    first = cap(filled).folder.path
    described(filler)
    second = cap(filled).folder.path
    assert (verify(first).rows, verify(second).rows) == (IMAGES, IMAGES + 1)
