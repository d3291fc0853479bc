"""Settings come from arguments, the environment and a file, in this order."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from pixmo.settings import Settings


def test_argument_beats_environment_beats_file_beats_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings().port == 8000
    (tmp_path / "pixmo.toml").write_text("port = 1\nlease_minutes = 2\n")
    assert (Settings().port, Settings().lease_minutes) == (1, 2)
    monkeypatch.setenv("PIXMO_PORT", "3")
    assert (Settings().port, Settings(port=4).port) == (3, 4)


def test_a_misspelt_setting_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pixmo.toml").write_text("prot = 1\n")
    with pytest.raises(ValidationError, match="prot"):
        Settings()


def test_every_setting_says_why() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
