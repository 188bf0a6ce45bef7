"""How models stand, read across the rooms: summaries, series for charts, and `why` in a paragraph."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from flyball.core.clock import as_utc, isoformat
from flyball.operations.opening import Backends

DRIFT_FEATURES = 30


_EXTERNAL = (
    "Its windows are judged when `flyball monitor` is called and it is retrained when `flyball retrain` is, "
    'not by itself (schedules = "external").'
)


class ModelSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A model in one line: who answers for it, what is in service, whether anything is wrong. `model_time`: its clock.

    `predictions`, `outcomes`: in the log by now, each once. `pending_outcomes`: those that fit no prediction yet.
    `conflicts`: predictions whose id had been used for other input. `schedules`: `external` where windows are judged
    and retrainings begun only when somebody asks.
    """

    name: str
    task: str
    owner: str | None
    description: str | None
    created_at: datetime
    champion: int | None
    candidate: int | None
    version_count: int
    open_incidents: int
    model_time: datetime | None
    revision: int
    predictions: int = 0
    outcomes: int = 0
    pending_outcomes: int = 0
    conflicts: int = 0
    schedules: str = "internal"


class VersionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A version in one line, with the names that point at it. rejection: by whom and why, where one stands."""

    model: str
    number: int
    state: str
    aliases: list[str]
    created_at: datetime
    digest: str
    why: str
    metrics: dict[str, Any]
    rejection: str | None = None


def list_models(backends: Backends) -> list[ModelSummary]:
    """Every model, by name."""
    from flyball.registry.models import list_models as list_registered

    with backends.database.read() as conn:
        return [_summary(backends, conn, model) for model in list_registered(conn)]


def get_model_summary(backends: Backends, name: str) -> ModelSummary:
    """One model's summary. Raises ModelNotFound."""
    from flyball.registry.models import get_model

    with backends.database.read() as conn:
        return _summary(backends, conn, get_model(conn, name))


def list_versions(backends: Backends, model: str, limit: int) -> list[VersionSummary]:
    """The newest versions of a model, newest first. Raises ModelNotFound."""
    from flyball.delivery.approvals import find_rejection
    from flyball.registry.aliases import list_aliases
    from flyball.registry.models import get_model
    from flyball.registry.versions import list_versions as list_numbered

    with backends.database.read() as conn:
        get_model(conn, model)
        names: dict[int, list[str]] = {}
        for alias in list_aliases(conn, model):
            names.setdefault(alias.number, []).append(alias.name)
        return [
            VersionSummary(
                model=model,
                number=version.number,
                state=version.state,
                aliases=names.get(version.number, []),
                created_at=version.created_at,
                digest=version.digest,
                why=version.why,
                metrics=version.metrics,
                rejection=find_rejection(conn, model, version.number, version.digest),
            )
            for version in list_numbered(conn, model, limit=limit)
        ]


def metric_series(backends: Backends, model: str) -> dict[str, Any]:
    """The loss of each judged window beside its reference, and the events to mark on it, all on model time."""
    from flyball.monitoring.windows import list_windows

    with backends.database.read() as conn:
        windows = list_windows(conn, model, limit=1000)
        events = _events(conn, model)
    return {
        "metric": next((w.metric for w in reversed(windows) if w.metric), None),
        "windows": [window_line(window) for window in windows],
        "events": sorted(events, key=lambda event: event["at"]),
    }


def window_line(window: Any) -> dict[str, Any]:
    """A judged window in one flat line."""
    return {
        "start": isoformat(window.start),
        "end": isoformat(window.end),
        "rows": window.row_count,
        "labelled": window.labelled_count,
        "version": window.version,
        "loss": window.loss,
        "reference": window.reference_loss,
        "state": window.state,
        "healthy": window.healthy,
        "held": window.held,
        "drift_top": _top(window.statistics),
    }


def drift_series(backends: Backends, model: str) -> dict[str, Any]:
    """Each feature's drift score per window, the features that ever drifted most first (at most 30)."""
    from flyball.monitoring.windows import list_windows

    with backends.database.read() as conn:
        windows = list_windows(conn, model, limit=200)
    scores: dict[str, list[float | None]] = {}
    for index, window in enumerate(windows):
        for name, score in column_scores(window.statistics).items():
            scores.setdefault(name, [None] * len(windows))[index] = score
    ranked = sorted(scores, key=lambda name: -max((s for s in scores[name] if s is not None), default=0.0))
    return {
        "windows": [isoformat(window.start) for window in windows],
        "features": [{"name": name, "scores": scores[name]} for name in ranked[:DRIFT_FEATURES]],
    }


