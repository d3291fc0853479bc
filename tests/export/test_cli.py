import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pixmo.context import Context
from pixmo.errors import SetupError
from pixmo.export.cli import app
from pixmo.export.service import Unlicensed
from tests.export.conftest import IMAGES
from tests.export.filling import SAID, Filler

run = CliRunner()


def test_an_export_is_summed_up_with_the_next_step(filled: Context) -> None:
    result = run.invoke(app, ["cap", "out", "--licence", "odc-by"], catch_exceptions=False)
    assert result.exit_code == 0
    assert f"out: {IMAGES} captions of {IMAGES} images, {2 * IMAGES} transcripts" in result.stdout
    assert "pixmo.export.load('out')" in " ".join(result.stderr.split())
    assert "license: odc-by" in Path("out/README.md").read_text()


def test_json_is_all_that_goes_to_standard_output(filled: Context) -> None:
    result = run.invoke(app, ["cap", "out", "--json", "--campaign", "kitchen"], catch_exceptions=False)
    report = json.loads(result.stdout)
    assert (report["folder"], report["rows"], report["waiting"], report["left_out"]) == ("out", IMAGES, 0, {})
    verified = run.invoke(app, ["verify", "out", "--json"], catch_exceptions=False)
    assert json.loads(verified.stdout)["receipts"] == IMAGES


def test_what_was_left_out_is_said(filled: Context, filler: Filler) -> None:
    people, campaign = filler.people(), filler.campaign("other", overlap=1)
    filler.caption(filler.task(campaign, filler.image(50, licence=None), people[:1], SAID[:1]))
    filler.task(campaign, filler.image(51), people[:1], SAID[:1])
    result = run.invoke(app, ["cap", "out"], catch_exceptions=False)
    assert "Images without a licence: 1." in result.stderr
    assert "Finished tasks that wait for a caption: 1." in result.stderr
    with pytest.raises(Unlicensed):
        run.invoke(app, ["cap", "out", "--require-licence"], catch_exceptions=False)


def test_verify_names_who_signed(filled: Context) -> None:
    run.invoke(app, ["cap", "out"], catch_exceptions=False)
    result = run.invoke(app, ["verify", "out"], catch_exceptions=False)
    assert f"3 files and {IMAGES} receipts hold. Signed by: " in result.stdout


def test_without_a_store_the_next_step_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SetupError, match="pixmo init"):
        run.invoke(app, ["cap", "out"], catch_exceptions=False)
