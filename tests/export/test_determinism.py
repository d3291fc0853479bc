"""The same snapshot gives the same bytes: in another process, place, language, time zone, and by another way."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import delete

from pipelines import cap as shipped
from pixmo.context import Context
from pixmo.export.models import DatasetVersion
from pixmo.export.service import create, pseudonym_key
from pixmo.export.takedown import take_down
from pixmo.export.versions import Folder
from pixmo.settings import Settings
from tests.export.filling import Filler, tree
from tests.export.making import cap, corrected, described, images, pointed

RUN = """
import sys, pathlib
import pyarrow
pyarrow.set_cpu_count(int(sys.argv[1]))
pyarrow.set_io_thread_count(int(sys.argv[1]))
from pixmo.context import Context
from pixmo.export.service import create
from pixmo.settings import Settings
context = Context.open(Settings(data_dir=pathlib.Path(sys.argv[2]), exports_dir=pathlib.Path(sys.argv[3])))
create(context, "cap", licence="odc-by")
create(context, "points", images="repo", repo="org/points")
create(context, "cap", images="url")
context.close()
"""
ENVIRONMENTS = (
    {"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo", "LC_ALL": "C", "COLUMNS": "40"},
    {"PYTHONHASHSEED": "2", "TZ": "America/Lima", "LC_ALL": "de_DE.UTF-8", "PYTHONUTF8": "1"},
    {"PYTHONHASHSEED": "3", "TZ": "Pacific/Chatham", "LC_ALL": "tr_TR.UTF-8", "OMP_NUM_THREADS": "1"},
)


@pytest.fixture
def store(filled: Context, filler: Filler) -> Path:
    """A store whose keys are made, for copies of it that name people alike."""
    pointed(filler, {70: 3, 72: 2, 75: 1})
    described(filler)
    pseudonym_key(filled.settings)
    return filled.settings.store_dir


def opened(store: Path, name: str) -> Context:
    """A copy of a store that exports to a folder of its own."""
    shutil.copytree(store, f"{name}/store")
    return Context.open(Settings(data_dir=Path(name, "store").absolute(), exports_dir=Path(name, "exports").absolute()))


def test_processes_write_the_same_bytes(store: Path, tmp_path: Path) -> None:
    root = str(Path(shipped.__file__).parents[1])
    processes = []
    for number, changes in enumerate(ENVIRONMENTS, start=1):
        folder = tmp_path / f"process {number}"
        shutil.copytree(store, folder / "store")
        (folder / "a" / "b").mkdir(parents=True)
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", RUN, str(number), str(folder / "store"), str(folder / "out")],
                env={**os.environ, "PYTHONPATH": root, **changes}, cwd=folder / "a" / "b" if number > 1 else folder,
            )
        )  # fmt: skip
    assert [process.wait(120) for process in processes] == [0] * len(ENVIRONMENTS)
    first, *others = [tree(tmp_path / f"process {number}" / "out") for number in (1, 2, 3)]
    names = {name.partition("/")[0] for name in first}
    assert names == {"cap@1.0.0", "cap@2.0.0", "points@1.0.0"}
    assert {Path(name).suffix for name in first} == {".parquet", ".md", ".json", ".png", ".jpeg"}
    for other in others:
        assert other == first


def test_the_way_to_a_version_does_not_show_in_its_rows(store: Path, filled: Context, filler: Filler) -> None:
    """Made after an older version, and straight from a copy of the store that knows of none: the same segments."""
    cap(filled)
    task = described(filler, 52, campaign="later")
    corrected(filled, task)
    take_down(filled, "image", images(filled)[0].id)
    after = cap(filled).folder
    copy = opened(store, "straight")
    with copy.db.write() as session:
        session.execute(delete(DatasetVersion))
    straight = cap(copy).folder
    copy.close()
    assert (after.title, straight.title) == ("cap@1.1.0", "cap@1.0.0")
    assert _segments(after) == _segments(straight)
    assert after.manifest["configs"] == straight.manifest["configs"]
    assert after.manifest["statistics"] == straight.manifest["statistics"]
    assert after.manifest["snapshot"]["event"] == straight.manifest["snapshot"]["event"]


def test_the_number_of_versions_before_does_not_show_either(store: Path) -> None:
    one, two = opened(store, "one"), opened(store, "two")
    first = create(one, "points", version="3.0.0").folder
    for number in ("1.0.0", "2.0.0", "3.0.0"):
        last = create(two, "points", version=number).folder
    one.close()
    two.close()
    assert _segments(first) == _segments(last)
    assert (first.path / "plots/0.png").read_bytes() == (last.path / "plots/0.png").read_bytes()
    assert (first.path / "README.md").read_bytes() == (last.path / "README.md").read_bytes()


def _segments(folder: Folder) -> dict[str, str]:
    return {file.path: file.sha256 for file in folder.segments}
