"""Turns the loop's events into lines for a reader: what is new is told once, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

TOLD = {
    "signal.raised": "alarm",
    "incident.opened": "incident",
    "incident.resolved": "resolved",
    "retraining.kept": "kept",
    "retraining.failed": "failed",
    "candidate.ready": "candidate",
    "candidate.refused": "refused",
    "rollout.started": "rollout",
    "rollout.promoted": "promoted",
    "rollout.aborted": "aborted",
    "rollout.undecided": "undecided",
    "rollout.rolled_back": "rollback",
}
# What the example's loss is called in words.
METRIC, LOSS = "mae", "mean absolute error"
# Alarms that know no outcome: something looks different, which need not be wrong.
WITHOUT_OUTCOMES = ("drift", "prediction")

Event = dict[str, Any]


class Telling:
    """Tells one model's events in their order, and remembers of each open incident what was said already."""

    def __init__(self) -> None:
        self._opened: dict[str, str] = {}
        self._causes: dict[str, set[str]] = {}
        self._confirmed: set[str] = set()

    def tell(self, events: list[Event], *, now: str = "") -> Iterator[dict[str, Any]]:
        """Each event as an entry: `at` (a day, `now` if the event has none), `kind`, the event's own `text`, `told`.

        events: all that came at once; what belongs together (an incident and its first alarm) comes together.
        `told` is the line for a reader, or None where nothing new can be said.
        """
        signals = [event["facts"] for event in events if event["kind"] == "signal.raised"]
        for event in events:
            facts = event["facts"]
            yield {
                "at": str(facts.get("model_time") or facts.get("decided_at") or facts.get("at") or now)[:10],
                "kind": TOLD[event["kind"]],
                "text": _text(event),
                "told": self._line(event["kind"], facts, _text(event), signals),
            }

    def _line(self, kind: str, facts: dict[str, Any], text: str, signals: list[dict[str, Any]]) -> str | None:
        match kind:
            case "incident.opened":
                return self._open(facts, text, signals)
            case "signal.raised":
                return self._alarm(facts, text, signals)
            case "incident.resolved":
                return self._resolve(facts, text)
            case "retraining.kept":
                return f"a retraining was tried and the champion stays: {text}"
            case "candidate.ready":
                because = text.removeprefix("retrained: ")
                return f"version {facts['version']} was trained and passed its gates ({because})"
            case "rollout.started" if facts.get("share") == 0:
                return f"{text}: it answers too, unseen, and is compared"
            case "rollout.promoted":
                return _promotion(facts, text)
        return text

    def _open(self, facts: dict[str, Any], title: str, signals: list[dict[str, Any]]) -> str:
        """What, where and since when, by the title; how sure, by the alarms it was opened for."""
        incident, at = facts["incident_id"], facts["model_time"]
        own = [s for s in signals if (s["incident_id"], s["at"]) == (incident, at)]
        self._opened[incident] = at[:10]
        self._causes[incident] = {facts["cause"]}
        if any(_is_sure(signal) for signal in own):
            self._confirmed.add(incident)
        # Of several alarms on one window, the one that knows the outcomes says most.
        parts = [_sentence(next((s["sentence"] for s in own if s["kind"] == "performance"), title))]
        if incident in self._confirmed:
            parts.append("Confirmed.")
        elif own:
            knows = any(signal["kind"] not in WITHOUT_OUTCOMES for signal in own)
            parts.append("Not confirmed yet." if knows else "No outcome confirms it yet.")
        if facts["hold"] and "held" not in parts[0]:
            parts.append("Nothing is trained while this lasts.")
        return " ".join(parts)

    def _alarm(self, facts: dict[str, Any], sentence: str, signals: list[dict[str, Any]]) -> str | None:
        """A later alarm of an incident says something when it names a new cause or makes the incident sure."""
        incident = facts["incident_id"]
        if incident not in self._causes:
            return sentence
        causes, kind = self._causes[incident], facts["kind"]
        by_outcomes = any(
            (s["incident_id"], s["at"], s["kind"]) == (incident, facts["at"], "performance") for s in signals
        )
        if kind in WITHOUT_OUTCOMES and by_outcomes:
            return None  # of two alarms on one window, the one that knows the outcomes knows the cause
        is_new = facts["cause"] not in causes | {"undetermined"}
        is_sure_now = _is_sure(facts) and incident not in self._confirmed
        causes.add(facts["cause"])
        if is_sure_now:
            self._confirmed.add(incident)
        if is_new:
            return f"{_sentence(sentence)} Confirmed." if is_sure_now else sentence
        if is_sure_now:
            return f"the incident of {self._opened[incident]} is confirmed by another window"
        return None

    def _resolve(self, facts: dict[str, Any], title: str) -> str:
        """Which incident, by the day it was opened, and what recovered."""
        opened = self._opened.get(facts["incident_id"])
        name = f"the incident of {opened}" if opened else _sentence(title).removesuffix(".")
        return f"{name} is over: {facts['because'].replace('the loss', f'the {LOSS}', 1)}"


def _text(event: Event) -> str:
    facts = event["facts"]
    return str(
        facts.get("sentence")
        or facts.get("title")
        or facts.get("because")
        or facts.get("why")
        or event["subject"]
    )


def _is_sure(signal: dict[str, Any]) -> bool:
    return bool(signal["confirmed"]) and signal["kind"] not in WITHOUT_OUTCOMES


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."


def _promotion(facts: dict[str, Any], because: str) -> str:
    """The comparison a promotion rests on, in words; its own reason where there was none."""
    line = f"version {facts['version']} replaces version {facts['champion']}: "
    guards = [guard for guard in facts.get("guards", ()) if guard.get("estimate") is not None]
    if not guards:
        return line + because
    return line + "; ".join(_compared(guard) for guard in guards)


def _compared(guard: dict[str, Any]) -> str:
    name = LOSS if guard["metric"] == METRIC else guard["metric"]
    estimate, margin = guard["estimate"], guard["margin"]
    return (
        f"its {name} was {abs(estimate):.3g} {'lower' if estimate < 0 else 'higher'}, on average of "
        f"{guard['count']} days; up to {margin:g} higher was allowed"
    )
