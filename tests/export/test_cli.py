"""Commands as people meet them: results on standard output, the rest on standard error, one line for an error."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pixmo.captions.receipt import key_id, server_key
from pixmo.cli import app
from pixmo.context import Context
from pixmo.errors import NotFound, PixmoError, SetupError, Unprocessable
from pixmo.export.numbering import BumpTooSmall
from pixmo.export.pages import Unlicensed
from pixmo.export.service import record_push
from pixmo.export.verification import VersionDamaged
from pixmo.export.versions import Folder, NoVersion
from tests.export.conftest import IMAGES
from tests.export.filling import Filler
from tests.export.making import corrected, described, images, rows

run = CliRunner()


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are not broken where a test looks for them."""
    monkeypatch.setenv("COLUMNS", "250")


def pixmo(*words: str) -> Result:
    """A command that succeeds."""
    result = run.invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def told(*words: str) -> Any:
    """What a command says as JSON, which is all that goes to standard output."""
    result = pixmo(*words, "--json")
    assert result.stderr == ""
    return json.loads(result.stdout)


def refused(error: type[PixmoError], match: str, *words: str) -> None:
    with pytest.raises(error, match=match):
        run.invoke(app, list(words), catch_exceptions=False)


def test_an_export_is_summed_up_with_the_next_step(filled: Context) -> None:
    result = pixmo("export", "cap", "--licence", "odc-by")
    assert result.stdout == "cap@1.0.0: 3 train, 2 test, 5 images. It is in exports/cap@1.0.0.\n"
    assert result.stderr == "Next: pixmo verify cap@1.0.0, or pixmo push cap@1.0.0 ORG/NAME\n"
    assert "license: odc-by" in Path("exports/cap@1.0.0/README.md").read_text()


def test_a_second_export_tells_what_changed(filled: Context, filler: Filler) -> None:
    pixmo("export", "cap")
    described(filler, licence=None)
    result = pixmo("export", "cap")
    assert result.stdout.splitlines() == [
        "cap@1.1.0: 4 train, 2 test, 6 images. It is in exports/cap@1.1.0.",
        "Since 1.0.0: added: 1 in train.",
    ]
    assert "Images without a licence: 1. To refuse them: --require-licence" in result.stderr
    again = pixmo("export", "cap")
    assert again.stdout == "Nothing changed since cap@1.1.0. It is in exports/cap@1.1.0.\n"
    refused(Unlicensed, "has no licence", "export", "cap", "--require-licence")
    refused(BumpTooSmall, "at least 2.0.0", "export", "cap", "--images", "url", "--bump", "minor")


def test_what_was_left_out_is_said(filled: Context) -> None:
    pixmo("takedown", "--image", images(filled)[0].id)
    assert "Left out, taken down: 1." in pixmo("export", "cap").stderr


def test_an_export_as_json(filled: Context) -> None:
    report = told("export", "cap", "--version", "2.5.0", "--images", "url", "--campaign", "kitchen", "--plain")
    folder = Folder.open(Path("exports/cap@2.5.0"))
    assert report["version"] == "cap@2.5.0"
    assert report["folder"] == "exports/cap@2.5.0"
    assert report["new"] is True
    assert report["manifest_sha256"] == folder.manifest_sha256
    assert (report["parent"], report["changes"], report["left_out"]) == (None, None, {})
    assert (report["rows"], report["images"]) == ({"train": 3, "test": 2}, IMAGES)
    assert folder.manifest["settings"] == {
        "images": "url", "repo": None, "campaign": "kitchen", "licence": None, "require_licence": False,
        "plain": True, "balanced_eval": None,
    }  # fmt: skip
    again = told("export", "cap")
    assert (again["new"], again["version"]) == (False, "cap@2.5.0")
    assert told("export", "cap", "--enriched")["version"] == "cap@3.0.0"


def test_a_pipeline_of_ones_own(filled: Context) -> None:
    from pipelines import cap as shipped

    begin = Path(shipped.__file__).read_text("utf-8").split("def rows")[0]
    Path("mine.py").write_text(f"{begin}\ndef rows(page):\n    return page.slice(0, 1)\n")
    assert told("export", "cap", "--pipeline", "mine.py")["rows"] == {"train": 1}
    missing = run.invoke(app, ["export", "cap", "--pipeline", "none.py"])
    assert (missing.exit_code, missing.stdout) == (2, "")


