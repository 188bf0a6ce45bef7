"""Two control planes on one PostgreSQL database: one turns the loop, the other takes over, and whoever was replaced is
kept from writing, however it comes back."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, text, update

from flyball.backends.db.database import Database
from flyball.backends.db.lease import RowLease, leases, open_lease
from flyball.core.clock import isoformat
from flyball.core.errors import DatabaseUnavailable, LeaseLost
from flyball.core.ids import new_id
from flyball.core.settings import read_settings
from flyball.core.values import Actor
from flyball.data.segment_book import known_states
from flyball.governance.journal import Change, list_entries, record
from flyball.operations import controller as controller_module
from flyball.operations.analysis_process import AnalysisFailed, AnalysisProcess
from flyball.operations.audit_trail import verify_trail
from flyball.operations.control import open_workshop
from flyball.operations.controller import Controller
from flyball.operations.opening import Backends, open_backends
from flyball.operations.turn import LEASE
from flyball.pipelines.request import RunRequest
from flyball.pipelines.run import new_run
from flyball.pipelines.runs import insert_run

loop = sys.modules["flyball_tests_loop"]
LAPSE = 3.0
CONTROL_PLANE = f"""
import os
from flyball.backends.db.lease import open_lease
from flyball.core.settings import read_settings
from flyball.operations.control import open_workshop
from flyball.operations.controller import Controller
from flyball.operations.opening import open_backends
from flyball.operations.turn import LEASE

backends = open_backends(read_settings())
heartbeat, engine, workshop = open_workshop(backends, "control")
lease = open_lease(backends.database, backends.settings.home, LEASE, lapse_seconds={LAPSE})
heartbeat.start()
engine.launch()
Controller(backends, engine, workshop, lease).run()
"""


class Site:
    """A database and an object store with one model in service, and control planes with a home each."""

    def __init__(self, folder: Path, database_url: str, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = {
            **environment,
            "FLYBALL_DATABASE": database_url,
            "FLYBALL_OBJECTS": f"file://{folder / 'objects'}",
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.backends = self.open("observer")
        self.home = loop.LoopHome(self.backends.database, self.backends.blobs)
        project = loop.make_project(rollout={"strategy": "immediate"})
        self.home.register(project)
        self.home.deploy(1)
        self.project = project

    def open(self, name: str) -> Backends:
        """The stores as the control plane of this name opens them."""
        return open_backends(read_settings(self.folder, self.at(name)))

    def at(self, name: str) -> dict[str, str]:
        return {**self.environment, "FLYBALL_HOME": str(self.folder / name)}

    def start(self, name: str) -> None:
        """A control plane as a process; it and its analysis are one process group."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-c", CONTROL_PLANE],
                env=self.at(name),
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def signal(self, name: str, number: int) -> None:
        os.killpg(self.processes[name].pid, number)
        if number == signal.SIGKILL:
            self.processes[name].wait()

    def leader(self) -> str | None:
        """The name of the process that holds the lease, or held it last."""
        with self.backends.database.read() as conn:
            holder = conn.execute(select(leases.c.holder).where(leases.c.name == LEASE)).scalar_one_or_none()
        named = {process.pid: name for name, process in self.processes.items()}
        return None if holder is None else named.get(holder["pid"])

    def add_candidate(self, also: Callable[[Connection], None] | None = None) -> int:
        """A further version, and the news that a retraining made it; a leader is to promote it, once.

        also: what else is written in the transaction of the news.
        """
        number = self.home.register(self.project)
        facts = {
            "model": loop.MODEL,
            "version": number,
            "retraining_id": f"rtn_{number:032x}",
            "decided_at": isoformat(loop.BEGIN + timedelta(days=number)),
            "because": "a test",
        }
        with self.backends.database.write() as conn:
            record(conn, candidate_ready(facts), self.home.now)
            if also is not None:
                also(conn)
        return number

    def promoted(self) -> list[int]:
        """Versions in the order in which they were promoted by the loop."""
        with self.backends.database.read() as conn:
            entries = list_entries(conn, action="rollout.promoted", limit=1000)
        return [entry.facts["version"] for entry in entries]

    def wait(self, reached: Callable[[], bool], what: str, seconds: float = 40) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            logs = "\n".join(path.read_text(errors="replace")[-2000:] for path in self.folder.glob("*.log"))
            assert time.monotonic() < deadline, f"{what} did not come within {seconds:g} s: {logs}"
            time.sleep(0.05)

    def close(self) -> None:
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.backends.close()


