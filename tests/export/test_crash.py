import json
import os
import subprocess
import sys
from pathlib import Path

from tests.export import killing

TRIALS = 10


def test_a_killed_export_leaves_the_old_folder_or_the_new(kitchen: Path, tmp_path: Path) -> None:
    root = Path(killing.__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-m", "tests.export.killing", str(kitchen), str(tmp_path / "cap"), str(TRIALS)],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["interrupted"] > 0
    assert len(report["seen"]) == TRIALS
    assert set(report["seen"]) <= set(killing.LICENCES)
    assert report["left"] == []
