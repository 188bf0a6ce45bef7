"""SIGKILL at random moments under load: nothing acknowledged is lost or doubled, and work finishes by itself."""

from __future__ import annotations

import logging
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress

import pytest

whole_module, history = sys.modules["flyball_tests_whole"], sys.modules["flyball_tests_history"]
kill_one, write_project, TARGETS = whole_module.kill_one, whole_module.write_project, whole_module.TARGETS


def storm(whole, kills_each: int, seed: int) -> list[str]:
    """Kill each kind of process `kills_each` times in random order under load; what the history checker finds."""
    chance = random.Random(seed)
    whole.up()
    order = [name for name in [*TARGETS, "up"] for _ in range(kills_each)]
    chance.shuffle(order)
    with history.Clients(whole, changing=True) as clients:
        for name in order:
            time.sleep(chance.uniform(0.05, 0.8))
            kill_one(whole, name, chance)
        told = clients.journal.told
        whole.wait(lambda: len(told("predict")) > 50 * kills_each, "predictions")
        whole.wait(lambda: len(told("outcomes")) > 5 * kills_each, "outcomes")
        whole.wait(lambda: len(told("rollback")) > 2 * kills_each, "changes")
    whole.settle()
    counts = Counter((act.operation, act.status) for act in clients.journal.acts)
    logging.getLogger(__name__).info("%d kills, answers by status: %s", len(order), dict(counts))
    return history.check_history(whole, clients.journal)


def test_killing_each_process_of_a_running_flyball_loses_nothing(served):
    assert storm(served, kills_each=2, seed=1) == []


@pytest.mark.long
def test_killing_each_process_twenty_times_loses_nothing(served):
    assert storm(served, kills_each=20, seed=2) == []


@pytest.mark.long
def test_killing_each_process_loses_nothing_with_postgresql(whole, postgres_url):
    whole.environment["FLYBALL_DATABASE"] = postgres_url
    whole_module.deploy_two(whole)
    assert storm(whole, kills_each=5, seed=6) == []


def kill_runs(whole, kills: int, seed: int) -> list[str]:
    """Start runs, each of changed settings, and kill them at random moments; the next `flyball run` finishes all."""
    chance = random.Random(seed)
    for number in range(kills):
        write_project(whole.folder, trees=5 + number, pause=0.3)
        begun = whole.run_logs().count("source …")
        process = whole.start("run")
        if chance.random() < 0.9:
            whole.wait(lambda begun=begun: whole.run_logs().count("source …") > begun, "the run's first step")
            time.sleep(chance.uniform(0.0, 5.0))
        else:
            time.sleep(chance.uniform(0.3, 1.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
    result = whole.json("run")
    assert result["state"] == "registered"
    runs = whole.json("runs", "--limit", "1000")
    assert len(runs) >= 0.75 * kills
    problems = [f"{run['id']} is {run['state']}" for run in runs if run["state"] != "registered"]
    return problems + history.check_history(whole, history.Journal())


def test_a_run_killed_at_any_moment_is_finished_by_the_next(whole):
    assert kill_runs(whole, kills=2, seed=4) == []


@pytest.mark.long
def test_twenty_runs_killed_at_random_moments_are_all_finished(whole):
    assert kill_runs(whole, kills=20, seed=5) == []


def test_a_running_up_finishes_a_run_whose_process_was_killed(whole):
    whole.up()
    write_project(whole.folder, trees=30, pause=2.0)
    process = whole.start("run")
    whole.wait(lambda: "train …" in whole.run_logs(), "the training")
    process.send_signal(signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(5)
    whole.wait(lambda: whole.runs()[0]["state"] == "registered", "the end of the abandoned run", seconds=60)
    assert [version["number"] for version in whole.json("versions", "plant")] == [1]
    _, run = whole.call(whole.port, "GET", f"/api/v1/runs/{whole.runs()[0]['id']}")
    attempts = {step["name"]: step["attempts"] for step in run["steps"]}
    assert attempts == {**dict.fromkeys(attempts, 1), "train": 2}
