"""The migrations make the tables that the models describe, and can be undone without losing rows."""

from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from pixmo import schema


def test_every_revision_up_down_and_up_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'walk.db'}"
    config = schema.alembic_config(url)
    revisions = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]
    assert revisions
    for revision in revisions:
        schema.upgrade(url, revision)
        command.downgrade(config, "-1")
        schema.upgrade(url, revision)
    schema.upgrade(url)
    command.check(config)
    command.downgrade(config, "base")
    engine = create_engine(url)
    left = set(inspect(engine).get_table_names()) & set(schema.Base.metadata.tables)
    engine.dispose()
    assert left == set()


def test_upgrading_twice_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'twice.db'}"
    schema.upgrade(url)
    schema.upgrade(url)
    command.check(schema.alembic_config(url))
