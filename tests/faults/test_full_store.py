"""A store without room: each write says so, changes nothing, and works again once there is room."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flyball.backends.blobs.store import open_blobs
from flyball.backends.db.database import Database, open_database
from flyball.governance.verify import verify

# A file-size limit stands for the full disk: both stop a write half way. SIGXFSZ is ignored by Python itself.
PROGRAM = """
import resource, sys, time
from datetime import UTC, datetime
from flyball.backends.blobs.store import open_blobs
from flyball.backends.db.database import open_database
from flyball.core.errors import StorageFull
from flyball.core.values import Actor
from flyball.governance.journal import Change, record, head
from flyball.governance.verify import verify

database, blobs = open_database(sys.argv[1]), open_blobs(sys.argv[2])
big = Change(actor=Actor("ann"), action="a.b", subject="x:y", why="z" * 3_000_000)
small = Change(actor=Actor("ann"), action="a.b", subject="x:y")

def note(change):
    with database.write() as conn:
        record(conn, change, datetime.now(UTC))

note(small)
kept = blobs.put_object(b"kept")
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, hard))
for write in (lambda: note(big), lambda: blobs.put_object(b"x" * 2_000_000),
              lambda: blobs.create("a/b", b"x" * 2_000_000), lambda: blobs.put_latest("a/c", b"x" * 2_000_000)):
    began = time.monotonic()
    try:
        write()
        print("it fitted")
    except StorageFull as error:
        print("full", time.monotonic() - began < 1, "nothing was changed" in error.message)
with database.read() as conn:
    print("read", head(conn).number, verify(conn).ok, blobs.get_object(kept))
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
note(big)
blobs.create("a/b", b"x" * 2_000_000)
print("again")
"""


@pytest.mark.parametrize("kind", ["file"])
def test_without_room_writes_are_refused_whole_and_reads_go_on(
    sqlite_database: Database, tmp_path: Path, child_environment: dict[str, str], kind: str
) -> None:
    objects_url = f"{kind}://{tmp_path}/objects"
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(sqlite_database.url), objects_url],
        capture_output=True,
        env=child_environment,
        text=True,
        check=False,
    )
    assert said.stdout.splitlines() == [
        *["full True True"] * 4,
        "read 1 True b'kept'",
        "again",
    ], said.stderr
    database, blobs = open_database(str(sqlite_database.url)), open_blobs(objects_url)
    with database.read() as conn:
        found = verify(conn)
    assert (found.ok, found.entries, database.problems()) == (True, 2, [])
    assert blobs.list("a") == ["a/b"]
    assert list((tmp_path / "objects" / ".tmp").iterdir()) == []
    database.close()


TABLE = """
import resource, sys
import polars as pl
from flyball.backends.tables.delta import append, scan
from flyball.core.errors import StorageFull
url = sys.argv[1]
rows = pl.DataFrame({"x": range(10)})
big = pl.DataFrame({"x": range(500_000)}).with_columns(x=pl.col("x").hash().cast(pl.Int64, strict=False).fill_null(0))
append(url, rows, transactions={"w": 1})
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
try:
    append(url, big, transactions={"w": 2})
except StorageFull:
    print("full", scan(url).collect().height)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
append(url, big, transactions={"w": 2})
print("again", scan(url).collect().height)
"""


def test_without_room_a_table_stays_as_it_was(tmp_path: Path, child_environment: dict[str, str]) -> None:
    said = subprocess.run(
        [sys.executable, "-c", TABLE, f"file://{tmp_path}/table"],
        capture_output=True,
        env=child_environment,
        text=True,
        check=False,
    )
    assert said.stdout.splitlines() == ["full 10", "again 500010"], said.stderr
