"""Status and doctor: what runs, where state lives, and what is broken with the way to mend it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

from flyball.core.clock import isoformat
from flyball.operations.opening import Backends
from flyball.operations.overview import ModelSummary, list_models

LOW_SPACE_MB = 500


def status(backends: Backends) -> dict[str, Any]:
    """Places, processes and models of this home, with how much of each model's log has been counted.

    `problems`: what workers of the model server say they can't do.
    """
    from flyball.backends.db.heartbeats import LAPSE, list_executors
    from flyball.operations.servers import look_at_servers

    settings, now = backends.settings, backends.clock.now()
    with backends.database.read() as conn:
        living = [e for e in list_executors(conn) if e.stopped_at is None and not e.is_dead(now, LAPSE)]
    servers = look_at_servers(backends)
    server, problems = servers.here, servers.problems()
    control = ", ".join(f"process {executor.pid}" for executor in living if executor.kind == "control")
    return {
        "places": {
            "home": str(settings.home),
            "database": repr(backends.database.url),
            "objects": settings.objects_url,
            "executor": settings.executor_url,
        },
        "processes": {
            "control plane": control or "not running",
            "model server": f"process {server['pid']}, port {server['port']}" if server else "not running",
            "workers": f"not known: {servers.unread.message}"
            if servers.unread
            else str(len(servers.workers)),
        },
        "problems": [str(problem) for problem in problems],
        "models": [
            _model_status(model, any(problem.about == model.name for problem in problems))
            for model in list_models(backends)
        ],
    }


def _model_status(model: ModelSummary, has_problem: bool) -> dict[str, Any]:
    states = [f"{model.open_incidents} open incidents"] if model.open_incidents else []
    states += ["not served as decided"] if has_problem else []
    state = ", ".join(states) or "calm"
    return {
        "model": model.name,
        "champion": model.champion,
        "candidate": model.candidate,
        "revision": model.revision,
        "model_time": isoformat(model.model_time)[:19] if model.model_time else None,
        "predictions": model.predictions,
        "outcomes": model.outcomes,
        "pending_outcomes": model.pending_outcomes,
        "conflicts": model.conflicts,
        "state": f"{state}, schedules external" if model.schedules == "external" else state,
    }


def doctor(backends: Backends) -> list[dict[str, str]]:
    """Every check with its state (`right` or `wrong`) and what to do. An empty repair means nothing to do."""
    checks: list[tuple[str, Callable[[Backends], list[str]]]] = [
        ("database is sound", lambda b: b.database.problems()),
        ("audit chain holds", _audit_problems),
        ("every version's files are there and unchanged", _bundle_problems),
        ("every wanted route is published", _route_problems),
        ("model servers serve what is wanted", _server_problems),
        ("no run is abandoned", _run_problems),
        ("log segments can be read", _segment_problems),
        ("room on the disk", _space_problems),
    ]
    findings = []
    for name, check in checks:
        problems = check(backends)
        state = "wrong" if problems else "right"
        findings.append({"check": name, "state": state, "repair": "; ".join(problems[:5])})
    return findings


def _audit_problems(backends: Backends) -> list[str]:
    from flyball.operations.audit_trail import verify_trail

    result = verify_trail(backends)
    return (
        []
        if result.ok
        else [f"entry {result.bad_number}: {result.problem}; compare with an exported trail or a backup"]
    )


def _bundle_problems(backends: Backends) -> list[str]:
    from flyball.core.errors import FlyballError
    from flyball.registry.bundle import check_objects
    from flyball.registry.models import list_models as list_registered
    from flyball.registry.versions import list_versions

    problems = []
    with backends.database.read() as conn:
        versions = [
            v for model in list_registered(conn) for v in list_versions(conn, model.name, limit=10_000)
        ]
    for version in versions:
        name = f"{version.model}@{version.number}"
        try:
            check_objects(version.digest, backends.blobs)
        except FlyballError as error:
            problems.append(f"{name}: {error.message}")
    return problems


def _route_problems(backends: Backends) -> list[str]:
    from flyball.registry.routes import list_deployed

    with backends.database.read() as conn:
        waiting = [d for d in list_deployed(conn) if d.published_at is None]
    return [f"{d.model} revision {d.revision} waits for a controller: start `flyball up`" for d in waiting]


def _server_problems(backends: Backends) -> list[str]:
    from flyball.operations.servers import look_at_servers

    return [
        f"{problem}; once the cause is mended, it goes on by itself"
        for problem in look_at_servers(backends).problems()
    ]


def _run_problems(backends: Backends) -> list[str]:
    from flyball.backends.db.heartbeats import dead_executors, list_executors
    from flyball.pipelines.runs import list_runs

    with backends.database.read() as conn:
        unfinished = list_runs(conn, state="running", limit=1000)
        living = [e for e in list_executors(conn) if e.stopped_at is None]
        dead = set(dead_executors(conn, backends.clock.now()))
    if not unfinished or any(executor.executor_id not in dead for executor in living):
        return []
    return [
        f"run {run.id} of {run.model} was left by a process that died: `flyball run` or `flyball up` goes on with it"
        for run in unfinished
    ]


def _segment_problems(backends: Backends) -> list[str]:
    from flyball.core.errors import FlyballError
    from flyball.data.segment_book import list_unreadable
    from flyball.data.segments import read_segment

    with backends.database.read() as conn:
        problems = [
            f"{name} could not be read or was gone: restore it from a backup"
            for name in list_unreadable(conn)
        ]
    for key in backends.blobs.list("segments", limit=1000):
        data = backends.blobs.find(key)
        if data is None:
            continue
        try:
            read_segment(data)
        except FlyballError as error:
            problems.append(f"{key}: {error.message}")
    return problems


def _space_problems(backends: Backends) -> list[str]:
    free_mb = shutil.disk_usage(backends.settings.home).free // (1 << 20)
    return [] if free_mb > LOW_SPACE_MB else [f"{free_mb} MB left beside {backends.settings.home}; make room"]
