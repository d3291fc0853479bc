import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from datasets import Dataset
from typer.testing import CliRunner, Result

from pixmo.errors import PixmoError
from pixmo.images.cli import ingest
from pixmo.settings import Settings
from tests.images.conftest import encoded, picture

Run = Callable[..., Result]


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`pixmo ingest ...` on an empty store."""
    monkeypatch.setenv("PIXMO_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("COLUMNS", "200")
    app = typer.Typer()
    app.command()(ingest)
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments), "--workers", "1"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good images, a bad one and a text."""
    folder = tmp_path / "in"
    folder.mkdir()
    for seed in range(2):
        (folder / f"{seed}.jpg").write_bytes(encoded(picture(seed=seed)))
    (folder / "bad [red]\x1b[31m.jpg").write_bytes(b"no image")
    (folder / "notes.txt").write_text("not offered")
    return folder


def test_what_a_person_sees(run: Run, folder: Path, tmp_path: Path) -> None:
    result = run(folder, "--report", tmp_path / "refused.jsonl")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "2 new, 0 already there, 1 refused, 1 other files passed over" in result.stderr
    assert "not_an_image" in result.stderr
    assert "bad [red]\\x1b[31m.jpg" in result.stderr
    assert "pixmo campaign create" in result.stderr
    (line,) = (tmp_path / "refused.jsonl").read_text().splitlines()
    failure = json.loads(line)
    assert (Path(failure["source"]).name, failure["reason"]) == ("bad [red]\\x1b[31m.jpg", "not_an_image")
    assert failure["earlier"] is False
    again = run(folder)
    assert again.exit_code == 0
    assert "1 of them were refused in an earlier run; --retry-failed" in again.stderr
    assert "campaign" not in again.stderr


def test_what_a_script_sees(run: Run, folder: Path) -> None:
    result = run(folder, "--json", "--topic", "street")
    summary = json.loads(result.stdout)
    assert summary["seconds"] > 0
    assert summary.pop("images_per_second") == pytest.approx(2 / summary.pop("seconds"), rel=0.1)
    assert summary == {"new": 2, "known": 0, "failed": 1, "ignored": 1, "reasons": {"not_an_image": 1}}


def test_nothing_read_is_a_failure(run: Run, folder: Path) -> None:
    result = run(folder / "bad [red]\x1b[31m.jpg")
    assert result.exit_code == 1
    assert "No image could be read" in result.stderr


def test_many_failures_are_counted(run: Run, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("url\n" + ",\n" * 25)
    result = run(tmp_path / "list.csv")
    assert "and 5 more; all are in --report FILE" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "pixmo ingest --demo"),
        (("absent",), "There is no file or folder absent"),
        (("--demo", "--topic", "x" * 121), "the topic is longer than 120 characters"),
        (("--demo", "--report", "absent/refused.jsonl"), "absent/refused.jsonl cannot be written: No such file"),
        (("--dataset", "./absent"), "absent cannot be loaded"),
    ],
)
def test_mistakes_are_one_line(run: Run, arguments: tuple[str, ...], message: str) -> None:
    error = run(*arguments).exception
    assert isinstance(error, PixmoError)
    assert message in error.detail


def test_limits(run: Run, folder: Path) -> None:
    (folder / "large.png").write_bytes(encoded(picture(1200, 1000), "PNG"))
    result = run(folder, "--max-megapixels", "1", "--json")
    assert json.loads(result.stdout)["reasons"] == {"not_an_image": 1, "too_large": 1}
    result = run(folder, "--retry-failed", "--json")
    assert json.loads(result.stdout)["new"] == 1


def test_a_data_set_and_the_demo_images(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    Dataset.from_dict({"image_url": [""]}).to_parquet(tmp_path / "train.parquet")
    result = run("--dataset", tmp_path / "train.parquet", "--demo", "--json")
    summary = json.loads(result.stdout)
    assert (summary["new"], summary["failed"]) == (14, 1)


def test_stopped_by_the_person(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pixmo.images.ingest.add_images", stopped)
    result = run(folder)
    assert result.exit_code == 130
    assert "What was taken is kept" in result.stderr
