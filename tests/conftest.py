"""Fixtures that every test may use: a migrated store in a temporary folder."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Playwright, expect, sync_playwright

from pixmo import schema
from pixmo.context import Context
from pixmo.database import Database
from pixmo.settings import Settings
from pixmo.storage import Storage
from tests.server import LiveServer


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


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    expect.set_options(timeout=20_000)  # a busy machine is slow, not wrong
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def demo_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the demo images and campaign, copied by the tests that need one."""
    server = LiveServer(tmp_path_factory.mktemp("demo") / "store")
    server.prepare()
    return server.data_dir


@pytest.fixture
def server(tmp_path: Path, demo_store: Path) -> Iterator[LiveServer]:
    """A demo store of its own, its server not yet started."""
    shutil.copytree(demo_store, tmp_path / "store")
    server = LiveServer(tmp_path / "store")
    yield server
    server.stop()


@pytest.fixture
def live_server(server: LiveServer) -> LiveServer:
    """A running server with one worker and the demo campaign."""
    server.start()
    return server


FOLDERS_RUN_LAST = ("transcripts", "browser", "flows")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slow folders last."""

    def rank(item: pytest.Item) -> int:
        folder = item.path.parent.name
        return FOLDERS_RUN_LAST.index(folder) + 1 if folder in FOLDERS_RUN_LAST else 0

    items.sort(key=rank)
