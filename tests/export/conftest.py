"""A store of described images, made once and copied for every test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pixmo.context import Context
from pixmo.settings import Settings
from tests.export.filling import Filler, fill

IMAGES = 5


@pytest.fixture(scope="session")
def kitchen(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Path:
    """A closed store with `IMAGES` images, two descriptions each. Not to be changed."""
    store = tmp_path_factory.mktemp("kitchen")
    for file in migrated.parent.iterdir():
        shutil.copy(file, store)
    context = Context.open(Settings(data_dir=store))
    fill(context, images=IMAGES)
    context.close()
    return store


@pytest.fixture
def filled(kitchen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    """A copy of that store, opened. The working directory and the caches of `datasets` are the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    shutil.copytree(kitchen, tmp_path / "pixmo-data")
    context = Context.open(Settings(data_dir=tmp_path / "pixmo-data"))
    yield context
    context.close()


@pytest.fixture
def filler(filled: Context) -> Filler:
    """Adds to the filled store."""
    filler = Filler(filled)
    filler._number = 10_000
    return filler
