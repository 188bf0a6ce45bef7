"""Turning the loop in a command's own process, for as long as it waits and no control plane lives on its stores."""

from __future__ import annotations

import time
from collections.abc import Callable

from flyball.backends.db.heartbeats import LAPSE, list_executors
from flyball.operations.control import ControlPlane
from flyball.operations.opening import Backends

LOOK_SECONDS = 2.0


class StandIn:
    """Begins a control plane here when there is none, as `flyball up` does; ends it with `close`.

    What it leaves unfinished goes on with the next one. on_line: is told when it begins.
    """

    def __init__(self, backends: Backends, on_line: Callable[[str], None]) -> None:
        self._backends = backends
        self._on_line = on_line
        self._control: ControlPlane | None = None
        self._look_at = 0.0

    def ensure(self) -> None:
        """See that somebody turns the loop. To be called again and again while waiting: whoever does may die."""
        now = time.monotonic()
        if self._control is not None or now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        if is_turned(self._backends):
            return
        self._on_line("no `flyball up` runs on this home: this command does the work itself")
        self._control = ControlPlane(self._backends)
        self._control.start()

    def close(self) -> None:
        """End what was begun here."""
        if self._control is not None:
            self._control.close()


def is_turned(backends: Backends) -> bool:
    """Whether a control plane lives on these stores, here or on another machine."""
    now = backends.clock.now()
    with backends.database.read() as conn:
        return any(
            executor.kind == "control" and not executor.is_dead(now, LAPSE)
            for executor in list_executors(conn)
        )
