"""Processes that run workflows are killed with SIGKILL, again and again; the work ends as if nothing had been."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from flyball.backends.db.database import Database
from flyball.backends.db.heartbeats import dead_executors
from flyball.core.clock import SystemClock

STEPS = 6
WORKFLOWS = 3
# Runs as flyball's processes do: heartbeat, engine, a reaper, and (the first one) the start of the work.
PROGRAM = f"""
import sys, time
from pathlib import Path
from flyball.backends.db.database import open_database
from flyball.backends.db.heartbeats import Heartbeat, dead_executors, new_executor_id
from flyball.backends.workflows.engine import WorkflowEngine
from flyball.core.clock import SystemClock

url, journal, role = sys.argv[1], Path(sys.argv[2]), sys.argv[3]

def write(line):
    with journal.open("a") as file:
        file.write(line + "\\n")

def step(workflow, number, sum_so_far):
    write(f"began {{workflow}} {{number}}")
    time.sleep(0.15)
    write(f"ended {{workflow}} {{number}}")
    return sum_so_far + number

def work(context, payload):
    total = payload["first"]
    for number in range({STEPS}):
        total = context.step(f"step-{{number}}", step, context.workflow_id, number, total)
        write(f"known {{context.workflow_id}} {{number}}")
    return {{"total": total}}

database, executor = open_database(url), new_executor_id()
Heartbeat(database, executor, "run", SystemClock()).start()
engine = WorkflowEngine(database.open_workflow_engine(), executor)
engine.register("work" if role != "stranger" else "other", work)
engine.launch()
if role == "starter":
    for number in range({WORKFLOWS}):
        engine.start("work", {{"first": number}}, f"w{{number}}")
print("up", flush=True)
while role != "starter" and not engine.list_unfinished():
    time.sleep(0.05)
while engine.list_unfinished():
    with database.read() as conn:
        dead = dead_executors(conn, SystemClock().now())
    engine.take_over(dead)
    time.sleep(0.05)
print(*(engine.wait(f"w{{number}}").unwrap()["total"] for number in range({WORKFLOWS})), flush=True)
"""


UNDISTURBED = [str(first + sum(range(STEPS))) for first in range(WORKFLOWS)]


def start(url: str, journal: Path, role: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    """A process of this role, once it is up."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, url, str(journal), role],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        text=True,
    )
    assert process.stdout is not None
    first = process.stdout.readline().strip()
    assert first == "up", first + process.communicate(timeout=10)[0]
    return process


def check(journal: Path, most_repeated: int) -> None:
    """No step was begun again after the workflow had seen its result, and hardly any twice at all."""
    lines = journal.read_text().splitlines()
    known_at: dict[str, int] = {}
    for at, line in enumerate(lines):
        kind, _, what = line.partition(" ")
        if kind == "known":
            known_at.setdefault(what, at)
        elif kind == "began":
            assert what not in known_at, f"step {what} was repeated"
    began = Counter(line.removeprefix("began ") for line in lines if line.startswith("began "))
    assert len(known_at) == WORKFLOWS * STEPS
    assert sum(began.values()) - len(began) <= most_repeated


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.long)])
def test_work_goes_on_after_every_kill_and_finished_steps_are_not_repeated(
    database: Database, database_url: str, tmp_path: Path, child_environment: dict[str, str], kills: int
) -> None:
    journal, rng = tmp_path / "journal", random.Random(kills)
    for kill in range(kills):
        process = start(database_url, journal, "starter", child_environment)
        time.sleep(rng.uniform(0, 0.6))
        process.kill()
        process.communicate()
        with database.read() as conn:
            assert len(dead_executors(conn, SystemClock().now())) == kill + 1
    last = start(database_url, journal, "starter", child_environment)
    assert last.communicate(timeout=90)[0].split() == UNDISTURBED
    check(journal, most_repeated=kills * WORKFLOWS)


def test_a_live_process_that_knows_the_work_ends_it_while_a_stranger_looks_on(
    database: Database, database_url: str, tmp_path: Path, child_environment: dict[str, str]
) -> None:
    journal = tmp_path / "journal"
    stranger = start(database_url, journal, "stranger", child_environment)
    taker = start(database_url, journal, "taker", child_environment)
    starter = start(database_url, journal, "starter", child_environment)
    time.sleep(0.4)
    starter.kill()
    starter.communicate()
    assert taker.communicate(timeout=60)[0].split() == UNDISTURBED
    assert stranger.communicate(timeout=60)[0].split() == UNDISTURBED
    check(journal, most_repeated=WORKFLOWS)
