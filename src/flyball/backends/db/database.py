"""The metadata database behind its URL: reading on one snapshot, writing in one serialised transaction."""

from __future__ import annotations

import copy
import errno
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError

from flyball.backends.db.mounts import network_kind
from flyball.backends.db.translate import MAKE_ANEW, translated
from flyball.core.errors import (
    BackupUnsupported,
    DatabaseBusy,
    DatabaseCorrupt,
    DatabaseUnavailable,
    NestedWrite,
    NetworkFileSystem,
    StorageFull,
    UnsupportedUrl,
)

BUSY_SECONDS = 30
# A writer that was paused within its transaction is cut off before those who wait for it give up.
_IDLE_SECONDS = 15
_WRITE_LOCK = 0x666C7962616C6C  # "flyball": the PostgreSQL advisory lock that all writers of a database share
_BEGIN_WRITING = sa.select(
    sa.func.set_config("idle_in_transaction_session_timeout", f"{_IDLE_SECONDS}s", True),
    sa.func.pg_advisory_xact_lock(_WRITE_LOCK),
)


class Database:
    """An open database. Thread-safe; one per process and URL is enough.

    Both kinds behave alike: a reader sees one snapshot, and writers come one after the other, so that code
    which reads and then writes needs no row locks. On SQLite that is BEGIN IMMEDIATE: in WAL mode, a read that
    turns into a write fails at once, whatever the timeout. On PostgreSQL it is an advisory lock taken first:
    every change ends in the audit chain, whose one counter would make writers queue in any case, only later
    and with deadlocks.
    """

    def __init__(self, url: URL, place: str, read: Engine, write: Engine, workflows: Engine) -> None:
        self.url = url
        self.place = place
        self.dialect: Literal["sqlite", "postgresql"] = (
            "sqlite" if url.get_backend_name() == "sqlite" else "postgresql"
        )
        self._read_engine = read
        self._write_engine = write
        self._workflow_engine = workflows
        self._fence: Callable[[Connection], None] | None = None
        self._turn = threading.Lock()
        self._inside = threading.local()

    def __repr__(self) -> str:
        return f"Database({self.place!r})"

    @property
    def path(self) -> Path | None:
        """The file of a SQLite database, None for PostgreSQL."""
        return Path(self.url.database) if self.dialect == "sqlite" and self.url.database else None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one snapshot; writing through it raises."""
        with translated(self.place), self._read_engine.begin() as conn:
            yield conn

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection in a write transaction: on disk when the block ends, undone when it raises.

        Keep it short: all writers of the database wait. Raises NestedWrite, DatabaseBusy, StorageFull.
        """
        if getattr(self._inside, "writing", False):
            raise NestedWrite(
                "a write transaction is already open in this thread; pass its connection on instead"
            )
        with translated(self.place), self._my_turn(), self._write_engine.begin() as conn:
            if self.dialect == "postgresql":
                conn.execute(_BEGIN_WRITING)
            if self._fence is not None:
                self._fence(conn)
            yield conn

    def fenced(self, fence: Callable[[Connection], None]) -> Database:
        """This database for one who may lose the right to write: `fence` is asked first in each of its transactions.

        What fence raises undoes the transaction. Writers come one after the other, so its answer holds until the end.
        """
        view = copy.copy(self)
        view._fence = fence
        return view

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        # Threads of one process queue here, fairly and without SQLite's sleeping retries.
        if not self._turn.acquire(timeout=BUSY_SECONDS):
            raise DatabaseBusy(
                f"{self.place} was being written for more than {BUSY_SECONDS} s", place=self.place
            )
        self._inside.writing = True
        try:
            yield
        finally:
            self._inside.writing = False
            self._turn.release()

    def open_workflow_engine(self) -> Engine:
        """The engine for durable workflows, whose store answers: a file of its own beside SQLite's, or the same server.

        Raises DatabaseCorrupt, DatabaseUnavailable when that file can't be used.
        """
        if self.dialect == "sqlite":
            place = str(self._workflow_engine.url.database)
            with translated(place, MAKE_ANEW), self._workflow_engine.connect() as conn:
                conn.exec_driver_sql("PRAGMA schema_version")
        return self._workflow_engine

    def backup(self, target: Path) -> None:
        """Write a consistent copy to `target`, a new file, while others go on working (SQLite only)."""
        if self.dialect != "sqlite":
            raise BackupUnsupported(f"{self.place} is a PostgreSQL database; back it up with pg_dump")
        partial = target.with_name(target.name + ".partial")
        partial.unlink(missing_ok=True)
        with translated(self.place):
            source = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=BUSY_SECONDS)
            try:
                source.execute("VACUUM INTO ?", (str(partial),))
            finally:
                source.close()
        _sync(partial)
        partial.rename(target)
        _sync(target.parent)

    def problems(self) -> list[str]:
        """What an integrity check finds; empty when the database is whole. Reads all of it."""
        if self.dialect == "postgresql":
            with self.read() as conn:
                conn.execute(sa.select(1))
            return []
        with self.read() as conn:
            found = _check_integrity(conn)
            keys = [
                f"{r[0]}: row {r[1]} points nowhere" for r in conn.exec_driver_sql("PRAGMA foreign_key_check")
            ]
        workflows = str(self._workflow_engine.url.database)
        try:
            with translated(workflows, MAKE_ANEW), self._workflow_engine.connect() as conn:
                steps = [f"{workflows}: {problem}" for problem in _check_integrity(conn)]
        except DatabaseCorrupt as error:
            steps = [error.message]
        return found + keys + steps

    def close(self) -> None:
        """Give all connections back."""
        for engine in (self._read_engine, self._write_engine, self._workflow_engine):
            engine.dispose()


