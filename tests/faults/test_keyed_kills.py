"""SIGKILL of a command that was given a key: its repeat goes on with the same work, and the next one just tells it."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest


def kill_repeats(whole: Any, count: int, seed: int) -> None:
    """Begin the run of one key again and again, and kill it each time at another moment."""
    chance = random.Random(seed)
    for _ in range(count):
        begun = whole.start("run", "--key", "dag/2026-11-21")
        time.sleep(chance.uniform(0.3, 3.0))
        begun.kill()
        begun.wait()


def check_one_run(whole: Any, kills: int, seed: int) -> None:
    kill_repeats(whole, kills, seed)
    ended = whole.json("run", "--key", "dag/2026-11-21")
    assert (ended["state"], ended["version"]) == ("registered", 1)
    assert whole.json("run", "--key", "dag/2026-11-21") == ended
    (run,) = whole.json("runs")
    assert (run["id"], run["request"]["key"]) == (ended["run_id"], "dag/2026-11-21")


def test_a_run_that_was_killed_twice_is_made_once_by_the_repeats_of_its_key(whole: Any):
    check_one_run(whole, kills=2, seed=1)


@pytest.mark.long
def test_a_run_that_was_killed_fifteen_times_is_made_once_by_the_repeats_of_its_key(whole: Any):
    check_one_run(whole, kills=15, seed=2)


def test_another_attempt_waits_for_the_end_of_the_one_that_was_killed_and_trains_nothing(whole: Any):
    begun = whole.start("run", "--key", "dag/1")
    whole.wait(lambda: "train …" in whole.run_logs(), "the training")
    begun.kill()
    begun.wait()
    second = whole.json("run", "--key", "dag/2")
    assert (second["version"], second["cached"]) == (1, True)
    assert {run["request"]["key"]: run["cached"] for run in whole.json("runs")} == {
        "dag/1": False,
        "dag/2": True,
    }
