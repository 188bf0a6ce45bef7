"""Numbers and values of a report as short text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from flyball.core.values import Interval


def number(value: Any, signed: bool = False) -> str:
    """A number of four digits, or a dash for none.

    >>> number(0.78215), number(0.0042, signed=True), number(None), number(float("nan"))
    ('0.7822', '+0.0042', '–', 'not a number')
    """
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    if isinstance(value, int):
        return f"{value:+,}" if signed else f"{value:,}"
    text = f"{value:+.4g}" if signed else f"{value:.4g}"
    return "0" if float(text) == 0 else text


def aligned(values: Sequence[float | None]) -> list[str]:
    """Numbers of one table: as many decimals in each as give the largest four digits.

    >>> aligned([0.05451, -0.0005579, None])
    ['0.05451', '-0.00056', '–']
    """
    known = [abs(value) for value in values if value is not None and math.isfinite(value)]
    largest = max(known, default=0.0)
    decimals = max(0, 3 - math.floor(math.log10(largest))) if largest else 0
    return [
        f"{value:,.{decimals}f}" if value is not None and math.isfinite(value) else number(value)
        for value in values
    ]


def estimate_text(value: float, interval: Interval | None, signed: bool = False) -> str:
    """A number with its interval, with as many digits as the interval's width says anything about.

    >>> estimate_text(-0.0003351, Interval(-0.002574, 0.001883), signed=True)
    '-0.0003 (-0.0026 to +0.0019)'
    """
    if interval is None:
        return number(value, signed)
    width = interval.high - interval.low
    if not (math.isfinite(value) and math.isfinite(width) and width > 0):
        return f"{number(value, signed)} ({number(interval.low, signed)} to {number(interval.high, signed)})"
    decimals = max(0, 1 - math.floor(math.log10(width)))
    form = f"{{:{'+' if signed else ''},.{decimals}f}}"
    told, low, high = (form.format(one) for one in (value, interval.low, interval.high))
    return f"{told} ({low} to {high})"


def rounded_estimate(value: float, interval: Interval | None) -> str:
    """A difference as `estimate_text` writes it, without its interval.

    >>> rounded_estimate(-0.0003351, Interval(-0.002574, 0.001883))
    '-0.0003'
    """
    return estimate_text(value, interval, signed=True).partition(" (")[0]


def visible(text: str, kept: str = "") -> str:
    """A text with a mark in place of each character that can't be seen, but for those that are kept."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in kept else "\ufffd" for char in text)


def value_text(value: Any) -> str:
    """Any value of a row as text: numbers short, structures as JSON."""
    if value is None:
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int | float):
        return f"{value:.6g}" if isinstance(value, float) and math.isfinite(value) else str(value)
    return msgspec.json.encode(value, enc_hook=str).decode(errors="replace")
