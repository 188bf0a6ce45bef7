"""From a prediction to its version, run, snapshot and approval; from a version to all it came from."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from flyball.core.clock import isoformat
from flyball.core.errors import BadInput, PredictionNotFound, SnapshotNotFound
from flyball.operations.opening import Backends

RECENT_DAYS = (3, 30, 300)
"""How far back recent predictions are looked for at first, then and at last, before the whole log is read."""
MOST_SNAPSHOTS = 100_000


def trace_prediction(backends: Backends, prediction_id: str) -> dict[str, Any]:
    """One prediction with input, answer, outcome, a shadow's answer, and its lineage. Raises PredictionNotFound."""
    from flyball.data.predictions import find_prediction
    from flyball.registry.models import list_models
    from flyball.registry.versions import find_version

    with backends.database.read() as conn:
        models = [model.name for model in list_models(conn)]
    for model in models:
        records = find_prediction(backends.tables_url, model, prediction_id)
        if not records:
            continue
        answered = [record for record in records if record.role != "shadow" and not record.conflict]
        shadows = [record for record in records if record.role == "shadow"]
        conflicts = [record for record in records if record.conflict]
        first = (answered or records)[0]
        with backends.database.read() as conn:
            version = find_version(conn, model, first.answered or first.asked)
        plain: dict[str, Any] = msgspec.to_builtins(first)
        return plain | {
            "model": model,
            "version": plain["answered"],
            "latency_ms": first.latency_us / 1000,
            "outcome": None
            if first.outcome is None
            else {"value": first.outcome, "known_at": plain["known_at"]},
            "shadow": msgspec.to_builtins(shadows),
            "conflicts": msgspec.to_builtins(conflicts),
            "lineage": trace_version(backends, version) if version is not None else [],
        }
    raise PredictionNotFound(prediction_id)


def recent_predictions(backends: Backends, model: str, limit: int) -> list[dict[str, Any]]:
    """The newest predictions of a model by event time, newest first, however long ago; all of them if fewer."""
    from flyball.data.log_counts import get_counts
    from flyball.data.model_time import find_clock

    with backends.database.read() as conn:
        clock, counts = find_clock(conn, model), get_counts(conn, model)
    if clock is None:
        return []
    wanted = min(limit, counts.predictions + counts.failures)
    # Mostly the last days hold enough, and their rows lie together; where traffic paused they hold none.
    for days in RECENT_DAYS:
        frame = _answered_since(backends, model, clock.highest_event_at - timedelta(days=days))
        if frame.height >= wanted:
            break
    else:
        frame = _answered_since(backends, model, datetime.min.replace(tzinfo=UTC))
    columns = ("id", "at", "role", "asked", "answered", "prediction", "error", "latency_us", "entity")
    newest = frame.sort("at", "id", descending=True).head(limit).select(columns).to_dicts()
    plain: list[dict[str, Any]] = msgspec.to_builtins(newest)
    return plain


def _answered_since(backends: Backends, model: str, start: datetime) -> Any:
    """What clients were answered for events from `start` on, as a frame without features."""
    from flyball.data.predictions import read_predictions

    end = datetime.max.replace(tzinfo=UTC)
    return read_predictions(
        backends.tables_url, model, start, end, roles=("champion", "candidate"), features=[]
    )


def trace_version(backends: Backends, version: Any) -> list[dict[str, Any]]:
    """What a version came from, nearest first: run, data, code, environment, signal, approvals, rollout."""
    from flyball.delivery.approvals import subject_of
    from flyball.delivery.rollouts import list_rollouts
    from flyball.governance.approvals import list_approvals
    from flyball.retraining.retrainings import find_by_version

    model, number = version.model, version.number
    with backends.database.read() as conn:
        retraining = find_by_version(conn, model, number)
        rollouts = [r for r in list_rollouts(conn, model, limit=1000) if r.candidate == number]
        approvals = list_approvals(conn, version.digest, subject_of(model, number))
    steps: list[dict[str, Any]] = []

    def add(what: str, name: Any, link: str | None = None) -> None:
        if name:
            steps.append({"what": what, "name": str(name), "link": link})

    add("version", f"{model}@{number}", f"/models/{model}/versions/{number}")
    add("bundle", version.digest)
    if (origin := version.lineage.get("origin")) is not None:
        add(
            "carried over from",
            f"{origin['environment'] or 'the home that made it'}, version {origin['number']} there",
        )
        add(
            "made by",
            f"{origin['author']}, {origin['registered_at']}, {version.lineage.get('run_id') or 'no run'}",
        )
    add("run", version.run_id, f"/runs/{version.run_id}")
    add("data", version.snapshot)
    add("code", version.source_tree)
    add("environment", version.environment)
    if retraining is not None:
        add("retrained because", retraining.because)
        add("incident", retraining.incident_id, f"/incidents/{retraining.incident_id}")
    for rollout in rollouts:
        add("rollout", f"{rollout.strategy}, {rollout.state}: {rollout.because or rollout.why}")
    for approval in approvals:
        add("approval", f"{approval.answer} by {approval.actor_name}: {approval.why}")
    return steps


