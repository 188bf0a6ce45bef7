"""What the model servers say they can't do: models they can't serve as decided, a store they can't read."""

from __future__ import annotations

import os
import socket
from collections import defaultdict
from typing import Any

import msgspec

from flyball.core.errors import FlyballError
from flyball.operations.opening import Backends
from flyball.operations.server_socket import ask_socket


class ServerProblem(msgspec.Struct, frozen=True, kw_only=True):
    """What some workers can't do: `about` a model by its name, or `object store`."""

    about: str
    problem: str
    workers: int

    def __str__(self) -> str:
        count = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        return f"{self.about}: {self.problem} ({count} of the model server)"


def list_server_problems(backends: Backends) -> list[ServerProblem]:
    """The problems of all live workers, by what they are about.

    From the object store, where the workers of every machine publish their state, and from this home's model server
    itself: should the store be away, that is the very thing to hear of.
    """
    from flyball.operations.controller import worker_states

    try:
        said = {note["worker"]: note.get("problems", {}) for note in worker_states(backends) if _lives(note)}
    except FlyballError:
        said = {}
    server: dict[str, Any] = ask_socket(backends.settings.home / "serve.sock", {"command": "status"}) or {}
    said |= {found["worker"]: found.get("problems", {}) for found in server.get("workers", [])}
    counted: dict[tuple[str, str], int] = defaultdict(int)
    for problems in said.values():
        for about, problem in problems.items():
            counted[about, problem] += 1
    return [
        ServerProblem(about=about, problem=problem, workers=workers)
        for (about, problem), workers in sorted(counted.items())
    ]


def _lives(note: dict[str, Any]) -> bool:
    """Whether a worker can still exist: what one that was killed on this machine has left says nothing any more."""
    if note.get("host") != socket.gethostname():
        return True
    try:
        os.kill(int(note["pid"]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
