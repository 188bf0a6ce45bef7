"""One suite for the metadata database on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, String, Table, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from flyball.backends.db.database import Database, open_database
from flyball.backends.db.metadata import Json, UtcDateTime, metadata
from flyball.core.errors import DatabaseUnavailable, NestedWrite

things = Table(
    "test_things",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("count", Integer, nullable=False, default=0),
    Column("at", UtcDateTime),
    Column("facts", Json),
)
NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def put(database: Database, **values: Any) -> None:
    with database.write() as conn:
        conn.execute(insert(things).values(**values))


def get(database: Database, name: str, column: str) -> Any:
    with database.read() as conn:
        return conn.execute(select(things.c[column]).where(things.c.name == name)).scalar_one()


@pytest.mark.parametrize(
    "value",
    [
        {"b": 1, "a": [1, 2.5, None, True, "é", {"z": []}]},
        [],
        "text",
        0,
        1e16,
        1e22,
        -0.0,
        0.1,
        "nul \x00 inside",
        {"": {"\U0001f600": "' \" \\ %s :x"}},
    ],
)
def test_a_json_value_comes_back_as_it_went_in(database: Database, value: Any) -> None:
    put(database, name="a", facts=value)
    found = get(database, "a", "facts")
    assert found == value
    assert type(found) is type(value)
    if isinstance(value, dict):
        assert list(found) == list(value)


def test_no_json_value_and_not_a_number_come_back_as_none(database: Database) -> None:
    put(database, name="none", facts=None)
    put(database, name="nan", facts={"x": float("nan")})
    assert get(database, "none", "facts") is None
    assert get(database, "nan", "facts") == {"x": None}


def test_a_moment_of_any_zone_comes_back_in_utc_with_its_microseconds(database: Database) -> None:
    put(database, name="a", at=NOON.astimezone(timezone(timedelta(hours=-5))))
    found = get(database, "a", "at")
    assert found == NOON
    assert found.utcoffset() == timedelta(0)


def test_a_moment_without_zone_is_refused(database: Database) -> None:
    with pytest.raises(Exception, match="no time zone"):
        put(database, name="a", at=datetime(2026, 1, 1))  # noqa: DTZ001 - what is tested


def test_moments_sort_and_compare_as_moments(database: Database) -> None:
    moments = {
        "first": datetime(999, 12, 31, tzinfo=UTC),
        "second": NOON - timedelta(microseconds=1),
        "third": NOON,
        "fourth": NOON.replace(microsecond=0) + timedelta(seconds=1),
    }
    for name in ("fourth", "first", "third", "second"):
        put(database, name=name, at=moments[name].astimezone(timezone(timedelta(hours=9))))
    with database.read() as conn:
        ordered = conn.execute(select(things.c.name).order_by(things.c.at)).scalars().all()
        since = conn.execute(select(things.c.name).where(things.c.at >= NOON)).scalars().all()
    assert ordered == list(moments)
    assert set(since) == {"third", "fourth"}


def test_a_write_that_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(KeyError), database.write() as conn:
        conn.execute(insert(things).values(name="a"))
        raise KeyError("stop")
    with database.read() as conn:
        assert conn.execute(select(things)).all() == []


def test_a_broken_rule_of_the_schema_is_told_as_what_it_is(database: Database) -> None:
    put(database, name="a")
    with pytest.raises(IntegrityError):
        put(database, name="a")


def test_a_reader_sees_one_snapshot_while_others_write(database: Database) -> None:
    put(database, name="a", count=1)
    with database.read() as conn:
        before = conn.execute(select(things.c.count)).scalar_one()
        with database.write() as other:
            other.execute(update(things).values(count=2))
        after = conn.execute(select(things.c.count)).scalar_one()
    assert (before, after, get(database, "a", "count")) == (1, 1, 2)


def test_writing_through_a_reader_is_refused(database: Database) -> None:
    with pytest.raises(DBAPIError), database.read() as conn:
        conn.execute(insert(things).values(name="a"))
    with database.write() as conn:
        assert conn.execute(select(things)).all() == []


def test_a_write_within_a_write_is_refused_and_not_waited_for(database: Database) -> None:
    with database.write() as conn:
        with pytest.raises(NestedWrite), database.write():
            pass
        conn.execute(insert(things).values(name="a"))
    assert get(database, "a", "count") == 0


def test_eight_threads_that_read_and_then_write_lose_no_update(database: Database) -> None:
    put(database, name="a")

    def add() -> None:
        for _ in range(10):
            with database.write() as conn:
                count = conn.execute(select(things.c.count)).scalar_one()
                conn.execute(update(things).values(count=count + 1))

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert get(database, "a", "count") == 80


def test_two_databases_of_one_url_see_the_same(database: Database, database_url: str) -> None:
    put(database, name="a", count=3)
    other = open_database(database_url)
    assert get(other, "a", "count") == 3
    other.close()


def test_a_whole_database_has_no_problems(database: Database) -> None:
    assert database.problems() == []


def test_the_password_is_not_shown() -> None:
    opened = open_database("postgresql://ann:secret@127.0.0.1:1/none")
    assert "secret" not in repr(opened)
    with pytest.raises(DatabaseUnavailable) as caught, opened.read():
        pass
    assert "secret" not in caught.value.message
    assert "127.0.0.1" in caught.value.message


def test_workflows_have_an_engine_of_their_own(database: Database) -> None:
    engine = database.open_workflow_engine()
    with engine.begin() as conn:
        assert conn.execute(select(1)).scalar_one() == 1
    if database.dialect == "sqlite":
        assert Path(str(engine.url.database)).name == "workflows.db"