def trace_digest(backends: Backends, prefix: str) -> list[dict[str, Any]]:
    """What came of a snapshot: the versions made of it, by model; likewise of a source tree, environment or bundle.

    prefix: `sha256:` and at least 6 hexadecimal digits. Raises BadInput for less, SnapshotNotFound.
    """
    from flyball.data.catalogue import list_snapshots
    from flyball.registry.models import list_models
    from flyball.registry.versions import list_versions

    if not re.fullmatch(r"sha256:[0-9a-f]{6,64}", prefix):
        raise BadInput(f"{prefix[:80]!r} is no digest: sha256: and 6 to 64 hexadecimal digits", digest=prefix)
    with backends.database.read() as conn:
        taken = [s for s in list_snapshots(conn, limit=MOST_SNAPSHOTS) if s.digest.startswith(prefix)]
        versions = [v for model in list_models(conn) for v in list_versions(conn, model.name, limit=10_000)]
    steps: list[dict[str, Any]] = []
    for snapshot in taken:
        text = f"{snapshot.digest}, {snapshot.row_count} rows of {snapshot.source}, {isoformat(snapshot.created_at)}"
        steps.append({"what": "data", "name": text, "link": None})
    for version in versions:
        origins = {"data": version.snapshot, "code": version.source_tree, "environment": version.environment}
        for what, digest in (origins | {"bundle": version.digest}).items():
            if digest and digest.startswith(prefix):
                name, link = (
                    f"{version.model}@{version.number}",
                    f"/models/{version.model}/versions/{version.number}",
                )
                steps.append({"what": f"{what} of", "name": name, "link": link})
    if not steps:
        raise SnapshotNotFound(prefix)
    return steps


def describe_version(backends: Backends, version: Any) -> dict[str, Any]:
    """A version with aliases, evidence, gates, lineage, rollouts and the retraining it came of."""
    from flyball.delivery.approvals import find_rejection
    from flyball.delivery.rollouts import list_rollouts
    from flyball.registry.aliases import list_aliases
    from flyball.registry.evidence import list_evidence
    from flyball.retraining.retrainings import find_by_version

    model, number = version.model, version.number
    with backends.database.read() as conn:
        evidence = list_evidence(conn, model, number)
        aliases = [alias.name for alias in list_aliases(conn, model) if alias.number == number]
        rollouts = [r for r in list_rollouts(conn, model, limit=1000) if r.candidate == number]
        retraining = find_by_version(conn, model, number)
        rejection = find_rejection(conn, model, number, version.digest)
    return {
        "version": version,
        "rejection": rejection,
        "aliases": aliases,
        "evidence": [
            {
                "id": item.id,
                "kind": item.kind,
                "at": isoformat(item.at),
                "actor": item.actor,
                "summary": summarise(item.kind, item.facts),
                "facts": item.facts,
            }
            for item in evidence
        ],
        "gates": [item.facts for item in evidence if item.kind == "gate"],
        "lineage": trace_version(backends, version),
        "rollouts": rollouts,
        "retraining": retraining,
    }


def summarise(kind: str, facts: dict[str, Any]) -> str:
    """Evidence in one line: what was measured for an evaluation, a verdict with its reason, else the first facts."""
    if kind == "evaluation":
        return _measured(facts)
    if kind == "tests":
        return _tested(facts)
    because = str(facts.get("because") or "")
    verdict = str(facts.get("outcome") or facts.get("verdict") or "")
    if because:
        metric = str(facts.get("metric") or "")
        told = f"{verdict}: {because}" if verdict else because
        return told if not metric or metric in because else f"{metric}, {told}"
    pairs = [
        f"{name} {_number(value)}" for name, value in facts.items() if isinstance(value, str | int | float)
    ]
    return ", ".join(pairs[:6]) or kind


def _tested(facts: dict[str, Any]) -> str:
    """How many model tests passed, and which did not."""
    tests = facts.get("tests") or []
    others = [f"{test['name']} {test['outcome']}" for test in tests if test["outcome"] != "pass"]
    told = f"{len(tests) - len(others)} of {len(tests)} passed"
    return f"{told}; {', '.join(others[:6])}{', …' if len(others) > 6 else ''}" if others else told


def _measured(facts: dict[str, Any]) -> str:
    """The first three metrics with intervals, the rows, and the champion's loss where there was one to compare."""
    metrics, beside = facts.get("metrics") or {}, (facts.get("comparison") or {}).get("loss")
    parts = []
    for name, measured in list(metrics.items())[:3]:
        interval = measured.get("interval")
        span = f" ({_number(interval['low'])} to {_number(interval['high'])})" if interval else ""
        parts.append(f"{name} {_number(measured['value'])}{span}")
    if not parts:
        return "nothing could be measured"
    rows = next(measured.get("row_count") for measured in metrics.values())
    told = f"{', '.join(parts)} on {rows} held-out rows"
    if beside is None:
        return told
    return f"{told}; the champion's {beside['metric']} on {beside['row_count']} of them {_number(beside['champion'])}"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
