"""At most one controller: a lease that only one process holds, and a token that fences its predecessors.

No two clocks are ever compared. On SQLite the kernel holds the lock and frees it when its process dies. On
PostgreSQL the holder counts up a beat; a challenger takes over once it has watched the same beat for the
whole lapse on its own monotonic clock, so a jumping wall clock neither loses nor steals a lease.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec
from sqlalchemy import Column, Integer, String, Table, insert, select, update
from sqlalchemy.engine import Connection

from flyball.backends.db.database import Database
from flyball.backends.db.metadata import Json, metadata
from flyball.backends.processes import ProcessIdentity, this_process
from flyball.core.errors import DatabaseUnavailable, LeaseLost

leases = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("token", Integer, nullable=False),
    Column("beat", Integer, nullable=False),
    Column("holder", Json),
)


class Lease(Protocol):
    """A lease on being the one who does something, such as `controller`."""

    name: str
    fencing_token: int  # grows with every holder; 0 before the lease was ever held

    @property
    def is_held(self) -> bool:
        """Whether this process may act, as far as it can tell without asking anybody."""

    def try_acquire(self) -> bool:
        """Become the holder if nobody else is; never waits. While standing by, call it about every second."""

    def renew(self) -> bool:
        """Say that the holder lives, at least every third of the lapse. False: lost, stop acting."""

    def release(self) -> None:
        """Let the next one in at once."""

    def assert_held(self, conn: Connection) -> None:
        """Raises LeaseLost if a later holder exists; this fences the write transaction it is called in."""


def open_lease(
    database: Database,
    home: Path,
    name: str,
    lapse_seconds: float = 10.0,
    monotonic: Callable[[], float] = time.monotonic,
) -> Lease:
    """The lease of this name: a lock on `<home>/<name>.lock` for SQLite, a fenced row for PostgreSQL.

    lapse_seconds: how long a holder on PostgreSQL may be silent before another one takes over.
    """
    if database.dialect == "sqlite":
        return FileLease(database, home, name)
    return RowLease(database, name, lapse_seconds, monotonic)


def assert_holder(conn: Connection, name: str, token: int) -> None:
    """Raises LeaseLost if the lease has had a later holder than the one with this token."""
    if conn.execute(select(leases.c.token).where(leases.c.name == name)).scalar_one_or_none() != token:
        raise LeaseLost(f"another process has become {name}; this one stops acting", name=name)


class _Fenced:
    """What both kinds share: the row with the token."""

    def __init__(self, database: Database, name: str) -> None:
        self.name = name
        self.fencing_token = 0
        self._database = database

    def assert_held(self, conn: Connection) -> None:
        assert_holder(conn, self.name, self.fencing_token)

    def _take(self, conn: Connection) -> int:
        """Write ourselves down as the next holder; the new token."""
        token = conn.execute(select(leases.c.token).where(leases.c.name == self.name)).scalar_one_or_none()
        values = {"token": (token or 0) + 1, "beat": 0, "holder": this_process()}
        if token is None:
            conn.execute(insert(leases).values(name=self.name, **values))
        else:
            conn.execute(update(leases).where(leases.c.name == self.name).values(**values))
        return (token or 0) + 1

    def _write_released(self) -> None:
        mine = update(leases).where(leases.c.name == self.name, leases.c.token == self.fencing_token)
        with self._database.write() as conn:
            conn.execute(mine.values(holder=None))


class FileLease(_Fenced):
    """A lease by a lock on a file: for databases that only one machine can open."""

    def __init__(self, database: Database, home: Path, name: str) -> None:
        super().__init__(database, name)
        self._path = home / f"{name}.lock"
        self._handle: int | None = None

    @property
    def is_held(self) -> bool:
        return self._handle is not None

    def try_acquire(self) -> bool:
        if self._handle is not None:
            return True
        handle = self._lock()
        if handle is None:
            return False
        try:
            with self._database.write() as conn:
                self.fencing_token = self._take(conn)
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle
        return True

    def _lock(self) -> int | None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DatabaseUnavailable(f"{self._path} can't be opened: {error.strerror}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return None
            raise DatabaseUnavailable(f"{self._path} can't be locked: {error.strerror}") from error
        return handle

    def renew(self) -> bool:
        return self._handle is not None

    def release(self) -> None:
        if self._handle is None:
            return
        try:
            self._write_released()
        finally:
            os.close(self._handle)
            self._handle = None


class RowLease(_Fenced):
    """A lease by a row: for databases that many machines share."""

    def __init__(
        self, database: Database, name: str, lapse_seconds: float, monotonic: Callable[[], float]
    ) -> None:
        super().__init__(database, name)
        self._lapse_seconds = lapse_seconds
        self._monotonic = monotonic
        self._held_until: float | None = None
        self._watched: tuple[int, int] | None = None
        self._watched_since = 0.0

    @property
    def is_held(self) -> bool:
        return self._held_until is not None and self._monotonic() < self._held_until

    def try_acquire(self) -> bool:
        if self.is_held:
            return self.renew()
        asked = self._monotonic()
        with self._database.write() as conn:
            if not self._is_free(conn, asked):
                return False
            self.fencing_token = self._take(conn)
        self._extend(asked)
        return True

    def _is_free(self, conn: Connection, asked: float) -> bool:
        row = conn.execute(select(leases).where(leases.c.name == self.name)).one_or_none()
        if row is None or row.holder is None:
            return True
        if msgspec.convert(row.holder, ProcessIdentity).is_gone():
            return True
        if self._watched != (row.token, row.beat):
            self._watched, self._watched_since = (row.token, row.beat), asked
            return False
        return asked - self._watched_since >= self._lapse_seconds

    def renew(self) -> bool:
        if self._held_until is None:
            return False
        asked = self._monotonic()
        mine = update(leases).where(leases.c.name == self.name, leases.c.token == self.fencing_token)
        with self._database.write() as conn:
            renewed = conn.execute(mine.values(beat=leases.c.beat + 1)).rowcount == 1
        if renewed:
            self._extend(asked)
        else:
            self._held_until = None
        return renewed

    def _extend(self, asked: float) -> None:
        # Counted from before the row was written, and a tenth short: we stop before a challenger may start.
        self._held_until = asked + 0.9 * self._lapse_seconds

    def release(self) -> None:
        if self._held_until is not None:
            self._held_until = None
            self._write_released()
