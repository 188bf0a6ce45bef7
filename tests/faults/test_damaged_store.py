"""Torn, flipped and missing bytes in stores: found, named, never handed out."""

from __future__ import annotations

import os
import random
import stat
import time
from pathlib import Path

import pytest

from flyball.backends.blobs.files import FileBlobs
from flyball.backends.db.database import Database, open_database
from flyball.core.errors import BlobsUnavailable, CorruptObject, DatabaseCorrupt, DatabaseUnavailable
from flyball.core.settings import settings_at
from flyball.core.values import Actor
from flyball.governance.journal import Change, record
from flyball.governance.verify import verify
from flyball.operations.control import open_workshop
from flyball.operations.opening import open_backends

CHANGE = Change(actor=Actor("ann"), action="a.b", subject="x:y", why="z" * 500)


@pytest.fixture
def store(tmp_path: Path) -> FileBlobs:
    return FileBlobs(f"file://{tmp_path}/objects")


def test_a_hundred_of_a_hundred_damaged_objects_are_found(store: FileBlobs, tmp_path: Path) -> None:
    rng = random.Random(1)
    data = rng.randbytes(20_000)
    digest = store.put_object(data)
    path = tmp_path / "objects" / store.object_key(digest)
    for number in range(100):
        damaged = bytearray(data)
        if number % 3 == 0:
            del damaged[rng.randrange(len(data)) :]
        else:
            damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(CorruptObject, match=digest):
            store.get_object(digest)


def test_what_a_killed_writer_left_is_no_object_and_is_swept(store: FileBlobs, tmp_path: Path) -> None:
    store.put_object(b"whole")
    torn = tmp_path / "objects" / ".tmp" / "0123456789abcdef"
    torn.write_bytes(b"who")
    assert len(store.list("")) == 1
    assert store.sweep() == 0  # somebody may just be writing it
    day_before_yesterday = time.time() - 2 * 86_400
    os.utime(torn, (day_before_yesterday, day_before_yesterday))
    assert store.sweep() == 1
    assert not torn.exists()
    assert len(store.list("")) == 1


def test_whoever_makes_runs_sweeps_the_object_store(tmp_path: Path) -> None:
    torn = tmp_path / "home" / "objects" / ".tmp" / "0123456789abcdef"
    torn.parent.mkdir(parents=True)
    torn.write_bytes(b"who")
    os.utime(torn, (time.time() - 2 * 86_400,) * 2)
    backends = open_backends(settings_at(tmp_path / "home", None, None))
    open_workshop(backends, "run")
    backends.close()
    assert not torn.exists()


