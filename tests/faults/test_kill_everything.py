"""SIGKILL at random moments under load: nothing acknowledged is lost or doubled, and work finishes by itself."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

whole_module = sys.modules["flyball_tests_whole"]
Clients, check_history, write_project = (
    whole_module.Clients,
    whole_module.check_history,
    whole_module.write_project,
)

TARGETS = {
    "control plane": "flyball.web.server",
    "analysis": "flyball.operations.analyst",
    "worker": "flyball.serving.worker",
    "shipper": "flyball.serving.shipper",
    "server's supervisor": "flyball.serving.supervisor",
}


def kill_one(whole, word: str) -> bool:
    pids = whole.pids(word)
    for pid in pids[:1]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(pids)


def start_serving(whole) -> None:
    whole.flyball("run")
    whole.flyball("deploy", "plant", "--why", "first version")
    whole.up()


def settle(whole, journal) -> None:
    """Wait until the loop has read everything that was acknowledged."""
    whole.wait(
        lambda: (
            whole.progress().get("predictions", 0) >= len(set(journal.acknowledged))
            and not whole.progress().get("busy", True)
        ),
        "the loop's reading of the log",
        seconds=60,
    )


def storm(whole, kills_each: int, seed: int) -> list[str]:
    """Kill each kind of process `kills_each` times in random order under load; what the history checker finds."""
    chance = random.Random(seed)
    start_serving(whole)
    order = [name for name in [*TARGETS, "up"] for _ in range(kills_each)]
    chance.shuffle(order)
    with Clients(whole) as clients:
        for name in order:
            time.sleep(chance.uniform(0.05, 0.8))
            if name == "up":
                whole.up_process.kill()
                whole.up_process.wait()
                # The supervisor is the one thing that a person starts again.
                whole.up(wait=False)
            else:
                kill_one(whole, TARGETS[name])
        whole.wait(
            lambda: whole.call(whole.serve_port, "GET", "/v2/health/ready")[0] == 200, "the model server"
        )
        time.sleep(1.0)
    settle(whole, clients.journal)
    assert len(clients.journal.acknowledged) > 50 * kills_each
    return check_history(whole, clients.journal)


def test_killing_each_process_of_a_running_flyball_loses_nothing(whole):
    assert storm(whole, kills_each=2, seed=1) == []


@pytest.mark.long
def test_killing_each_process_twenty_times_loses_nothing(whole):
    assert storm(whole, kills_each=20, seed=2) == []


def kill_runs(whole, kills: int, seed: int) -> list[str]:
    """Start runs and kill them at random moments; each is finished by the next `flyball run`."""
    chance = random.Random(seed)
    for number in range(kills):
        write_project(whole.folder, trees=5 + number, pause=0.3)
        process = whole.start("run")
        time.sleep(chance.uniform(0.3, 5.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
    result = whole.json("run")
    assert result["state"] == "registered"
    deadline = time.monotonic() + 120
    while (
        any(run["state"] in ("running", "queued") for run in whole.json("runs"))
        and time.monotonic() < deadline
    ):
        whole.flyball("run")
    states = {run["id"]: run["state"] for run in whole.json("runs", "--limit", "1000")}
    problems = [
        f"{run} is {state}" for run, state in states.items() if state not in ("registered", "refused")
    ]
    return problems + check_history(whole, whole_module.Journal())


def test_a_run_killed_at_any_moment_is_finished_by_the_next(whole):
    assert kill_runs(whole, kills=2, seed=4) == []


@pytest.mark.long
def test_twenty_runs_killed_at_random_moments_are_all_finished(whole):
    assert kill_runs(whole, kills=20, seed=5) == []


def test_a_running_up_finishes_a_run_whose_process_was_killed(whole):
    start_serving(whole)
    write_project(whole.folder, trees=30, pause=2.0)
    process = whole.start("run")
    whole.wait(lambda: len(whole.json("runs")) == 2, "the second run")
    time.sleep(1.0)
    process.send_signal(signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(5)
    whole.wait(
        lambda: whole.json("runs")[0]["state"] == "registered", "the end of the abandoned run", seconds=90
    )
    assert [version["number"] for version in whole.json("versions", "plant")] == [2, 1]
