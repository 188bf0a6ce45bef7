"""Who executes workflows: one row a process, a beat that says it lives, and the proof that one is dead."""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import BigInteger, Column, Integer, String, Table, delete, insert, select, update
from sqlalchemy.engine import Connection

from flyball.backends.db.database import Database
from flyball.backends.db.metadata import UtcDateTime, metadata
from flyball.backends.processes import ProcessIdentity, this_process
from flyball.core.clock import Clock, SystemClock
from flyball.core.errors import FlyballError
from flyball.core.ids import new_id

LAPSE = timedelta(seconds=15)
# A process that still runs on this machine but does not beat is stopped or starved rather than dead.
_LAPSE_WHILE_RUNNING = 10
_KEPT = timedelta(days=30)

executors = Table(
    "executors",
    metadata,
    Column("executor_id", String(64), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_started", BigInteger, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("heartbeat_at", UtcDateTime, nullable=False),
    Column("stopped_at", UtcDateTime),
)


class Executor(msgspec.Struct, frozen=True):
    """One process that executes (or executed) workflows."""

    executor_id: str
    kind: str
    host: str
    pid: int
    process_started: int
    started_at: datetime
    heartbeat_at: datetime
    stopped_at: datetime | None

    def is_dead(self, now: datetime, lapse: timedelta = LAPSE) -> bool:
        """Whether its work is up for others: it stopped, its process is gone, or its beat lapsed."""
        process = ProcessIdentity(self.host, self.pid, self.process_started)
        if self.stopped_at is not None or process.is_gone():
            return True
        allowed = lapse * _LAPSE_WHILE_RUNNING if process.host == this_process().host else lapse
        return now - self.heartbeat_at > allowed


def new_executor_id() -> str:
    """An id for a process that is about to execute workflows; its next start gets another one."""
    return new_id("exe")


def list_executors(conn: Connection) -> list[Executor]:
    """All executors of the last 30 days, oldest first."""
    rows = conn.execute(select(executors).order_by(executors.c.started_at))
    return [Executor(**row._mapping) for row in rows]


def dead_executors(conn: Connection, now: datetime, lapse: timedelta = LAPSE) -> list[str]:
    """The ids of executors that are proven dead, oldest first."""
    return [found.executor_id for found in list_executors(conn) if found.is_dead(now, lapse)]


class Heartbeat:
    """The calling process's row in `executors`, kept fresh by a thread of its own."""

    def __init__(
        self,
        database: Database,
        executor_id: str,
        kind: str,
        clock: Clock | None = None,
        every_seconds: float = 3.0,
    ) -> None:
        self._database = database
        self._executor_id = executor_id
        self._kind = kind
        self._clock = clock or SystemClock()
        self._every_seconds = every_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Write the row, then beat. Returns once others can see that this process lives."""
        process, now = this_process(), self._clock.now()
        with self._database.write() as conn:
            conn.execute(delete(executors).where(executors.c.heartbeat_at < now - _KEPT))
            conn.execute(
                insert(executors).values(
                    executor_id=self._executor_id,
                    kind=self._kind,
                    host=process.host,
                    pid=process.pid,
                    process_started=process.started,
                    started_at=now,
                    heartbeat_at=now,
                )
            )
        self._thread.start()

    def stop(self) -> None:
        """Say that this process executes no more; whatever it left unfinished is up for others at once."""
        self._stop.set()
        self._thread.join()
        self._write(stopped=True)

    def _beat(self) -> None:
        while not self._stop.wait(self._every_seconds):
            try:
                self._write(stopped=False)
            except FlyballError as error:
                # Full disk, busy or unreachable database: the next beat may come through.
                logging.getLogger(__name__).warning("heartbeat not written: %s", error.message)

    def _write(self, *, stopped: bool) -> None:
        now = self._clock.now()
        mine = update(executors).where(executors.c.executor_id == self._executor_id)
        with self._database.write() as conn:
            conn.execute(mine.values(heartbeat_at=now, **({"stopped_at": now} if stopped else {})))
