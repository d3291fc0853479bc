"""An export that is killed leaves whole versions only, and the next one goes on where it stopped."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pixmo.export.service import pseudonym_key
from pixmo.settings import Settings
from tests.export import killing

TRIALS = 6


@pytest.fixture
def keyed(kitchen: Path, tmp_path: Path) -> Path:
    """A store whose keys are made, so that its copies name people alike."""
    store = Path(shutil.copytree(kitchen, tmp_path / "store"))
    pseudonym_key(Settings(data_dir=store))
    return store


def kill(store: Path, folder: Path, trials: int) -> Any:
    """What was seen. Fails if something was not whole, or not the same in the end."""
    root = Path(killing.__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-m", "tests.export.killing", str(store), str(trials)],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_an_export_may_be_killed_at_any_moment(keyed: Path, tmp_path: Path) -> None:
    seen = kill(keyed, tmp_path, TRIALS)
    assert seen["killed"] == TRIALS
    assert seen["segments used again"] > 0


def test_an_export_may_be_killed_at_the_worst_moments(keyed: Path, tmp_path: Path) -> None:
    seen = kill(keyed, tmp_path, 0)
    assert {moment: one["killed"] for moment, one in seen.items()} == {
        moment: len(works) for moment, works in killing.MOMENTS.items()
    }
    used = {moment: one["segments used again"] for moment, one in seen.items()}
    assert used["between two segments"] == 3
    assert used["while the folder is put together"] == used["between place and record"] == 6
    assert used["twice between place and record"] == 6
    assert seen["while the folder is put together"]["unfinished"] == 1
    assert seen["between place and record"]["visible"] == 1
    assert seen["between place and record of the second"]["visible"] == 2
    assert seen["while what has no record is removed"]["unfinished"] == 1
