"""Eight writers on one store, some of them killed: nothing acknowledged is lost, nothing is half there."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, String, Table, insert, select

from flyball.backends.blobs.store import open_blobs
from flyball.backends.db.database import Database, open_database
from flyball.backends.db.metadata import metadata
from flyball.backends.tables.delta import append, committed_transaction, scan
from flyball.governance.journal import head
from flyball.governance.verify import verify

named = Table(
    "test_named",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("digest", String(71), nullable=False),
)
counters = Table("test_counters", metadata, Column("name", String(8), primary_key=True), Column("n", Integer))

PRELUDE = """
import sys, time
from datetime import UTC, datetime
from sqlalchemy import *
from flyball.backends.blobs.store import open_blobs
from flyball.backends.db.database import open_database
from flyball.backends.db.metadata import metadata
from flyball.core.values import Actor
from flyball.governance.journal import Change, record
named = Table("test_named", metadata, Column("name", String(64), primary_key=True), Column("digest", String(71)))
counters = Table("test_counters", metadata, Column("name", String(8), primary_key=True), Column("n", Integer))
change = Change(actor=Actor("w"), action="a.b", subject="x:y", event="a.b")
"""
COUNT = (
    PRELUDE
    + """
database = open_database(sys.argv[1])
for number in range(40):
    with database.write() as conn:
        n = conn.execute(select(counters.c.n)).scalar_one()
        conn.execute(update(counters).values(n=n + 1))
        record(conn, change, datetime.now(UTC))
print("done")
"""
)
# Object first, then the row that names it; a line on standard output is the acknowledgement.
STORE = (
    PRELUDE
    + """
database, blobs, writer = open_database(sys.argv[1]), open_blobs(sys.argv[2]), sys.argv[3]
print("up", flush=True)
number = 0
while True:
    data = (f"{writer} {number} " * 5000).encode()
    digest = blobs.put_object(data)
    with database.write() as conn:
        conn.execute(insert(named).values(name=f"{writer}-{number}", digest=digest))
        record(conn, change, datetime.now(UTC))
    print(f"{writer}-{number}", flush=True)
    number += 1
"""
)
APPEND = """
import sys, polars as pl
from flyball.backends.tables.delta import append
url, writer = sys.argv[1], sys.argv[2]
number = 1
while True:
    frame = pl.DataFrame({"writer": [writer] * 20, "number": [number] * 20})
    append(url, frame, transactions={writer: number})
    print(number, flush=True)
    number += 1
"""


def start(program: str, environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, env=environment, text=True
    )


def test_eight_processes_that_read_and_then_write_lose_nothing(
    database: Database, database_url: str, child_environment: dict[str, str]
) -> None:
    with database.write() as conn:
        conn.execute(insert(counters).values(name="a", n=0))
    running = [start(COUNT, child_environment, database_url) for _ in range(8)]
    assert [process.communicate(timeout=120)[0] for process in running] == ["done\n"] * 8
    with database.read() as conn:
        assert conn.execute(select(counters.c.n)).scalar_one() == 320
        found = verify(conn)
    assert (found.ok, found.entries) == (True, 320)


def test_writers_killed_between_object_and_row_leave_no_row_without_its_object(
    database: Database, database_url: str, tmp_path: Path, child_environment: dict[str, str]
) -> None:
    rng = random.Random(3)
    objects_url = f"file://{tmp_path}/objects"
    acknowledged: list[str] = []
    for kill in range(20):
        process = start(STORE, child_environment, database_url, objects_url, f"w{kill}")
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        # Not before its first row, or a busy machine would kill writers that never wrote.
        acknowledged += process.stdout.readline().split()
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        acknowledged += process.communicate()[0].split()
    opened, blobs = open_database(database_url), open_blobs(objects_url)
    with opened.read() as conn:
        rows = {row.name: row.digest for row in conn.execute(select(named))}
        assert verify(conn).entries == len(rows) == head(conn).number
        assert verify(conn).ok
    opened.close()
    assert set(acknowledged) <= set(rows)
    assert len(acknowledged) >= 20
    for digest in rows.values():
        blobs.get_object(digest)
    # What was stored and not named is whole as well: a file gets its name when its bytes are on disk.
    for key in blobs.list("objects"):
        blobs.get_object("sha256:" + key.rsplit("/", 1)[1])


@pytest.mark.parametrize("rounds", [4, pytest.param(20, marks=pytest.mark.long)])
def test_killed_appenders_lose_no_acknowledged_rows_and_add_none_twice(
    tmp_path: Path, child_environment: dict[str, str], rounds: int
) -> None:
    rng = random.Random(5)
    url = f"file://{tmp_path}/table"
    acknowledged: dict[str, int] = {}
    for number in range(rounds):
        writers = [f"r{number}-{which}" for which in "ab"]
        running = [start(APPEND, child_environment, url, writer) for writer in writers]
        for process in running:
            assert process.stdout is not None
            process.stdout.readline()
        time.sleep(rng.uniform(0, 0.3))
        for process, writer in zip(running, writers, strict=True):
            process.kill()
            lines = process.communicate()[0].split()
            acknowledged[writer] = int(lines[-1]) if lines else 1
    counts = scan(url).group_by("writer", "number").len().collect()
    assert set(counts["len"]) == {20}
    for writer, last in acknowledged.items():
        numbers = sorted(counts.filter(writer=writer)["number"])
        committed = committed_transaction(url, writer)
        assert committed is not None
        assert numbers == list(range(1, committed + 1))
        assert last <= committed <= last + 1
    append(url, scan(url).head(1).collect())