def column_scores(statistics: dict[str, Any]) -> dict[str, float]:
    """The drift score of each column in a window's statistics."""
    columns = statistics.get("columns") or {}
    return {
        name: float(drift["score"])
        for name, drift in columns.items()
        if isinstance(drift, dict) and drift.get("score") is not None
    }


def why(backends: Backends, model: str) -> dict[str, Any]:
    """How a model stands and why, in a paragraph, with the facts it is made of. Raises ModelNotFound."""
    from flyball.delivery.approvals import approvals_left
    from flyball.delivery.left import WAITS
    from flyball.delivery.rollouts import list_rollouts
    from flyball.monitoring.incidents import list_incidents
    from flyball.monitoring.windows import list_windows
    from flyball.registry.aliases import list_history
    from flyball.retraining.retrainings import list_retrainings

    summary = get_model_summary(backends, model)
    with backends.database.read() as conn:
        moves = [move for move in list_history(conn, model) if move.name == "champion"]
        windows = list_windows(conn, model, limit=1)
        incidents = list_incidents(conn, model, limit=1)
        rollouts = list_rollouts(conn, model, limit=1)
        retrainings = list_retrainings(conn, model, limit=1)
        waiting = [r for r in retrainings if r.version and _waits(conn, r)]
        left = sum(approvals_left(conn, rollout) for rollout in rollouts if rollout.state == "waiting")
    sentences = [_champion_sentence(summary, moves)]
    if summary.schedules == "external":
        sentences.append(_EXTERNAL)
    sentences += [_window_sentence(window) for window in windows]
    sentences += [_incident_sentence(incident) for incident in incidents]
    sentences += [
        _sentence(
            f"The last rollout, of version {rollout.candidate}, is {rollout.state}"
            + (f": {rollout.because}" if rollout.because else "")
            + (
                f" for {left} more approval(s): `flyball approve {model}@{rollout.candidate} --why …`"
                if left
                else ""
            )
        )
        for rollout in rollouts
    ]
    sentences += [
        _sentence(f"The last retraining: {r.because}" + (f"; {r.result}" if r.result else ""))
        for r in retrainings
    ]
    sentences += [_sentence(f"Version {r.version} {WAITS}") for r in waiting]
    facts = {
        "champion": summary.champion,
        "candidate": summary.candidate,
        "open_incidents": summary.open_incidents,
        "rollout": rollouts[0].id if rollouts else None,
        "incident": incidents[0].id if incidents else None,
        "retraining": retrainings[0].id if retrainings else None,
    }
    return {"model": model, "text": " ".join(sentences), "facts": facts}


def _waits(conn: Any, retraining: Any) -> bool:
    """Whether what a retraining gave still waits for a pull request: nobody has put it on its way, or refused it."""
    from flyball.delivery.approvals import find_rejection
    from flyball.delivery.left import find_left
    from flyball.delivery.rollouts import list_rollouts
    from flyball.registry.versions import get_version

    model, number = retraining.model, retraining.version
    if find_left(conn, model, number) is None:
        return False
    digest = get_version(conn, model, number).digest
    begun = any(rollout.candidate == number for rollout in list_rollouts(conn, model, limit=20))
    return not begun and find_rejection(conn, model, number, digest) is None


def _summary(backends: Backends, conn: Any, model: Any) -> ModelSummary:
    from flyball.data.log_counts import get_counts
    from flyball.data.model_time import find_model_time
    from flyball.monitoring.incidents import list_incidents
    from flyball.registry.routes import current
    from flyball.registry.versions import list_versions as list_numbered

    deployment = current(conn, model.name)
    newest = list_numbered(conn, model.name, limit=1)
    counts = get_counts(conn, model.name)
    return ModelSummary(
        name=model.name,
        task=model.task,
        owner=model.owner,
        description=model.description,
        created_at=model.created_at,
        champion=deployment.champion if deployment else None,
        candidate=deployment.candidate if deployment else None,
        version_count=newest[0].number if newest else 0,
        open_incidents=len(list_incidents(conn, model.name, state="open")),
        model_time=find_model_time(conn, model.name, backends.clock.now()),
        revision=deployment.revision if deployment else 0,
        predictions=counts.predictions,
        outcomes=counts.outcomes,
        pending_outcomes=counts.pending,
        conflicts=counts.conflicts,
        schedules=str(deployment.project.get("schedules", "internal")) if deployment else "internal",
    )


