import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import pixmo.export
from pixmo.captions.receipt import ReceiptInvalid, key_id, server_key
from pixmo.context import Context
from pixmo.export.check import ExportDamaged
from pixmo.export.folder import FolderTaken
from tests.export.conftest import IMAGES


@pytest.fixture
def exported(filled: Context) -> Path:
    folder = Path("cap")
    pixmo.export.cap(filled.db, filled.storage, filled.settings, folder)
    return folder


def test_an_untouched_export_holds(filled: Context, exported: Path) -> None:
    own = key_id(server_key(filled.settings).public_key())
    held = pixmo.export.verify(exported, signer=own)
    assert (held.files, held.receipts, held.keys) == (3, IMAGES, [own])


def test_another_signer_is_refused(exported: Path) -> None:
    with pytest.raises(ReceiptInvalid, match="not by 0000000000000000"):
        pixmo.export.verify(exported, signer="0" * 16)


@pytest.mark.parametrize("name", ["README.md", "data/train-00000-of-00001.parquet"])
def test_a_changed_byte_is_found(exported: Path, name: str) -> None:
    data = bytearray((exported / name).read_bytes())
    data[len(data) // 2] ^= 1
    (exported / name).write_bytes(data)
    with pytest.raises(ExportDamaged, match=name):
        pixmo.export.verify(exported)


def test_a_missing_file_is_found(exported: Path) -> None:
    (exported / "README.md").unlink()
    with pytest.raises(ExportDamaged, match="missing"):
        pixmo.export.verify(exported)


def test_a_caption_changed_together_with_the_manifest_is_found_by_its_receipt(exported: Path) -> None:
    file = exported / "enriched/train-00000-of-00001.parquet"
    table = pq.read_table(file)
    captions = [text.replace("red", "green") for text in table["caption"].to_pylist()]
    pq.write_table(table.set_column(table.schema.get_field_index("caption"), "caption", [captions]), file)
    _forgive(exported)
    with pytest.raises(ReceiptInvalid, match="another caption"):
        pixmo.export.verify(exported)


def test_rows_taken_away_together_with_the_manifest_are_found(exported: Path) -> None:
    file = exported / "enriched/train-00000-of-00001.parquet"
    pq.write_table(pq.read_table(file).slice(1), file)
    _forgive(exported)
    with pytest.raises(ExportDamaged, match=f"{IMAGES - 1} receipts, not {IMAGES}"):
        pixmo.export.verify(exported)


def test_another_folder_is_no_export(tmp_path: Path) -> None:
    with pytest.raises(FolderTaken):
        pixmo.export.verify(tmp_path)


def _forgive(folder: Path) -> None:
    """Write the changed files' hashes into the manifest, as a forger would."""
    import hashlib

    manifest = json.loads((folder / "manifest.json").read_text())
    for entry in manifest["files"]:
        entry["sha256"] = hashlib.sha256((folder / entry["path"]).read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
