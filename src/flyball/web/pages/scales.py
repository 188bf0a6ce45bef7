"""Axes: where ticks go and what they say. Pure functions of numbers and moments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

_MONTHS = (1, 2, 3, 6, 12, 24, 60, 120)
_SPANS: tuple[tuple[timedelta, str], ...] = (
    (timedelta(minutes=1), "%H:%M"),
    (timedelta(minutes=5), "%H:%M"),
    (timedelta(minutes=15), "%H:%M"),
    (timedelta(hours=1), "%H:%M"),
    (timedelta(hours=3), "%d %b %H:%M"),
    (timedelta(hours=12), "%d %b %H:%M"),
    (timedelta(days=1), "%d %b"),
    (timedelta(days=2), "%d %b"),
    (timedelta(days=7), "%d %b"),
    (timedelta(days=14), "%d %b"),
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def nice_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`, about `most` of them, equally far apart.

    Equal bounds are widened, so there are always at least two.

    >>> nice_ticks(0, 71, 4)
    [0.0, 20.0, 40.0, 60.0, 80.0]
    """
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-200):
        margin = abs(low) * 0.1 if abs(low) > 1e-200 else 1.0
        low, high = low - margin, low + margin
    rough = (high - low) / max(1, most)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(
        (factor * power for factor in (1, 2, 2.5, 5) if factor * power >= rough * 0.999999), 10 * power
    )
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, -math.floor(math.log10(step)) + 1)
    return [round(index * step, digits) for index in range(first, last + 1)]


def value_range(values: Sequence[float]) -> tuple[float, float]:
    """The range an axis should cover: from zero, unless the values lie far from it, close together."""
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    if low >= 0 and low < 0.6 * high:
        return 0.0, high
    return (low, high) if low < 0 or high > low else (min(0.0, low), high or 1.0)


def time_ticks(start: datetime, end: datetime, most: int = 6) -> list[tuple[datetime, str]]:
    """Moments between `start` and `end` (aware UTC) with their labels, at most `most` and a few more."""
    span = end - start
    for step, form in _SPANS:
        if span <= step * most:
            first = start + (-(start - _EPOCH)) % step
            count = (end - first) // step + 1 if first <= end else 0
            return [(first + step * i, (first + step * i).strftime(form)) for i in range(count)]
    months = next((m for m in _MONTHS if span <= timedelta(days=30.5) * m * most), _MONTHS[-1])
    return _month_ticks(start, end, months)


def _month_ticks(start: datetime, end: datetime, months: int) -> list[tuple[datetime, str]]:
    index = start.year * 12 + start.month - 1
    index += -index % months
    ticks: list[tuple[datetime, str]] = []
    while True:
        moment = datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC)
        if moment > end:
            return ticks
        if moment >= start:
            ticks.append((moment, moment.strftime("%Y") if months >= 12 else moment.strftime("%b %Y")))
        index += months


def short_number(value: float) -> str:
    """A number for a tick or a table: four significant digits, no trailing zeros.

    >>> short_number(0.25), short_number(38.2461), short_number(1200000.0), short_number(-0.0)
    ('0.25', '38.25', '1.2e+06', '0')
    """
    return f"{value:.4g}" if value else "0"