def candidate_ready(facts: dict[str, Any]) -> Change:
    subject = f"retraining:{facts['retraining_id']}"
    return Change(
        actor=Actor("a test"), action="candidate.ready", subject=subject, facts=facts, event="candidate.ready"
    )


@pytest.fixture
def site(tmp_path: Path, postgres_url: str, child_environment: dict[str, str]) -> Iterator[Site]:
    made = Site(tmp_path, postgres_url, child_environment)
    yield made
    made.close()


def check(site: Site, versions: list[int]) -> None:
    """Every candidate was put in service once, in order, and everything in the tables has its entry."""
    assert site.promoted() == versions
    with site.backends.database.read() as conn:
        changes = list_entries(conn, action="deployment.changed", limit=1000)
    assert [entry.facts["champion"] for entry in changes] == [1, *versions]
    assert verify_trail(site.backends).ok


def lead(site: Site) -> str:
    """Start two control planes; the first one leads."""
    site.start("first")
    site.wait(lambda: site.leader() == "first", "the first leader")
    site.start("second")
    return "first"


def test_a_paused_leader_is_replaced_and_steps_back_when_it_goes_on(site: Site):
    lead(site)
    versions = [site.add_candidate()]
    site.wait(lambda: site.promoted() == versions, "a promotion")
    site.signal("first", signal.SIGSTOP)
    versions.append(site.add_candidate())
    site.wait(lambda: site.promoted() == versions, "a promotion by the other one")
    assert site.leader() == "second"
    site.signal("first", signal.SIGCONT)
    versions.append(site.add_candidate())
    site.wait(lambda: site.promoted() == versions, "a third promotion")
    assert site.leader() == "second"
    check(site, versions)


def test_a_killed_leader_is_replaced_at_once_by_a_standby_of_its_machine(site: Site):
    lead(site)
    versions = [site.add_candidate()]
    site.wait(lambda: site.promoted() == versions, "a promotion")
    site.signal("first", signal.SIGKILL)
    versions.append(site.add_candidate())
    site.wait(lambda: site.promoted() == versions, "a promotion by the other one", seconds=20)
    assert site.leader() == "second"
    check(site, versions)


@pytest.mark.long
def test_whatever_is_paused_and_killed_each_candidate_is_promoted_once(site: Site):
    chance = random.Random(11)
    leader, versions = lead(site), []
    for _ in range(8):
        versions.append(site.add_candidate())
        time.sleep(chance.uniform(0.0, 0.2))
        other = "second" if leader == "first" else "first"
        is_killed = chance.random() < 0.4
        site.signal(leader, signal.SIGKILL if is_killed else signal.SIGSTOP)
        site.wait(lambda other=other: site.leader() == other, "the other leader")
        versions.append(site.add_candidate())
        if is_killed:
            site.start(leader)
        else:
            site.signal(leader, signal.SIGCONT)
        leader = other
        site.wait(lambda: site.promoted() == versions, "the promotions")
    check(site, versions)


def replace_holder(conn: Connection) -> None:
    """What another machine does that becomes the holder while the present one is paused."""
    elsewhere = {"host": "another-machine", "pid": 1, "started": 1}
    conn.execute(update(leases).values(token=leases.c.token + 1, holder=elsewhere))


