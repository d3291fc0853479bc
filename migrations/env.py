"""Alembic's entry: one transaction a migration, tables rebuilt in batches where SQLite cannot alter them."""

from typing import Any

from alembic import context
from sqlalchemy import create_engine, event, pool

from pixmo.schema import Base

# Tables of the job engine, which on SQLite live in the same file and are migrated by the engine itself.
ENGINE_TABLES = {
    "application_versions", "datasource_outputs", "dbos_datasource_migrations", "dbos_migrations", "event_dispatch_kv",
    "notifications", "operation_outputs", "queues", "streams", "workflow_events", "workflow_events_history",
    "workflow_input", "workflow_output", "workflow_schedules", "workflow_status",
}  # fmt: skip


def include_name(name: str | None, kind: str, _: Any) -> bool:
    return not (kind == "table" and name in ENGINE_TABLES)


def run() -> None:
    engine = create_engine(context.config.attributes["url"], poolclass=pool.NullPool)
    sqlite = engine.dialect.name == "sqlite"
    if sqlite:

        @event.listens_for(engine, "connect")
        def on_connect(connection: Any, _: Any) -> None:
            # Python's driver would commit before DDL; with it out of the way a migration is whole or not at all.
            connection.isolation_level = None
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA foreign_keys=OFF")

        @event.listens_for(engine, "begin")
        def on_begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            include_name=include_name,
            render_as_batch=sqlite,
            transaction_per_migration=True,
            compare_type=True,
        )
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()