def open_database(url: str) -> Database:
    """The database at `sqlite:///<file>` or `postgresql://…`; makes a SQLite file, but no tables.

    Raises UnsupportedUrl, NetworkFileSystem. A server that does not answer is noticed on first use.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise UnsupportedUrl(
            "the database URL can't be read; use sqlite:///<file> or postgresql://user@host/name"
        ) from error
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return _open_sqlite(parsed)
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return _open_postgres(parsed.set(drivername="postgresql+psycopg"))
    raise UnsupportedUrl(
        f"no database of kind {parsed.drivername!r}; use sqlite:///<file> or postgresql://user@host/name",
        kind=parsed.drivername,
    )


def _open_sqlite(url: URL) -> Database:
    if not url.database or url.database == ":memory:" or url.query:
        raise UnsupportedUrl("a SQLite URL names one file: sqlite:////absolute/path/flyball.db")
    path = Path(url.database).expanduser().absolute()
    if kind := network_kind(path):
        raise NetworkFileSystem(str(path), kind)
    url = url.set(database=str(path))
    workflows = path.with_name("workflows.db")
    _create_files(path, workflows)
    read = sa.create_engine(url, pool_size=5, max_overflow=20, pool_timeout=BUSY_SECONDS)
    write = sa.create_engine(url, pool_size=1, max_overflow=1, pool_timeout=BUSY_SECONDS)
    steps = sa.create_engine(
        url.set(database=str(workflows)), pool_size=5, max_overflow=30, pool_timeout=BUSY_SECONDS
    )
    _prepare_sqlite(read, begin="BEGIN", read_only=True)
    _prepare_sqlite(write, begin="BEGIN IMMEDIATE")
    # dbos's own migration breaks under a begin event; it asks for immediate transactions by isolation level.
    _prepare_sqlite(steps, isolation="IMMEDIATE")
    return Database(url, str(path), read, write, steps)


def _create_files(*paths: Path) -> None:
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Others on the machine have no business in here; -wal and -shm files get the same rights.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageFull(
                f"no room for {error.filename}: {error.strerror}", path=error.filename
            ) from error
        raise DatabaseUnavailable(
            f"{error.filename} can't be opened: {error.strerror}; check path and rights, or set FLYBALL_HOME",
            path=error.filename,
        ) from error


def _prepare_sqlite(
    engine: Engine, *, begin: str | None = None, isolation: str | None = None, read_only: bool = False
) -> None:
    @sa.event.listens_for(engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        # None: the driver must not begin transactions on its own, deferred and only at the first write.
        connection.isolation_level = isolation
        connection.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
        _use_write_ahead_log(connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON", *(["query_only=ON"] if read_only else [])):
            connection.execute("PRAGMA " + pragma)

    if begin:

        @sa.event.listens_for(engine, "begin")
        def emit(connection: Connection) -> None:
            connection.exec_driver_sql(begin)


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch to WAL, which only the first connection to a new file has to do.

    SQLite does not wait by `busy_timeout` here while another process is about to do the same.
    """
    give_up = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= give_up:
                raise
        time.sleep(0.01)


def _open_postgres(url: URL) -> Database:
    place = url.render_as_string(hide_password=True)
    options: dict[str, Any] = {"pool_pre_ping": True, "pool_timeout": BUSY_SECONDS}
    connect = {"connect_timeout": 5}
    write = sa.create_engine(url, pool_size=5, max_overflow=20, connect_args=connect, **options)
    workflows = sa.create_engine(url, pool_size=5, max_overflow=30, connect_args=connect, **options)
    for engine in (write, workflows):

        @sa.event.listens_for(engine, "connect")
        def prepare(connection: Any, _record: Any) -> None:
            # A server may be set to acknowledge before its log is on disk; we don't.
            before, connection.autocommit = connection.autocommit, True
            connection.execute(f"SET synchronous_commit = on; SET lock_timeout = '{BUSY_SECONDS}s'")
            connection.autocommit = before

    read = write.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return Database(url, place, read, write, workflows)


def _check_integrity(conn: Connection) -> list[str]:
    lines = [str(row[0]) for row in conn.exec_driver_sql("PRAGMA integrity_check(20)")]
    return [line for line in lines if line != "ok"]


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
