"""Checks that rules of the project file share: durations, shares, limits. Each yields the faults it finds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from flyball.core.durations import parse_duration
from flyball.pipelines.shape import Fault


def fault(problem: str, *path: str | int, expected: str | None = None) -> Fault:
    """A fault at the key that `path` spells."""
    return Fault(path=path, problem=problem, expected=expected)


def duration_fault(text: str, *path: str | int, least: timedelta = timedelta(0)) -> Iterator[Fault]:
    """A fault if this is no duration, or a shorter one than it must be."""
    try:
        if parse_duration(text) < least:
            yield fault(f'is "{text}", too short', *path, expected=f"at least {least}")
    except ValueError:
        yield fault(f'is "{text}"', *path, expected="a number and ms, s, m, h, d or w, such as 10m or 30d")


def share_fault(value: float, *path: str | int, zero: bool = False, one: bool = False) -> Iterator[Fault]:
    """A fault if this is no share between 0 and 1; the ends count only where they are allowed."""
    low, high = (value >= 0 if zero else value > 0), (value <= 1 if one else value < 1)
    if not (low and high):
        words = f"{'from' if zero else 'above'} 0 {'up to' if one else 'and below'} 1"
        yield fault(f"is {value:g}", *path, expected=f"a share {words}")


def at_least(value: float | None, least: float, *path: str | int) -> Iterator[Fault]:
    """A fault if a number that was given is below what it must be."""
    if value is not None and not value >= least:
        yield fault(f"is {value:g}", *path, expected=f"at least {least:g}")


def repeated(names: list[str], *path: str | int) -> Iterator[Fault]:
    """A fault for each name that stands twice."""
    for number, name in enumerate(names):
        if name in names[:number]:
            yield fault(f'repeats "{name}"', *path, number, expected="each name once")


def confidence_fault(value: float, *path: str | int) -> Iterator[Fault]:
    """A fault if this is no confidence."""
    if not 0.5 < value < 1:
        yield fault(f"is {value:g}", *path, expected="above 0.5 and below 1, such as 0.95")