def test_what_does_not_go_together_is_refused(filled: Context) -> None:
    refused(Unprocessable, "belong together", "export", "cap", "--layout", "molmo")
    refused(Unprocessable, "belong together", "export", "cap", "--to", "out")
    refused(Unprocessable, "belong together", "export", "cap", "--layout", "llava", "--to", "out")
    refused(NotFound, "There are: cap, points", "export", "captions")
    refused(Unprocessable, "Say what to take down", "takedown")
    refused(Unprocessable, "Say what to take down", "takedown", "--image", "a", "--annotator", "b")
    refused(Unprocessable, "Say which split", "split", "pin", "test")
    refused(Unprocessable, "Say which split", "split", "pin", "withheld", "--campaign", "kitchen")
    assert not Path("exports").exists()


def test_versions_are_listed(filled: Context, filler: Filler) -> None:
    assert "pixmo export NAME" in pixmo("versions").stderr
    assert told("versions") == []
    pixmo("export", "cap")
    described(filler)
    pixmo("export", "cap")
    record_push(filled, Folder.open(Path("exports/cap@1.1.0")), "org/caps", "abc", "v1.1.0")
    shutil.rmtree("exports/cap@1.0.0")
    head, first, second = pixmo("versions").stdout.splitlines()
    assert head.split() == ["version", "made", "rows", "changes", "folder", "pushed"]
    assert re.fullmatch(r"\s*cap@1\.0\.0\s+\d{4}-\d\d-\d\d \d\d:\d\d\s+5\s+first\s+gone\s*", first)
    assert re.search(r"cap@1\.1\.0 .* 6\s+1 added\s+there\s+org/caps at v1\.1\.0", second)
    one, two = told("versions", "cap")
    assert (one["version"], one["rows"], one["parent"], one["changes"], one["folder"]) == (
        "cap@1.0.0",
        5,
        None,
        None,
        None,
    )
    assert (two["parent"], two["changes"]) == ("1.0.0", {"added": 1, "corrected": 0, "removed": 0})
    assert (two["folder"], two["pushed"]) == ("exports/cap@1.1.0", ["org/caps at v1.1.0"])
    assert two["manifest_sha256"] == Folder.open(Path("exports/cap@1.1.0")).manifest_sha256
    assert told("versions", "points") == []
    refused(NotFound, "no data set 'x'", "versions", "x")


def test_two_versions_are_told_apart(filled: Context, filler: Filler) -> None:
    pixmo("export", "cap")
    task = described(filler)
    pixmo("export", "cap")
    corrected(filled, task)
    pixmo("takedown", "--image", images(filled)[2].id)
    pixmo("export", "cap")
    assert pixmo("diff", "cap@1.0.0", "cap@1.1.0").stdout.splitlines() == [
        "cap@1.0.0 → cap@1.1.0",
        "    added         1 rows in train",
        "          row ids 11",
        "A new version needs at least a minor bump.",
    ]
    assert pixmo("diff", "cap@1.1.0", "cap", "--rows", "0").stdout.splitlines() == [
        "cap@1.1.0 → cap@2.0.0",
        "corrected         1 rows in train",
        "  removed         1 rows in test",
        "                  1 × caption",
        "                  1 × caption_revision",
        "                  1 × receipt",
        "A new version needs at least a major bump.",
    ]
    assert pixmo("diff", "cap", "exports/cap@2.0.0").stdout == "cap@2.0.0 → cap@2.0.0\nThe same rows.\n"
    assert told("diff", "cap@1.0.0", "cap@1.1.0") == {
        "from": "cap@1.0.0", "to": "cap@1.1.0", "bump": "minor", "added": {"train": 1}, "removed": {},
        "corrected": {}, "columns": {}, "schema": [], "provenance": [], "rows": {"added": [11]},
    }  # fmt: skip
    refused(NoVersion, r"no cap@1\.2\.0", "diff", "cap@1.0.0", "cap@1.2.0")


def test_verify_names_who_signed(filled: Context) -> None:
    pixmo("export", "cap")
    own = key_id(server_key(filled.settings).public_key())
    result = pixmo("verify", "cap", "--signer", own)
    assert result.stdout == f"cap@1.0.0 is whole: 11 files, 5 rows, 5 receipts. Signed by: {own}\n"
    assert told("verify", "exports/cap@1.0.0") == {
        "version": "cap@1.0.0", "files": 11, "rows": 5, "receipts": 5, "keys": [own]
    }  # fmt: skip
    refused(VersionDamaged, "not by 0000000000000000", "verify", "cap", "--signer", "0" * 16)


