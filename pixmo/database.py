"""The database: one engine to read, one to write, and the rules that keep 32 annotators apart.

On SQLite a write transaction begins with `BEGIN IMMEDIATE` on the only write connection (Python's own driver begins
too late, which hands the same task to two people), the journal is a WAL, and `synchronous=FULL` makes a commit
survive a power cut. Reads have their own connections and cannot write.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar, cast

from sqlalchemy import (
    JSON,
    ColumnElement,
    DateTime,
    Dialect,
    Engine,
    MetaData,
    Table,
    Text,
    bindparam,
    create_engine,
    event,
    make_url,
    select,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Session
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

BUSY_SECONDS = 30


class UtcDateTime(TypeDecorator[datetime]):
    """A timezone-aware UTC time on every engine (SQLite itself forgets the zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("naive datetime: use pixmo.clock.now()")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=value.tzinfo or UTC)


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        list[dict[str, Any]]: JSON,
        list[str]: JSON,
        list[float]: JSON,
        list[int]: JSON,
    }


def table(model: type[Base]) -> Table:
    """The table of a model, for statements that are built once and run without the ORM: the hot path."""
    return cast(Table, model.__table__)


class _Texts(FunctionElement[str]):
    """The texts of a JSON list as rows with the column `value`."""

    name = "texts"
    inherit_cache = True


@compiles(_Texts, "sqlite")
def _texts_sqlite(element: _Texts, compiler: Any, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(_Texts)
def _texts(element: _Texts, compiler: Any, **options: Any) -> str:
    return f"json_array_elements_text(CAST({compiler.process(element.clauses, **options)} AS JSON))"


def among(column: InstrumentedAttribute[str], values: Iterable[str]) -> ColumnElement[bool]:
    """`column IN values` with all values in one parameter: thousands of ids cost no time to compile."""
    listed = bindparam(None, json.dumps(sorted(set(values))), type_=Text(), unique=True)
    return column.in_(select(_Texts(listed).table_valued("value").c.value))


class ReadSession(Session):
    """A session that only reads: everything it sees is one snapshot."""


class WriteSession(Session):
    """A session that may write. Only the request or job boundary opens one, and closing it commits."""


def _engine(url: str, *, write: bool) -> Engine:
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    # Threads of the server share these connections through the pool, one at a time.
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=1 if write else 8,
        max_overflow=0 if write else 32,
        pool_timeout=BUSY_SECONDS,
        connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS},
    )

    @event.listens_for(engine, "connect")
    def on_connect(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        assert isinstance(connection, sqlite3.Connection)
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "temp_store=MEMORY",
            "query_only=OFF" if write else "query_only=ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


class Database:
    """The engines of one store. `read()` and `write()` are the only ways to a session."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.reader = _engine(url, write=False)
        self.writer = _engine(url, write=True)

    @contextmanager
    def read(self) -> Iterator[ReadSession]:
        """A read-only snapshot."""
        with ReadSession(self.reader, expire_on_commit=False, autoflush=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[WriteSession]:
        """One write transaction: commits when the block ends, rolls back if it raises."""
        with WriteSession(self.writer, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        self.reader.dispose()
        self.writer.dispose()
