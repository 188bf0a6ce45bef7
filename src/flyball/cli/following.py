"""Waiting for the end of a rollout or a retraining, here or on a control plane elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from flyball.core.errors import RetrainingNotFound, WorkflowTimeout

UNFINISHED = ("waiting", "running", "paused")
RETRAINING = ("asked", "wanted", "running")
POLL_SECONDS = 0.5
# How soon after a candidate its rollout is begun.
ROLLOUT_SECONDS = 10.0
RECENT_RETRAININGS = 200
ALL_RETRAININGS = 1_000_000
RECENT_ROLLOUTS = 50


def follow_rollout(app: Any, started: Any, on_line: Callable[[str], None]) -> Any:
    """The rollout once it has ended; tells each change. A first version has nothing to wait for.

    app: the local or the remote Flyball object.
    """
    if started.rollout_id is None:
        return started
    if app.status()["processes"]["control plane"] == "not running":
        on_line("no `flyball up` runs on this home: the rollout goes on when one does (Ctrl-C leaves it)")
    told = ""
    while True:
        rollout = _find_rollout(app, started.model, started.rollout_id)
        line = f"{rollout.state}, step {rollout.step + 1}"
        line += f": {rollout.because}" if rollout.because else ""
        if line != told:
            told = line
            on_line(line)
        if rollout.state not in UNFINISHED:
            return rollout
        time.sleep(POLL_SECONDS)


def follow_retraining(
    app: Any, model: str, asked: Any, on_line: Callable[[str], None], timeout_seconds: float | None
) -> dict[str, Any]:
    """How a retraining ended, with gates and tests of its run and where the rollout of its candidate stands.

    app: the local object, which does the work itself where no control plane does, or the remote one. Raises
    WorkflowTimeout when it goes on for longer.
    """
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    told = ""
    with app.turning(on_line) as see_to_it:
        while True:
            found = _find_retraining(app, model, asked["retraining"])
            line = f"retraining {found.state}" + (f": {found.result}" if found.result else "")
            if line != told:
                told = line
                on_line(line)
            if found.state not in RETRAINING:
                break
            if deadline is not None and time.monotonic() >= deadline:
                raise WorkflowTimeout(
                    f"retraining {found.id} has not ended within {timeout_seconds:g} s; a running `flyball up`, or the "
                    "same command with its key, goes on with it",
                    retraining=found.id,
                )
            see_to_it()
            time.sleep(POLL_SECONDS)
        rollout = _await_rollout(app, found, see_to_it) if found.state == "ready" else None
    run = None if found.run_id is None else app.get_run(found.run_id)["run"]
    given = {} if run is None else run.result or {}
    return {
        "retraining": found.id,
        "state": found.state,
        "because": found.because,
        "result": found.result,
        "version": found.version,
        "run": found.run_id,
        "gates": list(given.get("gates", [])),
        "tests": list(given.get("tests", [])),
        "rollout": rollout,
    }


def _find_retraining(app: Any, model: str, identity: str) -> Any:
    """One of the last few, as a rule; a key may also stand for one that ended years ago."""
    for most in (RECENT_RETRAININGS, ALL_RETRAININGS):
        for found in app.list_retrainings(model, most):
            if found.id == identity:
                return found
    raise RetrainingNotFound(identity)


def _find_rollout(app: Any, model: str, identity: str) -> Any:
    """A rollout of the last few, None for none: others may have begun since it ended."""
    return next((found for found in app.list_rollouts(model, RECENT_ROLLOUTS) if found.id == identity), None)


def _await_rollout(app: Any, retraining: Any, see_to_it: Callable[[], None]) -> dict[str, Any] | None:
    """Where the candidate's rollout stands once it has begun, or why none begins; None while that is not known."""
    model, deadline = retraining.model, time.monotonic() + ROLLOUT_SECONDS
    while True:
        begun = _find_rollout(app, model, retraining.rollout_id)
        if begun is not None:
            return {"id": begun.id, "state": begun.state, "because": begun.because}
        evidence = app.show_version(f"{model}@{retraining.version}")["evidence"]
        if refused := next((e["facts"] for e in evidence if e["kind"] == "rollout"), None):
            return {"id": None, "state": refused["verdict"], "because": refused["because"]}
        if time.monotonic() >= deadline:
            return None
        see_to_it()
        time.sleep(POLL_SECONDS)
