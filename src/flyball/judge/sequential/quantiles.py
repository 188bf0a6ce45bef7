"""Latency quantiles with bounds that hold at every look, from counts that merge."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from flyball.core.errors import BadInput
from flyball.core.values import Interval
from flyball.judge.sequential.betting import counted_process

# Bin k holds values in (RATIO**(k-1), RATIO**k] milliseconds; 2.5 % steps, so a bound is at most 2.5 % too
# wide.
RATIO = 1.025
_LOWEST, _HIGHEST = -200, 600  # 7 microseconds to 45 minutes


class LatencyCounts(msgspec.Struct, frozen=True):
    """Row counts per latency bin (see `latency_bin`). Adding the counts of two structs merges them."""

    counts: dict[int, int] = {}

    @property
    def total(self) -> int:
        """How many latencies were counted."""
        return sum(self.counts.values())


def latency_bin(milliseconds: float) -> int:
    """The bin of one latency; its upper edge is RATIO ** bin milliseconds."""
    if milliseconds <= 0.0:
        return _LOWEST
    return min(max(math.ceil(math.log(milliseconds) / math.log(RATIO)), _LOWEST), _HIGHEST)


def count_latencies(milliseconds: Iterable[float]) -> LatencyCounts:
    """Latencies counted per bin."""
    counts: dict[int, int] = {}
    for value in milliseconds:
        key = latency_bin(value)
        counts[key] = counts.get(key, 0) + 1
    return LatencyCounts(counts)


def quantile_interval(latencies: LatencyCounts, quantile: float, *, confidence: float = 0.95) -> Interval:
    """Bounds of a latency quantile in milliseconds; 0 and infinity where the counts don't bound it yet.

    quantile: in (0, 1), 0.99 for p99. Each side spends half of 1 - confidence. The latencies at or below the
    true quantile are a share of at least `quantile`, so a bin edge is excluded as soon as the betting process
    on that
    share rejects it: valid at every look. As a p99 bound needs about 450 answers, fewer leave it open
    upwards.
    Source: the duality of Howard, Ramdas (2022), Sequential estimation of quantiles, Bernoulli 28(3), section
    3, with the betting process of Waudby-Smith, Ramdas (2023) in place of their boundary.
    """
    if not 0.0 < quantile < 1.0:
        raise BadInput(f"a quantile of {quantile} must lie between 0 and 1", quantile=quantile)
    total, threshold = latencies.total, math.log(2.0 / (1.0 - confidence))
    low, high = 0.0, math.inf
    below = 0
    for key in sorted(latencies.counts):
        below_before, below = below, below + latencies.counts[key]
        # All edges under this bin have `below_before` values at or below them, so they are excluded together.
        if counted_process(below_before, total - below_before, quantile, side="less") >= threshold:
            low = RATIO ** (key - 1)
        if high == math.inf and counted_process(below, total - below, quantile, side="greater") >= threshold:
            high = RATIO**key
    return Interval(low, max(low, high))
