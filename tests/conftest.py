"""Fixtures that every test may use: a migrated store in a temporary folder."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pixmo import schema
from pixmo.context import Context
from pixmo.database import Database
from pixmo.settings import Settings
from pixmo.storage import Storage


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A freshly migrated SQLite file, copied by the tests that need a database."""
    path = tmp_path_factory.mktemp("template") / "pixmo.db"
    schema.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def settings(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an empty store; nothing of the machine's own configuration leaks in."""
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "store"
    data.mkdir()
    for file in migrated.parent.iterdir():
        shutil.copy(file, data)
    return Settings(data_dir=data)


@pytest.fixture
def context(settings: Settings) -> Iterator[Context]:
    context = Context.open(settings)
    yield context
    context.close()


@pytest.fixture
def db(context: Context) -> Database:
    return context.db


@pytest.fixture
def storage(context: Context) -> Storage:
    return context.storage
