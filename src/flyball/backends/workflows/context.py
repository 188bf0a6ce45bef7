"""What a workflow's function gets: its id, recorded steps, and sleep that survives its process."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

from flyball.backends.workflows.outcome import WorkflowError, rebuilt, recorded
from flyball.backends.workflows.outside import list_found
from flyball.core.errors import Unavailable

_ATTEMPTS = 5
_SLICE_SECONDS = 1.0


class Stopping(BaseException):
    """The process stops: the workflow is left unfinished, for another process or the next start.

    A BaseException, so that neither dbos nor a workflow's own `except Exception` takes it for an outcome.
    """


class WorkflowContext:
    """One execution of a workflow.

    Steps are counted: which steps are made, and in which order, must follow from the payload and the results of
    earlier steps alone. What reads a clock, a file or the database belongs into a step.
    """

    def __init__(self, stopping: threading.Event) -> None:
        from dbos import DBOS

        self.workflow_id: str = DBOS.workflow_id or ""
        self._stopping = stopping

    def step(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        """What the function returns, recorded: once it has ended, it is never run again.

        It returns plain JSON. Killed within, it is run again from its start, so it must be safe to repeat. Its
        error is recorded too and raised here each time, as the FlyballError it was, any other one as a
        FlyballError "internal". A store that does not answer (Unavailable) is tried up to five times, some 8 s
        in all. An error while the process is stopping is not recorded. After `cancel`, no further step is made.
        """
        from dbos import DBOS

        self._stop_here()

        def run() -> dict[str, Any]:
            outcome = recorded(f"step {name!r}", _patiently, function, args, self._stopping)
            if "error" in outcome:
                self._stop_here()  # what fails while the process ends is no result; the next one tries again
            return outcome

        outcome: dict[str, Any] = DBOS.run_step({"name": name}, run)
        if "error" in outcome:
            raise rebuilt(msgspec.convert(outcome["error"], WorkflowError))
        return outcome.get("value")

    def sleep(self, seconds: float) -> None:
        """Wait, until the same moment (wall time) even if the process is restarted meanwhile."""
        until = float(self.step("sleep", lambda: time.time() + seconds))
        while (left := until - time.time()) > 0:
            self.pause(min(left, 3600.0))

    def pause(self, seconds: float) -> None:
        """Wait without recording it: for loops that look again. Ends at once when cancelled or stopping."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self._stopping.wait(min(left, _SLICE_SECONDS)):
                raise Stopping
            if left > _SLICE_SECONDS and self.is_cancelled:
                self.step("cancelled", lambda: None)  # does not return: dbos ends a cancelled workflow here

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody has cancelled this workflow."""
        found = list_found(workflow_ids=[self.workflow_id], load_output=False)
        return bool(found) and found[0].status == "CANCELLED"

    def _stop_here(self) -> None:
        if self._stopping.is_set():
            raise Stopping


def _patiently(function: Callable[..., Any], args: tuple[Any, ...], stopping: threading.Event) -> Any:
    for attempt in range(_ATTEMPTS - 1):
        try:
            return function(*args)
        except Unavailable:
            # With jitter: processes that lost the same store should not come back in step.
            if stopping.wait(0.5 * 2.0**attempt * random.uniform(0.8, 1.2)):
                raise Stopping from None
    return function(*args)
