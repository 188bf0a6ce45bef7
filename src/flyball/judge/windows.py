"""Windows of event time: where they start, when they may be judged, and means by day."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from flyball.core.errors import BadInput

DAY_SECONDS = 86_400.0


class DayMeans(msgspec.Struct, frozen=True):
    """Means per unit of time, oldest first; units without a value are left out.

    starts: Unix seconds of each unit; counts: values per unit, at least 1.
    """

    starts: list[float]
    means: list[float]
    counts: list[int]


def window_start(event_seconds: float, window_seconds: float) -> float:
    """The start of the window that an event falls into, in Unix seconds.

    Windows are multiples of their length since 1970-01-01 UTC (a Thursday), whatever the first event was, so
    every process cuts them alike. A window holds `start <= event < start + window_seconds`.

    >>> window_start(1_000_000.0, 604_800.0)
    604800.0
    """
    if window_seconds <= 0:
        raise BadInput("a window must be longer than 0 seconds", window_seconds=window_seconds)
    return math.floor(event_seconds / window_seconds) * window_seconds


def decision_moment(window_end_seconds: float, outcome_delay_seconds: float) -> float:
    """The model time from which a window may be judged on outcomes: all of its outcomes are due by then."""
    return window_end_seconds + outcome_delay_seconds


def day_means(
    event_seconds: Sequence[float] | NDArray[np.float64],
    values: Sequence[float] | NDArray[np.float64],
    *,
    unit_seconds: float = DAY_SECONDS,
) -> DayMeans:
    """The mean of `values` per day (UTC) of their events, oldest day first.

    Paired losses of one day lean the same way, so the day is what counts as one observation in a shadow
    rollout.
    """
    times = np.asarray(event_seconds, dtype=np.float64)
    if times.size == 0:
        return DayMeans([], [], [])
    units, inverse = np.unique(np.floor(times / unit_seconds), return_inverse=True)
    counts = np.bincount(inverse)
    means = np.bincount(inverse, weights=np.asarray(values, dtype=np.float64)) / counts
    return DayMeans((units * unit_seconds).tolist(), means.tolist(), counts.tolist())
