"""SIGKILL of a command that was given a key: its repeat goes on with the same work, and the next one just tells it."""

from __future__ import annotations

import json
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


@pytest.mark.long
def test_a_run_that_was_killed_fifteen_times_is_made_once_by_the_repeats_of_its_key(whole: Any):
    kill_repeats(whole, count=15, seed=2)
    ended = whole.json("run", "--key", "dag/2026-11-21")
    assert (ended["state"], ended["version"]) == ("registered", 1)
    assert whole.json("run", "--key", "dag/2026-11-21") == ended
    (run,) = whole.json("runs")
    assert (run["id"], run["request"]["key"]) == (ended["run_id"], "dag/2026-11-21")


def test_a_killed_run_is_ended_under_its_key_and_another_attempt_waits_for_that_and_trains_nothing(
    whole: Any,
):
    begun = whole.start("run", "--key", "dag/1")
    whole.wait(lambda: "train …" in whole.run_logs(), "the training")
    begun.kill()
    begun.wait()
    second = whole.json("run", "--key", "dag/2")
    first = whole.json("run", "--key", "dag/1")
    assert [(found["state"], found["version"], found["cached"]) for found in (first, second)] == [
        ("registered", 1, False),
        ("registered", 1, True),
    ]
    assert {run["request"]["key"]: run["id"] for run in whole.json("runs")} == {
        "dag/1": first["run_id"],
        "dag/2": second["run_id"],
    }


def retrain(whole: Any, *more: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, what it says in JSON, and what it says on the way, of the retraining under one key."""
    code, out, err = whole.command("retrain", "plant", "--key", "dag/7", "--wait", "--json", *more)
    return code, json.loads(out) if out else {}, err


def test_a_retraining_is_done_once_by_the_commands_that_wait_for_it_however_they_end(served: Any):
    """Nothing but these commands runs. What is trained on the same rows again is no better, so its gate says no."""
    code, _, err = retrain(served, "--timeout", "200ms")
    assert code == 3 and "has not ended within 0.2 s" in err and "the same command with its key" in err
    begun = served.start("retrain", "plant", "--key", "dag/7", "--wait")
    served.wait(lambda: "running" in served.log("retrain"), "its beginning")
    time.sleep(1.0)
    begun.kill()
    begun.wait()
    code, ended, err = retrain(served)
    assert (code, ended["state"], ended["version"]) == (1, "refused", 3), err
    assert "no `flyball up` runs on this home: this command does the work itself" in err
    code, again, err = retrain(served)
    assert (code, again) == (1, ended)
    assert "does the work itself" not in err
    assert [run["id"] for run in served.json("runs")][:-2] == [ended["run"]]


def test_a_key_asks_a_control_plane_elsewhere_for_the_same_retraining(served: Any):
    served.up()
    asked = served.json("retrain", "plant", "--key", "dag/7")
    served.environment["FLYBALL_URL"] = f"http://127.0.0.1:{served.port}"
    code, ended, err = retrain(served)
    assert (code, ended["state"]) == (1, "refused"), err
    assert ended["retraining"] == asked["retraining"]
    assert retrain(served)[:2] == (1, ended)
    status, problem = served.call(
        served.port, "POST", "/api/v1/models/plant/retrain", {"why": "too long", "key": "x" * 201}
    )
    assert status == 400 and "key" in problem["detail"]
