"""Database errors in our words: busy, unavailable, full, damaged. Everything else passes as it is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from flyball.core.errors import (
    DatabaseBusy,
    DatabaseCorrupt,
    DatabaseUnavailable,
    FlyballError,
    StorageFull,
)

# SQLite says "I/O error" when a quota or a file-size limit stops a write, sync or growth of a file.
_SQLITE_WRITE_FAILED = frozenset(
    {
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_TRUNCATE,
        sqlite3.SQLITE_IOERR_SHMSIZE,
    }
)

RESTORE = (
    "a copy of your own belongs in its place. Without one, `sqlite3 <the file moved aside> .recover` writes as SQL "
    "what can still be read"
)
MAKE_ANEW = (
    "a new one is made. It tells only how far runs and retrainings under way have come; these begin again, and take "
    "the results of finished steps from the cache"
)


@contextmanager
def translated(place: str, remedy: str = RESTORE) -> Iterator[None]:
    """Raises our errors in place of the driver's, naming the database as `place`.

    remedy: what to do about a damaged SQLite file, as the end of a sentence.
    """
    try:
        yield
    except (DBAPIError, PoolTimeout, sqlite3.Error) as error:
        ours = _translate(error, place, remedy)
        if ours is None:
            raise
        raise ours from error


def _translate(error: Exception, place: str, remedy: str) -> FlyballError | None:
    if isinstance(error, PoolTimeout):
        return DatabaseBusy(f"no connection to {place} became free in 30 s; try again", place=place)
    original = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(original, sqlite3.Error):
        return _translate_sqlite(original, place, remedy)
    return _translate_postgres(error, original, place)


def _translate_sqlite(error: sqlite3.Error, place: str, remedy: str) -> FlyballError | None:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    primary = code & 0xFF
    if primary == sqlite3.SQLITE_FULL or code in _SQLITE_WRITE_FAILED:
        return StorageFull(
            f"{place} could not grow: the disk is full, or a quota or file-size limit is reached; "
            "nothing was changed. Free some room and repeat",
            place=place,
        )
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return DatabaseBusy(
            f"{place} was locked for more than 30 s; nothing was changed. Try again", place=place
        )
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        words = f"{place} is damaged ({error}); stop what uses it, and move it aside with its -wal and -shm files: "
        return DatabaseCorrupt(words + remedy, place=place)
    if primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        return DatabaseUnavailable(
            f"{place} can't be opened or read: {error}; check path and rights", place=place
        )
    if primary == sqlite3.SQLITE_READONLY and code != sqlite3.SQLITE_READONLY:
        return DatabaseUnavailable(f"{place} can't be written: {error}; check path and rights", place=place)
    return None


def _translate_postgres(error: Exception, original: object, place: str) -> FlyballError | None:
    state = getattr(original, "sqlstate", None) or ""
    reason = (str(original).strip().splitlines() or ["no answer"])[0]
    if state == "53100":
        return StorageFull(f"{place} has no room left on its disk; nothing was changed", place=place)
    if state in ("55P03", "57014", "40P01", "40001"):
        return DatabaseBusy(
            f"{place} was locked by others for too long; nothing was changed. Try again", place=place
        )
    if state.startswith("XX00"):
        return DatabaseCorrupt(f"{place} reports damage: {reason}; see the server's log", place=place)
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    # Without a state the server was not reached at all; class 08 and 57P are lost connections and shutdowns.
    no_answer = not state and type(original).__name__ in ("OperationalError", "ConnectionTimeout")
    if lost or no_answer or state.startswith(("08", "57P", "53300", "28", "3D")):
        return DatabaseUnavailable(f"{place} does not answer: {reason}", place=place)
    return None
