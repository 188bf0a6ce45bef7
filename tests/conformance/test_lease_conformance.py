"""One suite for the controller's lease and for heartbeats on SQLite and PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from flyball.backends.db.database import Database
from flyball.backends.db.heartbeats import (
    Heartbeat,
    dead_executors,
    executors,
    list_executors,
    new_executor_id,
)
from flyball.backends.db.lease import RowLease, leases, open_lease
from flyball.backends.processes import ProcessIdentity, this_process
from flyball.core.clock import FixedClock
from flyball.core.errors import LeaseLost

NOW = datetime(2026, 5, 1, tzinfo=UTC)
HOLDER = """
import sys, time
from pathlib import Path
from flyball.backends.db.database import open_database
from flyball.backends.db.lease import open_lease
lease = open_lease(open_database(sys.argv[1]), Path(sys.argv[2]), "controller")
print(lease.try_acquire(), flush=True)
time.sleep(60)
"""


def test_only_one_of_two_holds_the_lease(database: Database, tmp_path: Path) -> None:
    first, second = open_lease(database, tmp_path, "controller"), open_lease(database, tmp_path, "controller")
    assert first.try_acquire() is True
    assert second.try_acquire() is False
    assert (first.is_held, second.is_held) == (True, False)
    assert first.try_acquire() is True
    assert first.renew() is True
    assert second.renew() is False


def test_a_released_lease_is_free_at_once_and_its_token_grows(database: Database, tmp_path: Path) -> None:
    first, second = open_lease(database, tmp_path, "controller"), open_lease(database, tmp_path, "controller")
    assert first.try_acquire()
    with database.read() as conn:
        assert conn.execute(select(leases.c.holder)).scalar_one()["pid"] == this_process().pid
    first.release()
    with database.read() as conn:
        assert conn.execute(select(leases.c.holder)).scalar_one() is None
    assert second.try_acquire()
    assert second.fencing_token == first.fencing_token + 1
    assert not first.is_held


def test_leases_of_different_names_do_not_meet(database: Database, tmp_path: Path) -> None:
    assert open_lease(database, tmp_path, "controller").try_acquire()
    assert open_lease(database, tmp_path, "shipper").try_acquire()


def test_a_fenced_holder_can_not_commit(database: Database, tmp_path: Path) -> None:
    lease = open_lease(database, tmp_path, "controller")
    assert lease.try_acquire()
    with database.write() as conn:
        lease.assert_held(conn)
        conn.execute(update(leases).values(token=leases.c.token + 1))  # what the next holder does
    with pytest.raises(LeaseLost), database.write() as conn:
        conn.execute(insert(leases).values(name="other", token=1, beat=0))
        lease.assert_held(conn)
    with database.read() as conn:
        assert conn.execute(select(leases.c.name)).scalars().all() == ["controller"]


def test_the_lease_of_a_killed_process_is_free_at_once(
    database: Database, database_url: str, tmp_path: Path, child_environment: dict[str, str]
) -> None:
    arguments = [sys.executable, "-c", HOLDER, database_url, str(tmp_path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=child_environment) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "True"
        lease = open_lease(database, tmp_path, "controller")
        assert lease.try_acquire() is False
        holder.kill()
        holder.wait()
        began = time.monotonic()
        assert lease.try_acquire() is True
        assert time.monotonic() - began < 2


def silent_holder_elsewhere(database: Database) -> None:
    elsewhere = ProcessIdentity("another-machine", 1, 1)
    with database.write() as conn:
        conn.execute(insert(leases).values(name="controller", token=7, beat=3, holder=elsewhere))


def test_a_silent_holder_of_another_machine_is_replaced_after_the_lapse_on_our_own_clock(
    postgres_database: Database,
) -> None:
    silent_holder_elsewhere(postgres_database)
    moment = [100.0]
    lease = RowLease(postgres_database, "controller", 10.0, lambda: moment[0])
    assert lease.try_acquire() is False
    moment[0] += 9.9
    assert lease.try_acquire() is False
    moment[0] += 0.2
    assert lease.try_acquire() is True
    assert lease.fencing_token == 8


def test_a_holder_that_beats_is_never_replaced(postgres_database: Database) -> None:
    silent_holder_elsewhere(postgres_database)
    moment = [0.0]
    lease = RowLease(postgres_database, "controller", 10.0, lambda: moment[0])
    for _ in range(5):
        assert lease.try_acquire() is False
        with postgres_database.write() as conn:
            conn.execute(update(leases).values(beat=leases.c.beat + 1))
        moment[0] += 9.0


def test_a_holder_that_can_not_renew_stops_before_anybody_may_follow(postgres_database: Database) -> None:
    moment = [0.0]
    lease = RowLease(postgres_database, "controller", 10.0, lambda: moment[0])
    assert lease.try_acquire()
    moment[0] = 8.9
    assert lease.is_held
    moment[0] = 9.1
    assert not lease.is_held


def beat(database: Database, executor_id: str, **changes: object) -> None:
    process = this_process()
    values = {
        "executor_id": executor_id,
        "kind": "control",
        "host": process.host,
        "pid": process.pid,
        "process_started": process.started,
        "started_at": NOW,
        "heartbeat_at": NOW,
    }
    with database.write() as conn:
        conn.execute(insert(executors).values({**values, **changes}))


def test_the_dead_are_those_whose_process_is_gone_whose_beat_lapsed_or_who_stopped(
    database: Database,
) -> None:
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    beat(database, "alive")
    beat(database, "gone", pid=gone.pid, process_started=1)
    beat(database, "number used again", process_started=1)
    beat(database, "elsewhere", host="another-machine")
    beat(database, "elsewhere, silent", host="another-machine", heartbeat_at=NOW - timedelta(seconds=16))
    beat(database, "busy here", heartbeat_at=NOW - timedelta(seconds=60))
    beat(database, "hung here", heartbeat_at=NOW - timedelta(seconds=200))
    beat(database, "stopped", stopped_at=NOW)
    with database.read() as conn:
        dead = dead_executors(conn, NOW)
    assert set(dead) == {"gone", "number used again", "elsewhere, silent", "hung here", "stopped"}


def test_a_zombie_is_dead(database: Database) -> None:
    child = subprocess.Popen(["/bin/sleep", "60"])
    started = int(Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
    beat(database, "child", pid=child.pid, process_started=started)
    with database.read() as conn:
        assert dead_executors(conn, NOW) == []
        os.kill(child.pid, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while not dead_executors(conn, NOW) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert dead_executors(conn, NOW) == ["child"]
    child.wait()


def test_a_heartbeat_is_visible_once_started_and_dead_once_stopped(database: Database) -> None:
    clock = FixedClock(NOW)
    heartbeat = Heartbeat(database, new_executor_id(), "run", clock, every_seconds=0.02)
    heartbeat.start()
    with database.read() as conn:
        [found] = list_executors(conn)
    assert not found.is_dead(NOW)
    clock.advance(timedelta(seconds=5))
    deadline = time.monotonic() + 5
    while found.heartbeat_at == NOW and time.monotonic() < deadline:
        with database.read() as conn:
            [found] = list_executors(conn)
    assert found.heartbeat_at == NOW + timedelta(seconds=5)
    heartbeat.stop()
    with database.read() as conn:
        assert dead_executors(conn, clock.now()) == [found.executor_id]
