"""Prefect: judge a model's closed windows every night, and train a candidate in the nights in which a check alarms.

A flow run keeps its id over all its retries, so that is the key.
"""

from __future__ import annotations

import subprocess
from typing import Any

from prefect import flow, task
from prefect.runtime import flow_run

MODEL = "credit-default"
NOTHING_FOUND, ALARM, TOO_FEW_ROWS = 0, 1, 4


class Broke(RuntimeError):
    """A command that ended without a verdict (exit code 3): worth another try."""


def is_worth_another_try(_task: Any, _run: Any, state: Any) -> bool:
    """Whether what failed may go well the next time; wrong use (exit code 2) will not."""
    return isinstance(state.result(raise_on_failure=False), Broke)


@task(retries=3, retry_delay_seconds=300, retry_condition_fn=is_worth_another_try)
def flyball(key: str, *command: str) -> int:
    """The exit code of a command, where it is a verdict."""
    code = subprocess.run(["flyball", *command, "--wait", "--key", key], check=False).returncode
    if code == 3:
        raise Broke(f"flyball {command[0]} broke")
    if code not in (NOTHING_FOUND, ALARM, TOO_FEW_ROWS):
        raise ValueError(f"flyball {command[0]} ended with {code}")
    return code


@flow
def nightly(model: str = MODEL) -> str:
    """One night of one model; fails where the candidate did not pass its gates."""
    key = str(flow_run.id)
    if flyball(key, "monitor", model) != ALARM:
        return "nothing to do"
    if flyball(key, "retrain", model, "--timeout", "6h") != 0:
        raise RuntimeError(f"the candidate of {model} did not pass its gates")
    return "a candidate passed"


if __name__ == "__main__":
    nightly.serve(name="flyball-nightly", cron="0 3 * * *")
