"""Durations and rules of time as people write them: `30d`, `50ms`, `1 per 30d`, `2 of 3 windows`."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)$")
_RATE = re.compile(r"^(\d+(?:\.\d+)?)\s+per\s+(.+)$")
_CONFIRMATION = re.compile(r"^([1-9]\d*) of ([1-9]\d*) windows$")
_LONGEST = timedelta(days=366 * 100)


def parse_duration(text: str) -> timedelta:
    """The duration that `text` names. Raises ValueError with the forms that are understood.

    >>> parse_duration("36h")
    datetime.timedelta(days=1, seconds=43200)
    """
    match = _DURATION.match(text.strip())
    if match is None:
        raise ValueError(
            f"{text!r} is no duration; write a number and ms, s, m, h, d or w, such as 10m or 30d"
        )
    count, unit = float(match[1]), _UNITS[match[2]]
    if count * unit.total_seconds() > _LONGEST.total_seconds():
        raise ValueError(f"{text!r} is longer than 100 years")
    return unit * count


def format_duration(duration: timedelta) -> str:
    """A duration in its largest whole unit.

    >>> format_duration(timedelta(days=14))
    '14d'
    """
    for name in ("d", "h", "m", "s", "ms"):
        if duration >= _UNITS[name] and duration % _UNITS[name] == timedelta(0):
            return f"{duration // _UNITS[name]}{name}"
    return f"{duration.total_seconds():g}s"


def parse_rate(text: str) -> tuple[float, timedelta]:
    """Count and period of `1 per 30d`. Raises ValueError."""
    match = _RATE.match(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no rate; write for example '1 per 30d'")
    period = parse_duration(match[2])
    if period <= timedelta(0) or float(match[1]) <= 0:
        raise ValueError(f"{text!r}: count and period must be above zero")
    return float(match[1]), period


def find_confirmation(text: str) -> tuple[int, int] | None:
    """Needed and looked-at windows of `2 of 3 windows`; None where `text` is no such rule.

    >>> find_confirmation("2 of 3 windows")
    (2, 3)
    """
    match = _CONFIRMATION.match(text.strip())
    if match is None or int(match[1]) > int(match[2]):
        return None
    return int(match[1]), int(match[2])
