"""A driver's errors in our words."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from flyball.backends.db.translate import translated
from flyball.core.errors import (
    DatabaseBusy,
    DatabaseCorrupt,
    DatabaseUnavailable,
    FlyballError,
    StorageFull,
)


class PostgresError(Exception):
    def __init__(self, sqlstate: str | None) -> None:
        super().__init__("server said so\nsecond line")
        self.sqlstate = sqlstate


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("sqlite said so")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_BUSY, DatabaseBusy),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, DatabaseBusy),
        (sqlite3.SQLITE_LOCKED, DatabaseBusy),
        (sqlite3.SQLITE_FULL, StorageFull),
        (sqlite3.SQLITE_IOERR_WRITE, StorageFull),
        (sqlite3.SQLITE_IOERR_FSYNC, StorageFull),
        (sqlite3.SQLITE_IOERR_READ, DatabaseUnavailable),
        (sqlite3.SQLITE_CANTOPEN, DatabaseUnavailable),
        (sqlite3.SQLITE_READONLY_DIRECTORY, DatabaseUnavailable),
        (sqlite3.SQLITE_CORRUPT, DatabaseCorrupt),
        (sqlite3.SQLITE_NOTADB, DatabaseCorrupt),
    ],
)
@pytest.mark.parametrize("wrapped", [True, False])
def test_what_sqlite_says_is_said_in_our_words(code: int, kind: type[FlyballError], wrapped: bool) -> None:
    original = sqlite_error(code)
    with pytest.raises(kind, match=r"/home/x\.db"), translated("/home/x.db"):
        raise OperationalError("select", {}, original) if wrapped else original


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("53100", StorageFull),
        ("55P03", DatabaseBusy),
        ("40001", DatabaseBusy),
        ("XX001", DatabaseCorrupt),
        ("08006", DatabaseUnavailable),
        ("57P01", DatabaseUnavailable),
        ("53300", DatabaseUnavailable),
        ("28P01", DatabaseUnavailable),
    ],
)
def test_what_postgresql_says_is_said_in_our_words(state: str, kind: type[FlyballError]) -> None:
    with pytest.raises(kind, match="db on host") as caught, translated("db on host"):
        raise OperationalError("select", {}, PostgresError(state))
    assert "second line" not in caught.value.message


def test_mistakes_of_ours_stay_what_they_are() -> None:
    with pytest.raises(IntegrityError), translated("x"):
        raise IntegrityError("insert", {}, sqlite_error(sqlite3.SQLITE_CONSTRAINT_UNIQUE))
    with pytest.raises(OperationalError), translated("x"):
        raise OperationalError("select", {}, sqlite_error(sqlite3.SQLITE_ERROR))
    with pytest.raises(OperationalError), translated("x"):
        raise OperationalError("select", {}, PostgresError("42P01"))