def test_bytes_are_on_disk_before_they_get_their_name_and_the_name_before_the_answer(
    store: FileBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    real = {name: getattr(os, name) for name in ("fsync", "link", "write", "replace")}

    def watch(name: str) -> None:
        def call(*arguments: object) -> object:
            folder = name == "fsync" and stat.S_ISDIR(os.fstat(int(str(arguments[0]))).st_mode)
            calls.append("sync folder" if folder else name)
            return real[name](*arguments)

        monkeypatch.setattr(os, name, call)

    store.put_object(b"makes the folders")
    for name in real:
        watch(name)
    store.create("objects/one", b"x")
    assert calls == ["write", "fsync", "link", "sync folder"]
    calls.clear()
    store.put_latest("objects/one", b"y")
    assert calls[:2] == ["write", "fsync"]
    assert calls[-1] == "sync folder"
    calls.clear()
    store.put_object(b"makes the folders")  # stored by another one who may not have synced the folder yet
    assert calls == ["sync folder"]
    calls.clear()
    store.create("new/folder/two", b"x")
    assert calls == ["write", "fsync", "sync folder", "sync folder", "link", "sync folder"]


def test_a_link_out_of_the_store_is_not_followed(store: FileBlobs, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    store.put_latest("routes/bike/1.json", b"{}")
    (tmp_path / "objects" / "routes" / "bike" / "2.json").symlink_to(tmp_path / "secret")
    with pytest.raises(Exception, match=r"routes|symbolic") as caught:
        store.get("routes/bike/2.json")
    assert "secret" not in str(caught.value)


def fill(path: Path) -> Path:
    from flyball.backends.db.metadata import metadata
    from flyball.core.clock import SystemClock

    database = open_database(f"sqlite:///{path}")
    with database.write() as conn:
        metadata.create_all(conn)
        for _ in range(200):
            record(conn, CHANGE, SystemClock().now())
    with database.write() as conn:
        conn.exec_driver_sql("SELECT 1")
    database.close()  # the last one to close moves everything from the -wal file into the database
    return path


def examine(path: Path) -> list[str]:
    """What doctor and `audit verify` would say about a database file."""
    database: Database | None = None
    try:
        database = open_database(f"sqlite:///{path}")
        problems = database.problems()
        with database.read() as conn:
            found = verify(conn)
        return problems + ([] if found.ok else [str(found.problem)])
    except (DatabaseCorrupt, DatabaseUnavailable) as error:
        return [error.message]
    finally:
        if database is not None:
            database.close()


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "flyball.db"
    path.write_bytes(b"this is a text, and not a database at all" * 100)
    [problem] = examine(path)
    assert str(path) in problem
    assert "belongs in its place" in problem


def test_a_database_cut_short_is_told(tmp_path: Path) -> None:
    path = fill(tmp_path / "flyball.db")
    assert examine(path) == []
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3)
    assert examine(path) != []


def test_pages_of_entries_that_were_overwritten_are_told(tmp_path: Path) -> None:
    path = fill(tmp_path / "flyball.db")
    whole = path.read_bytes()
    pages = [at for at in range(0, len(whole), 4096) if b"zzzz" in whole[at : at + 4096]]
    assert len(pages) > 20
    for at in pages[::4]:
        damaged = bytearray(whole)
        offset = whole.index(b"zzzz", at)
        damaged[offset] ^= 1  # one bit, in a reason: the page still reads well, the chain does not
        path.write_bytes(damaged)
        assert any("was changed" in problem for problem in examine(path))
        damaged[at : at + 4096] = b"\xa5" * 4096
        path.write_bytes(damaged)
        assert examine(path) != []


def test_an_entry_of_the_audit_trail_that_can_not_even_be_read_is_told_by_its_number(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{fill(tmp_path / 'flyball.db')}")
    for column, value in (("at", "garbage"), ("facts", "{")):
        with database.write() as conn:
            conn.exec_driver_sql(f"CREATE TABLE kept_{column} AS SELECT * FROM audit_entries")
            conn.exec_driver_sql(f"UPDATE audit_entries SET {column} = '{value}' WHERE number = 30")
        with database.read() as conn:
            found = verify(conn)
        assert (found.ok, found.bad_number, found.head.number) == (False, 30, 29)
        with database.write() as conn:
            conn.exec_driver_sql("DELETE FROM audit_entries")
            conn.exec_driver_sql(f"INSERT INTO audit_entries SELECT * FROM kept_{column}")
    with database.read() as conn:
        assert verify(conn).ok
    database.close()


def test_a_store_that_is_moved_while_something_is_written_leaves_no_empty_one_behind(tmp_path: Path):
    root, away = tmp_path / "objects", tmp_path / "away"
    FileBlobs(f"file://{root}").create("segments/first", b"1")

    class MovedMeanwhile(FileBlobs):
        """Between the bytes and the name, somebody moves the folder."""

        def _name(self, unfinished: Path, target: Path, key: str) -> None:
            root.rename(away)
            super()._name(unfinished, target, key)

    with pytest.raises(BlobsUnavailable):
        MovedMeanwhile(f"file://{root}").create("segments/second", b"2")
    assert not root.exists() and FileBlobs(f"file://{away}").get("segments/first") == b"1"