def test_a_leader_whose_clock_stood_still_writes_nothing_after_it_was_replaced(site: Site):
    """A suspended machine's monotonic clock may stand still: the holder believes in its lease, the database doesn't."""
    backends = site.open("first")
    _, engine, workshop = open_workshop(backends, "control")
    controller = Controller(
        backends, engine, workshop, RowLease(backends.database, LEASE, 10.0, monotonic=lambda: 0.0)
    )
    thread = threading.Thread(target=controller.run)
    thread.start()
    try:
        versions = [site.add_candidate()]
        site.wait(lambda: site.promoted() == versions, "a promotion")
        site.add_candidate(also=replace_holder)
        site.wait(lambda: not controller.is_leading, "the step back", seconds=10)
        assert controller.failures == {"pass": 1}
        assert site.promoted() == versions
    finally:
        controller.stop()
        thread.join()
        backends.close()


def test_a_controller_that_was_replaced_takes_up_no_run(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(controller_module, "LEASE_SECONDS", 3600.0)
    monkeypatch.setattr(controller_module, "REAP_SECONDS", 0.0)
    backends = site.open("first")
    heartbeat, engine, workshop = open_workshop(backends, "control")
    controller = Controller(
        backends, engine, workshop, RowLease(backends.database, LEASE, 10.0, monotonic=lambda: 0.0)
    )
    heartbeat.start()
    engine.launch()
    thread = threading.Thread(target=controller.run)
    thread.start()
    try:
        site.wait(lambda: not controller.progress(loop.MODEL)["busy"], "the end of its first pass")
        request = RunRequest(model=loop.MODEL, project=site.project, actor=Actor("a test"))
        run = new_run(new_id("run"), request, site.home.now)
        with site.backends.database.write() as conn:
            insert_run(conn, run)
            replace_holder(conn)
        site.wait(lambda: not controller.is_leading, "the step back", seconds=10)
        assert controller.failures == {"pass": 1}
        assert engine.status(run.id) is None
    finally:
        controller.stop()
        thread.join()
        engine.shutdown()
        heartbeat.stop()
        backends.close()


def test_a_turn_that_a_replaced_controller_asked_for_writes_nothing(site: Site):
    lease = open_lease(site.backends.database, site.folder, LEASE)
    assert lease.try_acquire()
    site.backends.blobs.put_latest("segments/w1-1.seg", b"no segment")
    log = site.folder / "analysis.log"
    analysis = AnalysisProcess(site.folder, log, site.at("first"))
    turn = {"command": "turn", "wall": isoformat(site.home.now), "token": lease.fencing_token}
    with site.backends.database.write() as conn:
        replace_holder(conn)
    try:
        with pytest.raises(AnalysisFailed) as refused:
            analysis.ask(turn)
        assert refused.value.code == LeaseLost.code
        with site.backends.database.read() as conn:
            assert known_states(conn, ["w1-1"]) == {}
        analysis.ask({**turn, "token": lease.fencing_token + 1})
        with site.backends.database.read() as conn:
            assert known_states(conn, ["w1-1"]) == {"w1-1": "unreadable"}
    finally:
        analysis.close()


def has_session(database: Database, pid: Any) -> bool:
    with database.read() as conn:
        found = conn.execute(text("SELECT 1 FROM pg_stat_activity WHERE pid = :pid"), {"pid": pid})
        return found.first() is not None


def test_a_writer_that_is_paused_within_its_transaction_is_cut_off_and_its_work_undone(site: Site):
    database = site.backends.database
    with pytest.raises(DatabaseUnavailable), database.write() as conn:
        assert conn.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar() == "15s"
        record(conn, candidate_ready({"model": loop.MODEL, "retraining_id": "lost"}), site.home.now)
        own = conn.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        conn.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = '200ms'")
        site.wait(lambda: not has_session(database, own), "the end of the session")
        conn.execute(select(leases))
    with database.write() as conn:
        assert list_entries(conn, action="candidate.ready") == []
