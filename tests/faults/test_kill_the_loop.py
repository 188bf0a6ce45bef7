"""SIGKILL while a candidate is rolled out, and while one is trained: what was begun is decided, once, by itself."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import pytest

history = sys.modules["flyball_tests_history"]
kill_one = sys.modules["flyball_tests_whole"].kill_one

CANARY = """
[rollout]
strategy = "canary"
steps = [0.5, 1.0]
min_requests = 30
bake = "1s"
"""


def items(whole, what: str) -> list[dict]:
    status, found = whole.call(whole.port, "GET", f"/api/v1/{what}?model=plant")
    return found["items"] if status == 200 else []


def change(whole, what: str, body: dict) -> dict:
    """Ask for a change, again and again under one key, until it is answered."""
    answers = []

    def answered() -> bool:
        status, answer = whole.call(whole.port, "POST", f"/api/v1/models/plant/{what}", body, key=what)
        answers.append(answer)
        return status in (200, 409)

    whole.wait(answered, f"an answer to {what}")
    return answers[-1]


def roll_out(whole, kills: int, seed: int) -> list[str]:
    """Roll version 1 out beside version 2 while everything is killed in turn; what the history checker finds."""
    chance = random.Random(seed)
    with Path(whole.folder, "flyball.toml").open("a") as file:
        file.write(CANARY)
    whole.up()
    names = ["control plane", "analysis", "worker", "shipper", "server's supervisor", "up"]
    with history.Clients(whole) as clients:
        time.sleep(0.5)
        whole.flyball("deploy", "plant@1", "--why", "to be compared")
        for number in range(kills):
            time.sleep(chance.uniform(0.05, 0.6))
            kill_one(whole, names[number % len(names)], chance)
        whole.wait(
            lambda: [found["state"] for found in items(whole, "rollouts")][:1] in (["promoted"], ["aborted"]),
            "the end of the rollout",
            seconds=90,
        )
    whole.settle()
    rollouts = items(whole, "rollouts")
    assert rollouts[0]["candidate"] == 1
    assert rollouts[0]["because"]
    assert whole.predict()[0] == (1 if rollouts[0]["state"] == "promoted" else 2)
    return history.check_history(whole, clients.journal)


def test_a_rollout_goes_on_whatever_is_killed(served):
    assert roll_out(served, kills=6, seed=3) == []


@pytest.mark.long
def test_a_rollout_goes_on_through_thirty_kills(served):
    assert roll_out(served, kills=30, seed=4) == []


@pytest.mark.long
def test_a_retraining_is_finished_once_whatever_is_killed(served):
    chance = random.Random(5)
    served.up()
    with history.Clients(served, predicting=1) as clients:
        change(served, "retrain", {"why": "to see it finish"})
        for number in range(20):
            time.sleep(chance.uniform(0.2, 2.0))
            kill_one(served, ["control plane", "analysis", "up"][number % 3], chance)
        served.wait(
            lambda: (
                [found["state"] in ("refused", "ready") for found in items(served, "retrainings")] == [True]
            ),
            "the end of the one retraining",
            seconds=90,
        )
    served.settle()
    retrained = [run for run in served.runs() if run["id"] == items(served, "retrainings")[0]["run_id"]]
    assert [run["version"] for run in retrained] == [3]
    assert len(served.runs()) == 3
    assert history.check_history(served, clients.journal) == []
