"""A rollout as people read it: where it stands, what it waits for, and how much of its times is left."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click
import msgspec

from flyball.cli.output import facts, table
from flyball.core.clock import parse_moment
from flyball.core.durations import parse_duration

_WAITING = (
    "it waits for approvals; with them it begins where `flyball up` runs, else with the next `flyball deploy`"
)
_NO_LOOK = "a first look: `flyball up` takes one as predictions come"


def render_rollout(found: Any, now: datetime) -> None:
    """Print a rollout, local or from a control plane elsewhere. now: the wall clock, UTC."""
    if found is None:
        click.echo("no rollout")
        return
    rollout: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(found))
    facts(
        [
            ("rollout", rollout["id"]),
            ("model", rollout["model"]),
            ("candidate", f"version {rollout['candidate']}, over {rollout['champion'] or 'none'}"),
            ("strategy", rollout["strategy"]),
            ("state", rollout["state"]),
            *_where(rollout),
            ("since", parse_moment(rollout["started_at"])),
            ("ended", parse_moment(rollout["ended_at"]) if rollout["ended_at"] else None),
            *(_progress(rollout, now) if rollout["state"] in ("running", "paused") else ()),
            ("because", rollout["because"] or (_WAITING if rollout["state"] == "waiting" else None)),
        ]
    )


def render_guards(found: Any) -> None:
    """Print each guard of the last look: estimate beside what is allowed, evidence beside what decides."""
    guards: list[dict[str, Any]] = [] if found is None else (found.evidence or {}).get("guards") or []
    if not guards:
        return
    click.echo()
    table(
        ("guard", "state", "seen", "estimate", "allowed", "for", "against", "because"),
        [
            (
                guard["metric"],
                guard["state"],
                guard["count"],
                guard.get("estimate"),
                guard.get("margin"),
                _of(guard.get("e_not_worse"), guard.get("threshold_not_worse")),
                _of(guard.get("e_harm"), guard.get("threshold_harm")),
                None if guard.get("e_harm") is not None else guard["because"],
            )
            for guard in guards
        ],
    )


def _where(rollout: dict[str, Any]) -> list[tuple[str, Any]]:
    taken = rollout["steps"]
    if not taken:
        return []
    if rollout["strategy"] != "canary":
        return [("beside the champion since", parse_moment(taken[-1]["at"]))]
    planned = [
        share if i != rollout["step"] else None for i, share in enumerate(rollout["settings"]["steps"])
    ]
    shares = ", ".join(
        f"[{taken[-1]['share']:.0%}]" if share is None else f"{share:.0%}" for share in planned
    )
    return [
        ("step", f"{rollout['step'] + 1} of {len(planned)}: {shares} of traffic"),
        ("this step since", parse_moment(rollout["step_started_at"])),
    ]


def _progress(rollout: dict[str, Any], now: datetime) -> list[tuple[str, Any]]:
    settings, look = rollout["settings"], rollout["evidence"]
    baked = (now - parse_moment(rollout["step_started_at"])).total_seconds()
    found = [("wall time", _left(baked, settings["bake"], "baked"))]
    # The last look may be one at the step before.
    if look.get("step") != rollout["step"]:
        return [*found, ("waits for", _NO_LOOK)]
    seen = parse_moment(look["at"]) - parse_moment(rollout["started_model_at"])
    end = f"; then {settings['on_undecided']}" if rollout["state"] == "running" else ""
    if (requests := look.get("requests")) is not None:
        found.append(("requests", f"{requests} of {settings['min_requests']} in this step"))
    found.append(
        ("model time", _left(max(seen.total_seconds(), 0.0), settings["max_duration"], "gone") + end)
    )
    return [*found, ("waits for", look["because"] if look["action"] == "wait" else None)]


def _left(seconds: float, whole: str, word: str) -> str:
    most = parse_duration(whole).total_seconds()
    left = f"{_span(most - seconds)} left" if most > seconds else "over"
    return f"{_span(min(seconds, most))} of {whole} {word}, {left}"


def _span(seconds: float) -> str:
    for name, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.3g}{name}"
    return f"{seconds:.0f}s"


def _of(value: float | None, threshold: float | None) -> str | None:
    return None if value is None or threshold is None else f"{value:.3g} of {threshold:.3g}"
