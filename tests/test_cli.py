"""The command, as a newcomer runs it in an empty folder."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.main import get_command

from pixmo.cli import app


def pixmo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pixmo", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def test_from_an_empty_folder_to_an_invite(tmp_path: Path) -> None:
    missing = pixmo(tmp_path, "status")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr == "pixmo: There is no store in pixmo-data. Make one with: pixmo init\n"

    made = json.loads(pixmo(tmp_path, "init", "--json").stdout)
    assert made["new"]
    assert "/join#" in made["admin_link"]
    assert (tmp_path / "pixmo-data").stat().st_mode & 0o077 == 0
    assert not json.loads(pixmo(tmp_path, "init", "--json").stdout)["new"]

    (tmp_path / "pictures").mkdir()
    for number in range(3):
        Image.effect_noise((320, 240), 40 + 20 * number).convert("RGB").save(tmp_path / f"pictures/{number}.png")
    assert pixmo(tmp_path, "ingest", "pictures").returncode == 0
    created = pixmo(tmp_path, "campaign", "create", "noise", "--overlap", "2", "--json")
    campaign = json.loads(created.stdout)
    assert (campaign["tasks"], campaign["overlap"], campaign["min_voiced_seconds"]) == (3, 2, 60)
    again = pixmo(tmp_path, "campaign", "create", "noise")
    assert (again.returncode, again.stderr) == (
        1, "pixmo: There is a campaign noise already. Choose another name.\n",
    )  # fmt: skip
    assert pixmo(tmp_path, "campaign", "pause", "noise").returncode == 0
    assert json.loads(pixmo(tmp_path, "campaign", "list", "--json").stdout)[0]["status"] == "paused"
    assert "/join#" in pixmo(tmp_path, "invite", "--campaign", "noise").stdout

    status = json.loads(pixmo(tmp_path, "status", "--json").stdout)
    assert status["totals"]["images"] == 3
    assert status["jobs"]["transcribe"] == {"queued": 0, "running": 0, "retrying": 0, "done": 0, "parked": 0}
    assert "No worker runs" in pixmo(tmp_path, "status").stdout
    assert pixmo(tmp_path, "retry", "transcribe", "x").returncode == 1


def leaves() -> list[list[str]]:
    found = []
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        parts = getattr(command, "commands", None)
        found += [[name, part] for part in parts] if parts else [[name]]
    return found


@pytest.mark.parametrize("command", leaves(), ids=" ".join)
def test_every_command_explains_itself(command: list[str]) -> None:
    leaf = get_command(app)
    for name in command:
        leaf = leaf.commands[name]  # type: ignore[attr-defined]
    assert leaf.help, command
    for parameter in leaf.params:
        assert getattr(parameter, "hidden", False) or getattr(parameter, "help", None), (command, parameter.name)


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    assert "Traceback" in pixmo(tmp_path, "--debug", "status").stderr
