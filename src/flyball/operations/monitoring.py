"""`flyball monitor`: have closed windows judged and tell the state of every check."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from flyball.core.errors import BadInput, WorkflowTimeout
from flyball.core.values import Actor
from flyball.operations.opening import Backends
from flyball.operations.overview import list_models, window_line

if TYPE_CHECKING:
    from sqlalchemy import Connection

RECENT_WINDOWS = 8
POLL_SECONDS = 0.2
# How long a call without --wait may have to wait where a running controller is asked.
ASKED_SECONDS = 60.0


def check_now(backends: Backends, model: str | None, actor: Actor) -> list[dict[str, Any]]:
    """The state of every check, after a turn of the analysis when no controller is at work.

    Models whose schedules are external are judged in any case: a call of this is what they wait for.
    """
    from flyball.monitoring.asked import ask

    number = 0
    for name in _names(backends, model):
        with backends.database.write() as conn:
            if schedules_of(conn, name) == "external":
                number = ask(conn, name, actor=actor, now=backends.clock.now())
    _await_turn(backends, number, ASKED_SECONDS, may_turn=True)
    return describe_checks(backends, model)


def check_and_wait(
    backends: Backends,
    model: str | None,
    *,
    actor: Actor,
    key: str | None,
    timeout_seconds: float,
    may_turn: bool = True,
) -> list[dict[str, Any]]:
    """The state of every check once all windows closed by now are judged, by the controller or, without one, here.

    key: the answer that was given under it (within a week) is given again, and nothing is judged anew. may_turn: False
    in a process that holds no table library. Raises BadInput for a key without a model, KeyInUse for a key that asked
    about another model, WorkflowTimeout when the controller needs longer.
    """
    from flyball.core.digests import digest_json
    from flyball.governance.request_keys import find_kept, once
    from flyball.monitoring.asked import ask, is_answered

    if key is not None and model is None:
        raise BadInput("a key is for the check of one model: name the model too")
    database, clock = backends.database, backends.clock
    kept_as, fingerprint = f"monitor:{key}", digest_json(["monitor", model])
    numbers = {}
    for name in _names(backends, model):
        with database.write() as conn:
            numbers[name] = ask(conn, name, actor=actor, now=clock.now(), key=key)
    if key is not None and (kept := find_kept(database, kept_as, fingerprint)) is not None:
        return list(kept.answer["checks"])
    newest = max(numbers.values(), default=0)
    with database.read() as conn:
        is_done = key is not None and is_answered(conn, newest)
    if not is_done:
        _await_turn(backends, newest, timeout_seconds, may_turn=may_turn)

    def answer() -> dict[str, Any]:
        return {"checks": describe_checks(backends, model, since=numbers)}

    found = answer() if key is None else once(database, clock, kept_as, fingerprint, answer).answer
    return list(found["checks"])


def describe_checks(
    backends: Backends, model: str | None, since: dict[str, int] | None = None
) -> list[dict[str, Any]]:
    """The newest judged windows of one model or of all, and what they come to. Raises ModelNotFound.

    since: numbers of events; an alarm that was raised later counts even if it is over.
    """
    from flyball.monitoring.windows import list_windows

    described = []
    for name in _names(backends, model):
        with backends.database.read() as conn:
            windows = list_windows(conn, name, limit=RECENT_WINDOWS)
            verdict, because = _verdict(conn, name, windows, (since or {}).get(name))
            schedules = schedules_of(conn, name)
        summary = f"{len(windows)} newest windows" if windows else "no window has been judged yet"
        if schedules == "external":
            summary += ', judged when `flyball monitor` is called (schedules = "external")'
        described.append(
            {
                "model": name,
                "summary": summary,
                "windows": [window_line(window) for window in windows],
                "schedules": schedules,
                "verdict": verdict,
                "because": because,
            }
        )
    return described


def schedules_of(conn: Connection, model: str) -> str:
    """Who decides when a model's windows are judged, by the settings in force: `internal` or `external`."""
    from flyball.registry.routes import current

    deployment = current(conn, model)
    return "internal" if deployment is None else str(deployment.project.get("schedules", "internal"))


def _verdict(conn: Connection, model: str, windows: list[Any], since: int | None) -> tuple[str, str]:
    from flyball.governance.events import list_events
    from flyball.monitoring.incidents import list_incidents

    opened = list_incidents(conn, model, state="open")
    if opened:
        return "alarm", f"an incident is open: {opened[0].title}"
    raised = [] if since is None else list_events(conn, kinds=["signal.raised"], model=model, after=since)
    if raised:
        return "alarm", f"{len(raised)} alarms were raised and are over; `flyball signals {model}` lists them"
    if not windows:
        return "not enough rows", "no window has been judged yet"
    newest = windows[-1]
    if not newest.statistics.get("is_enough", True):
        return "not enough rows", f"the newest window has {newest.row_count} rows, too few to judge it"
    return "nothing found", f"the newest window has {newest.row_count} rows and no check alarms"


def _names(backends: Backends, model: str | None) -> list[str]:
    from flyball.registry.models import get_model

    if model is None:
        return [summary.name for summary in list_models(backends)]
    with backends.database.read() as conn:
        get_model(conn, model)
    return [model]


def _await_turn(backends: Backends, number: int, timeout_seconds: float, *, may_turn: bool) -> None:
    """Returns after a turn by this process, or once a controller has judged what was asked under a number."""
    from flyball.backends.db.lease import open_lease
    from flyball.monitoring.asked import is_answered
    from flyball.operations.turn import LEASE

    lease = open_lease(backends.database, backends.settings.home, LEASE)
    deadline = time.monotonic() + timeout_seconds
    while True:
        if may_turn and lease.try_acquire():
            _turn_here(backends, lease)
            return
        with backends.database.read() as conn:
            if is_answered(conn, number):
                return
        if time.monotonic() >= deadline:
            raise WorkflowTimeout(
                f"the controller has not judged the closed windows within {timeout_seconds:g} s; it goes on with them"
            )
        time.sleep(POLL_SECONDS)


def _turn_here(backends: Backends, lease: Any) -> None:
    from flyball.operations.turn import take_turn

    try:
        take_turn(backends.fenced(lease.assert_held), backends.clock.now())
    finally:
        lease.release()
