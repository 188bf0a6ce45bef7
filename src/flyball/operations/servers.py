"""The model servers, seen from outside: which workers live, and what they say they can't do."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import Any

import msgspec

from flyball.backends.home_socket import ask_socket
from flyball.backends.processes import ProcessIdentity
from flyball.core.clock import parse_moment
from flyball.core.errors import FlyballError
from flyball.operations.opening import Backends

FRESH = timedelta(seconds=10)


class ServerProblem(msgspec.Struct, frozen=True, kw_only=True):
    """What some workers can't do: `about` a model by its name, or `object store`."""

    about: str
    problem: str
    workers: int

    def __str__(self) -> str:
        count = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        return f"{self.about}: {self.problem} ({count} of the model server)"


class ModelServers(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of the model servers at one moment.

    here: what the one of this home says; None when it does not answer. workers: what workers of every machine have
    published lately; `unread` says why that is not known.
    """

    here: dict[str, Any] | None
    workers: list[dict[str, Any]]
    unread: FlyballError | None

    def problems(self) -> list[ServerProblem]:
        """The problems of all live workers, by what they are about.

        From what was published, and from this home's model server itself: should the object store be away, that is
        the very thing to hear of.
        """
        said = {note["worker"]: note.get("problems", {}) for note in self.workers if not _is_gone(note)}
        said |= {found["worker"]: found.get("problems", {}) for found in (self.here or {}).get("workers", [])}
        counted: dict[tuple[str, str], int] = defaultdict(int)
        for problems in said.values():
            for about, problem in problems.items():
                counted[about, problem] += 1
        return [
            ServerProblem(about=about, problem=problem, workers=workers)
            for (about, problem), workers in sorted(counted.items())
        ]


def look_at_servers(backends: Backends) -> ModelServers:
    """The model servers now: one question to this home's, one look into the object store."""
    here = ask_socket(backends.settings.home / "serve.sock", {"command": "status"})
    try:
        return ModelServers(here=here, workers=worker_states(backends), unread=None)
    except FlyballError as error:
        return ModelServers(here=here, workers=[], unread=error)


def worker_states(backends: Backends) -> list[dict[str, Any]]:
    """The statuses that live model server workers published within the last 10 seconds."""
    states = []
    wall = backends.clock.now()
    for key in backends.blobs.list("serving"):
        data = backends.blobs.find(key)
        if data is None:
            continue
        status = msgspec.json.decode(data)
        if wall - parse_moment(status["at"]) < FRESH:
            states.append(status)
    return states


def _is_gone(note: dict[str, Any]) -> bool:
    """Whether a worker of this machine was surely killed: what it has left says nothing any more."""
    return ProcessIdentity(note.get("host", ""), note.get("pid", 0), note.get("started", 0)).is_gone()
