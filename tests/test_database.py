"""The rules of the database that everything else rests on."""

import sqlite3
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import OperationalError, StatementError

from pixmo.accounts.models import Role, User
from pixmo.database import Database, among
from tests import fill


def test_a_failed_block_writes_nothing(db: Database) -> None:
    with pytest.raises(RuntimeError, match="stop"), db.write() as session:
        fill.people(session, 1)
        raise RuntimeError("stop")
    with db.read() as session:
        assert session.scalars(select(User)).all() == []


def test_a_read_session_cannot_write(db: Database) -> None:
    with db.read() as session, pytest.raises(OperationalError, match="readonly"):
        session.execute(text("DELETE FROM users"))


def test_a_reader_sees_one_snapshot_while_others_write(db: Database) -> None:
    with db.read() as session:
        assert session.scalars(select(User)).all() == []
        with db.write() as writing:
            fill.people(writing, 1)
        assert session.scalars(select(User)).all() == []
    with db.read() as session:
        assert len(session.scalars(select(User)).all()) == 1


def test_a_write_transaction_locks_when_it_begins(db: Database) -> None:
    other = sqlite3.connect(db.url.removeprefix("sqlite:///"), timeout=0.1, isolation_level=None)
    with db.write() as session, pytest.raises(sqlite3.OperationalError, match="locked"):
        session.connection()
        other.execute("BEGIN IMMEDIATE")
    other.close()


def test_commits_survive_a_power_cut(db: Database) -> None:
    with db.write() as session:
        pragmas = {name: session.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")}
    assert pragmas == {"journal_mode": "wal", "synchronous": 2}


def test_times_are_utc_and_never_naive(db: Database) -> None:
    at = datetime(2026, 5, 4, 12, 0, tzinfo=timezone(timedelta(hours=2)))
    with db.write() as session:
        session.add(User(role=Role.annotator, display_name="one", created_at=at))
    with db.read() as session:
        stored = session.scalars(select(User.created_at)).one()
    assert stored == at
    assert stored.tzinfo is UTC
    with pytest.raises(StatementError, match="naive"), db.write() as session:
        session.add(User(role=Role.annotator, display_name="two", created_at=datetime(2026, 5, 4)))  # noqa: DTZ001


def test_thousands_of_ids_are_one_parameter_and_use_the_index(db: Database) -> None:
    with db.write() as session:
        ids = fill.people(session, 3)
    wanted = [*ids[:2], *(f"nobody {i}" for i in range(40_000)), "'; DROP TABLE users --"]
    statement = select(User.id).where(among(User.id, wanted))
    with db.read() as session:
        assert sorted(session.scalars(statement)) == sorted(ids[:2])
        assert session.scalars(select(User.id).where(among(User.id, []))).all() == []
        compiled = statement.compile(session.connection())
        (values,) = compiled.params.values()
        plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", (values,)).all()
    assert any("SEARCH users USING" in row.detail for row in plan), plan
    on_postgres = str(statement.compile(dialect=postgresql.dialect()))
    assert "json_array_elements_text(CAST(" in on_postgres
