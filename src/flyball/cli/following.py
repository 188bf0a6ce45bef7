"""Waiting for the end of a rollout, here or on a control plane elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

UNFINISHED = ("waiting", "running", "paused")
POLL_SECONDS = 0.5


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
        rollout = app.rollout_status(started.model)
        line = f"{rollout.state}, step {rollout.step + 1}"
        line += f": {rollout.because}" if rollout.because else ""
        if line != told:
            told = line
            on_line(line)
        if rollout.id != started.rollout_id or rollout.state not in UNFINISHED:
            return rollout
        time.sleep(POLL_SECONDS)
