"""Templates and how values are written in them. Every value is escaped; templates are code, never data."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Response
from markupsafe import Markup, escape

import flyball as package
from flyball.core.clock import parse_moment
from flyball.core.ids import new_id
from flyball.web.pages.charts import glyph, is_local
from flyball.web.pages.scales import short_number

FOLDER = Path(__file__).parents[1]
STATIC = FOLDER / "static"
LONGEST_VALUE = 2000

TONES = {
    "good": {
        "registered",
        "promoted",
        "pass",
        "passed",
        "resolved",
        "done",
        "champion",
        "healthy",
        "approved",
        "ready",
        "not-worse",
    },
    "warn": {"paused", "waiting", "asked", "inconclusive", "undecided", "flagged", "kept", "held", "rollout"},
    "bad": {
        "refused",
        "failed",
        "fail",
        "aborted",
        "open",
        "rolled_back",
        "alarm",
        "rejected",
        "attention",
        "harm",
    },
    "note": {"running", "candidate", "canary", "shadow", "wanted"},
}


def respond(template: str, **values: Any) -> Response[str]:
    """A page of the console from a template and its values."""
    return Response(render(template, **values), media_type="text/html; charset=utf-8")


def render(template: str, **values: Any) -> str:
    """A template's text. Names it lacks are errors, so that a page never silently shows less."""
    return _environment().get_template(template).render(values)


@cache
def static_files() -> dict[str, bytes]:
    """Every asset by its name, read once; nothing else is ever served from there."""
    return {path.name: path.read_bytes() for path in sorted(STATIC.iterdir()) if path.is_file()}


@cache
def asset(name: str) -> str:
    """The address of an asset, with a mark of its content, so that browsers may keep it for good."""
    return f"/static/{name}?v={hashlib.sha256(static_files()[name]).hexdigest()[:12]}"


def write_moment(value: datetime | str | None, *, empty: str = "–") -> Markup:
    """A moment to the minute in UTC, machine-readable beside it."""
    if value is None or value == "":
        return escape(empty)
    moment = value if isinstance(value, datetime) else _parse(value)
    if moment is None:
        return escape(make_visible(str(value)))
    utc = moment.astimezone(UTC)
    full = utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        full, f"{utc:%Y-%m-%d %H:%M:%S} UTC", f"{utc:%Y-%m-%d %H:%M}"
    )


def write_value(value: Any, *, empty: str = "–") -> str:
    """Any stored value as short text: numbers to four digits, structures as JSON, nothing without end."""
    if value is None or value == "":
        return empty
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return short_number(value)
    if isinstance(value, str | int):
        text = str(value)
    else:
        text = msgspec.json.encode(value).decode(errors="replace")
    shown: str = make_visible(text)
    return shown if len(shown) <= LONGEST_VALUE else shown[:LONGEST_VALUE] + "…"


def write_brief(value: Any, longest: int = 240) -> str:
    """As `write_value`, and no longer than fits beside others: for lists, cells and links."""
    text = write_value(value)
    return text if len(text) <= longest else text[:longest] + "…"


def make_visible(value: Any) -> Any:
    """Text with a mark in place of each character that can't be seen; markup and what is no text as they are.

    What turns the direction of writing, joins or hides would let a name look like another one, or turn what stands
    beside it. Every value of every template comes through here; markup was made of values that did.
    """
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in value)


def write_json(value: Any) -> str:
    """A structure as indented JSON, for those who want all of it."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode(errors="replace")
    return text if len(text) <= 10 * LONGEST_VALUE else text[: 10 * LONGEST_VALUE] + "…"


def write_interval(measured: Any) -> str:
    """The interval of a measured metric, such as `36.1 to 40.2`; nothing when there is none."""
    interval = measured.get("interval") if isinstance(measured, dict) else None
    if not isinstance(interval, dict) or interval.get("low") is None or interval.get("high") is None:
        return ""
    return f"{short_number(interval['low'])} to {short_number(interval['high'])}"


def write_measured(measured: Any) -> str:
    """The value of a metric, measured with or without interval."""
    return write_value(measured.get("value") if isinstance(measured, dict) else measured)


def shorten_digest(digest: str | None) -> str:
    """A digest as people read it: the first twelve hexadecimal digits.

    >>> shorten_digest("sha256:0123456789abcdef0123")
    '0123456789ab'
    """
    return (digest or "").removeprefix("sha256:")[:12]


def tone(word: str) -> str:
    """The colour class of a state's word; none for words without a colour.

    >>> tone("promoted"), tone("aborted"), tone("whatever")
    ('good', 'bad', '')
    """
    return next((name for name, words in TONES.items() if word in words), "")


def write_seconds(seconds: float | None) -> str:
    """A duration for people.

    >>> write_seconds(0.01), write_seconds(0.34), write_seconds(75), write_seconds(7260)
    ('< 0.1 s', '0.3 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds is None:
        return "–"
    if 0 <= seconds < 0.05:
        return "< 0.1 s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def plain(value: Any) -> Any:
    """Structs as plain values that templates walk; moments as ISO text."""
    return msgspec.to_builtins(value)


def _parse(text: str) -> datetime | None:
    try:
        return parse_moment(text)
    except ValueError:
        return None


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        finalize=make_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.tests["local"] = is_local
    environment.filters.update(
        moment=write_moment,
        value=write_value,
        brief=write_brief,
        json=write_json,
        interval=write_interval,
        measured=write_measured,
        digest=shorten_digest,
        tone=tone,
        seconds=write_seconds,
        count="{:,}".format,
    )
    environment.globals.update(
        asset=asset, glyph=glyph, new_key=lambda: new_id("key"), release=package.__version__
    )
    return environment
