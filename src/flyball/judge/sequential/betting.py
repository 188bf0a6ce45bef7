"""Betting on bounded means: e-processes and confidence sequences that may be looked at after every value.

Wealth starts at 1 and is multiplied by `1 + bet * (null - value)` for each value. If the null is true, wealth
is a non-negative supermartingale, so it reaches `1 / alpha` at any time with probability at most `alpha`
(Ville 1939).
Source: Waudby-Smith, Ramdas (2023), Estimating means of bounded random variables by betting, JRSS B 86(1),
Theorem 3 and section 4; the bets here are a fixed mixture over sizes, so wealth needs no tuning and depends
on the values only, not on when one looked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flyball.core.errors import BadInput
from flyball.core.values import Interval

Side = Literal["less", "greater"]

# Sizes of the bets as shares of the largest admissible one, halved step by step: the large ones win when the
# spread is small beside the margin (daily losses), the small ones when it is large (rare errors). The weights
# halve too, so holding every size costs little where the largest is best.
BET_SHARES: NDArray[np.float64] = np.array([0.97, *(0.5**step for step in range(1, 11))])
BET_WEIGHTS: NDArray[np.float64] = 0.5 ** np.arange(1.0, 12.0) / (0.5 ** np.arange(1.0, 12.0)).sum()


def mean_process(
    values: Sequence[float] | NDArray[np.float64],
    null: float,
    *,
    low: float,
    high: float,
    side: Side,
) -> NDArray[np.float64]:
    """Logarithm of the e-value after each value, shape (len(values),).

    values: in [low, high], in the order of time; what lies outside is clipped. null: inside (low, high).
    side "less": evidence against `mean >= null`, so for a mean below it; "greater": against `mean <= null`.
    A process that has ever been above `log(1 / alpha)` rejects its null at level `alpha`, whatever the number
    of looks. Valid where each value's mean, given those before, keeps the null; clipping moves a mean towards
    the middle.
    """
    x = _checked(values, null, low, high)
    if side == "less":
        gains = null - x
        worst = high - null
    else:
        gains = x - null
        worst = null - low
    bets = BET_SHARES / worst
    logs = np.cumsum(np.log1p(bets[:, None] * gains[None, :]), axis=1) + np.log(BET_WEIGHTS)[:, None]
    return log_sum(logs)


def counted_process(ones: float, zeros: float, null: float, *, side: Side) -> float:
    """Logarithm of the e-value of a share after `ones` and `zeros` observations of 1 and 0, in any order.

    null: share in (0, 1). The wealth of fixed bets does not depend on the order, so counts are enough. An observation
    between 0 and 1 may be split over both counts: by the concavity of the logarithm that only loses wealth, so the
    value stays valid. Note that it is of the present moment: keep the largest one seen to use all looks.
    """
    if not 0.0 < null < 1.0:
        raise BadInput(f"a share of {null} can't be tested; it must lie between 0 and 1", null=null)
    worst = 1.0 - null if side == "less" else null
    bets = BET_SHARES / worst
    sign = 1.0 if side == "less" else -1.0
    logs = ones * np.log1p(bets * sign * (null - 1.0)) + zeros * np.log1p(bets * sign * null)
    return float(log_sum((logs + np.log(BET_WEIGHTS))[:, None])[0])


def mean_interval(
    values: Sequence[float] | NDArray[np.float64],
    *,
    low: float,
    high: float,
    confidence: float = 0.95,
    steps: int = 200,
) -> Interval:
    """The confidence sequence of the mean at its last value: all means that no look so far has rejected.

    Covers the mean at all times together with probability >= `confidence`; each side spends half. No values:
    the whole range. Resolution is (high - low) / steps, rounded outwards.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.size == 0:
        return Interval(low, high)
    threshold = math.log(2.0 / (1.0 - confidence))
    grid = np.linspace(low, high, steps + 1)[1:-1]

    def rejected(null: float, side: Side) -> bool:
        return bool(mean_process(x, null, low=low, high=high, side=side).max() >= threshold)

    # Rejection is monotone in the null only up to the mixture's wiggles, so the bounds are searched from
    # outside in.
    lower, upper = low, high
    for null in grid:
        if not rejected(float(null), "greater"):
            break
        lower = float(null)
    for null in grid[::-1]:
        if not rejected(float(null), "less"):
            break
        upper = float(null)
    return Interval(lower, max(lower, upper))


def log_sum(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the column sums of exp(logs), without overflow."""
    top = logs.max(axis=0)
    total: NDArray[np.float64] = top + np.log(np.exp(logs - top).sum(axis=0))
    return total


def _checked(
    values: Sequence[float] | NDArray[np.float64], null: float, low: float, high: float
) -> NDArray[np.float64]:
    if not low < null < high:
        raise BadInput(f"the null {null} must lie inside ({low}, {high})", null=null)
    x = np.asarray(values, dtype=np.float64)
    if x.size and not bool(np.isfinite(x).all()):
        raise BadInput("values hold NaN or infinity; leave them out and count them")
    return np.clip(x, low, high)
