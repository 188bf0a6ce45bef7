"""What a judged window changes: signals raised, incidents opened and resolved, the window kept; one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection

from flyball.core.clock import isoformat, parse_moment
from flyball.governance.actors import SYSTEM
from flyball.governance.journal import Change, record
from flyball.judge.causes.diagnose import Diagnosis
from flyball.monitoring.incidents import (
    Incident,
    Problem,
    add_entry,
    change_incident,
    find_open_incident,
    open_incident,
    resolve_incident,
)
from flyball.monitoring.judgement import Alarm, Judgement, statistics_of
from flyball.monitoring.measure import Measure
from flyball.monitoring.plan import Look, MonitorPlan
from flyball.monitoring.recovery import after_window
from flyball.monitoring.signals import Signal, save_signal, signal_id
from flyball.monitoring.windows import Window, find_window, save_window

PROBLEMS: tuple[Problem, ...] = ("data", "change", "service")


def commit_look(
    conn: Connection, look: Look, plan: MonitorPlan, measure: Measure, judged: Judgement, now: datetime
) -> list[Signal]:
    """Write everything one look says, in the caller's transaction; the signals it raised.

    A look that was committed before changes nothing.
    """
    known = find_window(conn, plan.model, look.start)
    if known is not None and (known.state == "complete" or look.part == "inputs"):
        return []
    raised = [
        _raise(conn, look, plan, measure, judged, alarm, now, is_first=index == 0)
        for index, alarm in enumerate(judged.alarms)
    ]
    for problem in PROBLEMS:
        incident = find_open_incident(conn, plan.model, problem)
        if incident is not None:
            _follow(conn, incident, look, measure, judged, now)
    window = _window(conn, look, plan, measure, judged, known, now)
    save_window(conn, window)
    _journal_window(conn, window, raised, now)
    return raised


def problem_of(alarm: Alarm, diagnosis: Diagnosis | None) -> Problem:
    """Which problem an alarm belongs to: everything seen while data are broken is put down to that."""
    if alarm.kind == "contract" or (diagnosis is not None and diagnosis.cause == "broken-data"):
        return "data"
    if alarm.kind == "operational" or (diagnosis is not None and diagnosis.cause == "serving-path"):
        return "service"
    return "change"


def _raise(
    conn: Connection,
    look: Look,
    plan: MonitorPlan,
    measure: Measure,
    judged: Judgement,
    alarm: Alarm,
    now: datetime,
    *,
    is_first: bool,
) -> Signal:
    diagnosis = judged.diagnosis
    problem = problem_of(alarm, diagnosis)
    signal = _signal(look, plan, measure, judged, alarm, now, is_first=is_first)
    incident = find_open_incident(conn, plan.model, problem)
    hold = problem == "data" and bool(judged.broken)
    if incident is None:
        facts = {
            "since": isoformat(_since(look, judged, problem)),
            "kinds": [alarm.kind],
            "version": measure.version,
            "loss": measure.loss,
            "reference_loss": judged.reference_loss,
            "quiet": 0,
        }
        incident = open_incident(
            conn,
            model=plan.model,
            problem=problem,
            cause=signal.cause,
            title=signal.sentence,
            hold=hold,
            facts=facts,
            at=look.at,
            now=now,
        )
    else:
        kinds = sorted({*incident.facts.get("kinds", []), alarm.kind})
        cause = signal.cause if incident.cause == "undetermined" else None
        facts = {**incident.facts, "kinds": kinds}
        change_incident(conn, incident.id, facts=facts, cause=cause, hold=hold)
    signal = msgspec.structs.replace(signal, incident_id=incident.id)
    if save_signal(conn, signal):
        add_entry(conn, incident.id, "signal", signal.sentence, ref=signal.id, model_time=look.at, now=now)
        if hold:
            text = "hold: nothing is trained while this lasts, and rows of this window never train a model"
            add_entry(conn, incident.id, "action", text, model_time=look.at, now=now, once=True)
        _journal_signal(conn, signal, may_retrain=_may_retrain(diagnosis), now=now)
    return signal


def _signal(
    look: Look,
    plan: MonitorPlan,
    measure: Measure,
    judged: Judgement,
    alarm: Alarm,
    now: datetime,
    *,
    is_first: bool,
) -> Signal:
    diagnosis = judged.diagnosis
    # A diagnosis is about the model and its data; what the service or a contract says of itself needs none.
    is_told = alarm.kind != "operational" and (alarm.kind != "contract" or bool(judged.broken))
    cause = diagnosis.cause if diagnosis is not None and is_told else "undetermined"
    if alarm.kind == "operational":
        cause = "serving-path"
    # It speaks for the window as a whole: its main alarm tells it.
    leads = is_told and (alarm.kind == "performance" or (is_first and not _has_outcome(judged)))
    sentence = diagnosis.sentence if leads and diagnosis is not None else alarm.sentence
    facts: dict[str, Any] = {
        "version": measure.version,
        "row_count": measure.row_count,
        "labelled_count": measure.labelled_count,
        "statistic": alarm.sentence,
        "may_retrain": _may_retrain(diagnosis),
    }
    if diagnosis is not None:
        facts |= {"sure": diagnosis.sure, "evidence": diagnosis.evidence, "features": diagnosis.features}
    return Signal(
        id=signal_id(plan.model, look.start, alarm.kind, alarm.feature),
        model=plan.model,
        kind=alarm.kind,
        window_start=look.start,
        window_end=look.end,
        at=look.at,
        raised_at=now,
        statistic=alarm.statistic,
        threshold=alarm.threshold,
        p_value=alarm.p_value,
        cause=cause,
        feature=alarm.feature,
        sentence=sentence,
        facts=facts,
        incident_id=None,
        confirmed=alarm.confirmed and not (judged.broken and alarm.kind != "contract"),
    )


def _has_outcome(judged: Judgement) -> bool:
    return any(alarm.kind == "performance" for alarm in judged.alarms)


def _may_retrain(diagnosis: Diagnosis | None) -> bool:
    return diagnosis is not None and diagnosis.may_retrain


def _since(look: Look, judged: Judgement, problem: Problem) -> datetime:
    if problem != "change" or judged.since is None:
        return look.start
    return judged.since


def _follow(
    conn: Connection, incident: Incident, look: Look, measure: Measure, judged: Judgement, now: datetime
) -> None:
    """Has the problem of an open incident passed? Counts calm windows, and resolves it by the recovered metric."""
    state = after_window(incident, look, measure, judged)
    if state.facts != incident.facts:
        change_incident(conn, incident.id, facts=state.facts)
    if state.resolved is not None:
        resolve_incident(conn, incident.id, state.resolved, at=look.at, now=now)


def _window(
    conn: Connection,
    look: Look,
    plan: MonitorPlan,
    measure: Measure,
    judged: Judgement,
    known: Window | None,
    now: datetime,
) -> Window:
    held = bool(judged.broken) or (known is not None and known.held)
    troubled = any(find_open_incident(conn, plan.model, problem) for problem in ("data", "change"))
    alarmed = any(alarm.kind != "operational" for alarm in judged.alarms)
    enough = measure.labelled_count >= plan.min_rows
    return Window(
        model=plan.model,
        start=look.start,
        end=look.end,
        state="inputs" if look.part == "inputs" else "complete",
        decided_at=look.at,
        analysed_at=now,
        version=measure.version,
        row_count=measure.row_count,
        labelled_count=measure.labelled_count,
        metric=_metric(measure, plan),
        loss=measure.loss if look.part != "inputs" and enough else None,
        reference_loss=judged.reference_loss,
        healthy=judged.is_enough and not alarmed and not troubled and not held,
        held=held,
        summary=_plain({"inputs": measure.inputs, "predictions": measure.predictions}),
        statistics=statistics_of(judged, measure),
    )


def _metric(measure: Measure, plan: MonitorPlan) -> str | None:
    from flyball.judge.metrics.table import default_loss

    return default_loss(plan.task) if measure.version is not None else None


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return {name: found for name, found in plain.items() if found is not None}


def _journal_signal(conn: Connection, signal: Signal, *, may_retrain: bool, now: datetime) -> None:
    facts = {
        "model": signal.model,
        "signal_id": signal.id,
        "kind": signal.kind,
        "cause": signal.cause,
        "confirmed": signal.confirmed,
        "may_retrain": may_retrain,
        "window_start": isoformat(signal.window_start),
        "window_end": isoformat(signal.window_end),
        "at": isoformat(signal.at),
        "incident_id": signal.incident_id,
        "sentence": signal.sentence,
    }
    change = Change(
        actor=SYSTEM,
        action="signal.raised",
        subject=f"signal:{signal.id}",
        why=signal.sentence,
        facts=facts,
        event="signal.raised",
    )
    record(conn, change, now)


def _journal_window(conn: Connection, window: Window, raised: Sequence[Signal], now: datetime) -> None:
    """One audit entry per judged window; whoever follows the loop sees it as an event."""
    facts = {
        "model": window.model,
        "window_start": isoformat(window.start),
        "window_end": isoformat(window.end),
        "at": isoformat(window.decided_at),
        "state": window.state,
        "rows": window.row_count,
        "labelled": window.labelled_count,
        "version": window.version,
        "loss": window.loss,
        "reference_loss": window.reference_loss,
        "healthy": window.healthy,
        "held": window.held,
        "signals": [signal.id for signal in raised],
    }
    why = f"{len(raised)} signals" if raised else "nothing out of the ordinary"
    if not window.statistics.get("is_enough"):
        why = f"only {window.row_count} rows: nothing can be said of this window"
    change = Change(
        actor=SYSTEM,
        action="window.judged",
        subject=f"window:{window.model}@{isoformat(window.start)}",
        why=why,
        facts=facts,
        event="window.judged",
    )
    record(conn, change, now)


def since_of(incident: Incident | None) -> datetime | None:
    """Where an incident's problem began, by its facts."""
    return None if incident is None else parse_moment(incident.facts["since"])
