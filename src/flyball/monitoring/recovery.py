"""When is a problem over? Pure: an incident is resolved by what was measured, never by what was done about it."""

from __future__ import annotations

from typing import Any

import msgspec

from flyball.judge.drift.performance import CONFIRM_RATIO
from flyball.monitoring.incidents import Incident
from flyball.monitoring.judgement import Judgement
from flyball.monitoring.measure import Measure
from flyball.monitoring.plan import Look

# Without a new champion one calm window may be chance: the alarm itself needs two of three.
CALM_WINDOWS = 2


class AfterWindow(msgspec.Struct, frozen=True, kw_only=True):
    """An incident's facts after one more window, and the sentence that resolves it, if one does."""

    facts: dict[str, Any]
    resolved: str | None = None


def after_window(incident: Incident, look: Look, measure: Measure, judged: Judgement) -> AfterWindow:
    """How an open incident stands after a window. A window that can't be judged moves nothing."""
    if not judged.is_enough:
        return AfterWindow(facts=incident.facts)
    if incident.problem == "data":
        return _after_data(incident, look, measure, judged)
    if incident.problem == "service":
        return _after_service(incident, look, judged)
    return _after_change(incident, look, measure, judged)


def _after_data(incident: Incident, look: Look, measure: Measure, judged: Judgement) -> AfterWindow:
    if look.part == "outcomes" or any(alarm.kind == "contract" for alarm in judged.alarms):
        return AfterWindow(facts=incident.facts)
    day = f"{look.start:%Y-%m-%d} to {look.end:%Y-%m-%d}"
    text = f"the data are whole again: no column of the {measure.row_count} rows from {day} is broken"
    return AfterWindow(facts=incident.facts, resolved=text)


def _after_service(incident: Incident, look: Look, judged: Judgement) -> AfterWindow:
    if look.part == "outcomes" or any(alarm.kind == "operational" for alarm in judged.alarms):
        return AfterWindow(facts=incident.facts)
    text = f"every service objective is met again from {look.start:%Y-%m-%d} to {look.end:%Y-%m-%d}"
    return AfterWindow(facts=incident.facts, resolved=text)


def _after_change(incident: Incident, look: Look, measure: Measure, judged: Judgement) -> AfterWindow:
    if judged.broken:
        return AfterWindow(facts=incident.facts)
    if "performance" in incident.facts.get("kinds", []):
        return _after_performance(incident, look, measure, judged)
    if look.part == "outcomes":
        return AfterWindow(facts=incident.facts)
    if any(alarm.kind in ("drift", "prediction", "performance") for alarm in judged.alarms):
        return AfterWindow(facts={**incident.facts, "quiet": 0})
    watched = [w for w in (judged.drift, judged.prediction) if w is not None and w.enough]
    if not watched and measure.version == incident.facts.get("version"):
        return AfterWindow(facts=incident.facts)
    because = "; ".join(w.because for w in watched) or (
        f"version {measure.version} was trained on data like these, and is compared with them from here on"
    )
    return _calm(incident, measure, f"inputs and answers are back among what is usual: {because}")


def _after_performance(incident: Incident, look: Look, measure: Measure, judged: Judgement) -> AfterWindow:
    if look.part == "inputs" or measure.loss is None or judged.confirmation is None:
        return AfterWindow(facts=incident.facts)
    is_bad = judged.confirmation.ratios[-1] >= CONFIRM_RATIO or judged.confirmation.confirmed
    if is_bad or (judged.outcomes is not None and judged.outcomes.alarm):
        return AfterWindow(facts={**incident.facts, "quiet": 0})
    before = incident.facts.get("loss")
    was = f", was {before:.4g} when this began" if isinstance(before, int | float) else ""
    because = (
        f"the loss recovered: {measure.loss:.4g} in {measure.labelled_count} rows that version "
        f"{measure.version} answered, {judged.confirmation.ratios[-1]:.2f} times what its training promises{was}"
    )
    return _calm(incident, measure, because)


def _calm(incident: Incident, measure: Measure, because: str) -> AfterWindow:
    """One more calm window: enough at once under another champion, else it takes two."""
    quiet = int(incident.facts.get("quiet", 0)) + 1
    facts = {**incident.facts, "quiet": quiet}
    is_other = measure.version is not None and measure.version != incident.facts.get("version")
    resolved = because if is_other or quiet >= CALM_WINDOWS else None
    return AfterWindow(facts=facts, resolved=resolved)