def _events(conn: Any, model: str) -> list[dict[str, Any]]:
    from flyball.delivery.rollouts import list_rollouts
    from flyball.monitoring.incidents import list_incidents
    from flyball.monitoring.signals import list_signals
    from flyball.retraining.retrainings import list_retrainings

    events: list[dict[str, Any]] = []

    def mark(at: datetime | None, kind: str, text: str, link: str) -> None:
        if at is not None:
            events.append({"at": isoformat(at), "kind": kind, "text": text, "link": link})

    for signal in list_signals(conn, model, limit=500):
        mark(
            signal.at,
            "signal",
            signal.sentence,
            f"/incidents/{signal.incident_id}" if signal.incident_id else "",
        )
    for incident in list_incidents(conn, model, limit=200):
        mark(incident.resolved_at, "resolved", incident.title, f"/incidents/{incident.id}")
    for retraining in list_retrainings(conn, model, limit=200):
        link = f"/models/{model}/versions/{retraining.version}" if retraining.version else ""
        mark(retraining.decided_at, "retraining", retraining.because, link)
    for rollout in list_rollouts(conn, model, limit=200):
        link = f"/models/{model}/versions/{rollout.candidate}"
        mark(rollout.started_model_at, "rollout", f"version {rollout.candidate}: {rollout.strategy}", link)
        if rollout.ended_model_at is not None:
            text = f"version {rollout.candidate} {rollout.state}: {rollout.because or ''}"
            mark(rollout.ended_model_at, rollout.state, text, link)
    return events


def _champion_sentence(summary: ModelSummary, moves: list[Any]) -> str:
    if summary.champion is None:
        if summary.version_count == 0:
            return f"{summary.name} has no version yet; `flyball run` trains one."
        count = f"{summary.version_count} version{'s' if summary.version_count > 1 else ''}"
        return f"{summary.name} has {count} and none in service; `flyball deploy {summary.name}` starts one."
    if not moves:
        return f"Version {summary.champion} of {summary.name} is champion."
    last = max(moves, key=lambda move: move.at)
    reason = f": {last.why}" if last.why else ""
    since = f"{as_utc(last.model_time or last.at):%Y-%m-%d %H:%M}"
    return _sentence(f"Version {summary.champion} of {summary.name} is champion since {since}{reason}")


def _window_sentence(window: Any) -> str:
    span = f"{isoformat(window.start)[:10]} to {isoformat(window.end)[:10]}"
    rows = f"The last window ({span}) has {window.row_count} rows"
    if not window.statistics.get("is_enough", True):
        return f"{rows}, too few to say anything of it."
    if window.loss is None and window.state == "inputs":
        return f"{rows}; its outcomes are not due yet."
    if window.loss is None:
        return f"{rows} and {window.labelled_count} outcomes, from which no error can be told."
    reference = (
        f", training promised {window.reference_loss:.4g}" if window.reference_loss is not None else ""
    )
    return f"In the last window ({span}) its {window.metric} was {window.loss:.4g}{reference}."


def _incident_sentence(incident: Any) -> str:
    if incident.state == "open":
        return _sentence(f"An incident is open since {isoformat(incident.opened_at)[:10]}: {incident.title}")
    title = incident.title.rstrip(".")
    return f"The last incident ({title}) was resolved on {isoformat(incident.resolved_at)[:10]}."


def _sentence(text: str) -> str:
    """With one full stop at its end: reasons and titles come with theirs or without."""
    return text.rstrip(". ") + "."


def _top(statistics: dict[str, Any]) -> list[tuple[str, float]]:
    scores = column_scores(statistics)
    return sorted(scores.items(), key=lambda item: -item[1])[:3]