def test_a_version_is_verified_without_a_store(
    filled: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixmo("export", "cap")
    shutil.copytree("exports", tmp_path / "far" / "exports")
    monkeypatch.chdir(tmp_path / "far")
    assert "is whole" in pixmo("verify", "cap@1.0.0").stdout
    assert "The same rows." in pixmo("diff", "cap", "cap@1.0.0").stdout
    refused(SetupError, "pixmo init", "versions")
    refused(SetupError, "pixmo init", "export", "cap")


def test_splits_are_shown_and_pinned(filled: Context) -> None:
    assert told("split", "show") == {
        "images": {"train": 0, "validation": 0, "test": 0, "withheld": 0, "none": IMAGES},
        "shares": {"validation": 0.02, "test": 0.02},
    }
    Path("mine.txt").write_text(f"{images(filled)[0].sha256}\n\n  https://photos.example/4.jpg \n")
    result = pixmo("split", "pin", "validation", "--file", "mine.txt")
    assert result.stdout == "Pinned to validation: 3 images with their near-duplicates.\n"
    pixmo("export", "cap")
    assert [line.split()[:2] for line in pixmo("split", "show").stdout.splitlines()[:5]] == [
        ["train", "0"], ["validation", "3"], ["test", "2"], ["withheld", "0"], ["none", "0"]
    ]  # fmt: skip
    refused(PixmoError, "stands in validation", "split", "pin", "test", "--file", "mine.txt")
    refused(PixmoError, "stands in validation|stands in test", "split", "pin", "train", "--campaign", "kitchen")


def test_a_take_down_lists_who_holds_it_and_patches_on_demand(filled: Context, filler: Filler) -> None:
    pixmo("export", "cap")
    address = "https://photos.example/0.jpg"
    result = pixmo("takedown", "--image", address, "--reason", "asked")
    assert result.stdout.splitlines() == [
        f"Taken down: image {images(filled)[0].id}. No later version will hold it.",
        "  cap@1.0.0 holds 1 rows of it",
    ]
    assert "add --patch" in result.stderr
    assert told("takedown", "--image", address, "--patch") == {
        "subject": "image", "subject_id": images(filled)[0].id, "taken_down": True, "missing": [],
        "held_by": [{"version": "cap@1.0.0", "rows": 1, "pushed": []}], "patched": ["cap@1.0.1"], "erased": None,
    }  # fmt: skip
    pseudonym = rows(Path("exports/cap@1.0.0"))[0]["annotators"][0]
    assert "back, and in the next versions" in pixmo("takedown", "--image", address, "--undo").stdout
    assert told("takedown", "--annotator", pseudonym)["held_by"][0]["rows"] == IMAGES
    assert told("takedown", "--annotator", pseudonym, "--undo")["taken_down"] is False
    refused(NotFound, "is not taken down", "takedown", "--annotator", pseudonym, "--undo")


def test_erasing_asks_first(filled: Context) -> None:
    image = images(filled)[0]
    asked = run.invoke(app, ["takedown", "--image", image.id, "--erase"], input="n\n", catch_exceptions=False)
    assert "from the store for good? [y/N]" in asked.stderr
    assert "Erased" not in asked.stdout
    assert filled.storage.exists("images", image.served_sha256)
    assert told("takedown", "--image", image.id, "--erase", "--yes")["erased"] == 1
    assert not filled.storage.exists("images", image.served_sha256)


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """`pixmo` in a process of its own."""
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-m", "pixmo", *words],
        env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_a_process_writes_results_to_one_stream_and_remarks_to_the_other(filled: Context) -> None:
    made = command("export", "cap", "--json")
    assert (made.returncode, made.stderr) == (0, "")
    assert json.loads(made.stdout)["version"] == "cap@1.0.0"
    path = Path("exports/cap@1.0.0/data/train-00000.parquet")
    path.write_bytes(path.read_bytes()[:-1])
    broken = command("verify", "cap")
    assert (broken.returncode, broken.stdout) == (1, "")
    assert broken.stderr.splitlines()[1].strip().startswith("data/train-00000.parquet has ")
    taken = command("export", "cap", "--version", "1.0.0")
    assert (taken.returncode, taken.stdout) == (1, "")
    assert re.fullmatch(r"pixmo: cap@1\.0\.0 exists already, and versions never change\..*2\.0\.0\.\n", taken.stderr)


def test_the_folder_of_exports_is_a_setting(filled: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIXMO_EXPORTS_DIR", str(tmp_path / "else where"))
    assert told("export", "cap")["folder"] == str(tmp_path / "else where" / "cap@1.0.0")
    assert told("verify", "cap")["rows"] == IMAGES
    assert not Path("exports").exists()
