"""What a look at a model's behaviour gives: a verdict, and the rows that show it."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from flyball.core.values import Verdict

LEAST_ROWS = 30
MOST_EXAMPLES = 10

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Found(msgspec.Struct, frozen=True):
    """`worst`: numbers of the rows (from 0) that show a failure, worst first, at most ten; empty for a pass."""

    verdict: Verdict
    worst: list[int] = []


def few_enough(
    bad: Mask, severity: Values, *, max_share: float, what: str, confidence: float = 0.95
) -> Found:
    """Is the share of rows that are `bad` at most `max_share`?

    bad, severity: per row; severity orders the examples. With `max_share` 0 one bad row fails; otherwise the exact
    (Clopper-Pearson) interval of the share has to lie on one side. Fewer than 30 rows without a failure say nothing.
    what: of the bad rows, such as "answers change by more than 0.01".
    """
    count, total = int(bad.sum()), int(bad.size)
    worst = [int(row) for row in np.argsort(-np.where(bad, severity, -np.inf), kind="stable")[:MOST_EXAMPLES]]
    worst = worst[:count]
    if total == 0:
        return Found(Verdict("inconclusive", "there is no row to look at"))
    words = f"{count} of {total} {what}"
    if max_share <= 0:
        if count:
            return Found(Verdict("fail", words), worst)
        if total < LEAST_ROWS:
            return Found(Verdict("inconclusive", f"{words}; {LEAST_ROWS} rows are needed to tell"))
        return Found(Verdict("pass", words))
    low, high = share_interval(count, total, confidence)
    words = f"{words} (share {low:.3g} to {high:.3g}, {max_share:g} is allowed)"
    if high <= max_share:
        return Found(Verdict("pass", words))
    return Found(Verdict("fail" if low > max_share else "inconclusive", words), worst)


def share_interval(count: int, total: int, confidence: float) -> tuple[float, float]:
    """Exact two-sided interval of a share. Source: Clopper, Pearson (1934), Biometrika 26(4).

    >>> [round(bound, 4) for bound in share_interval(0, 100, 0.95)]
    [0.0, 0.0362]
    """
    # Quantiles of the beta distribution; scipy.stats gives the same and takes half a second more to import.
    from scipy.special import betaincinv

    tail = (1.0 - confidence) / 2.0
    low = 0.0 if count == 0 else float(betaincinv(count, total - count + 1, tail))
    high = 1.0 if count == total else float(betaincinv(count + 1, total - count, 1.0 - tail))
    return low, high


def not_shown(because: str) -> Found:
    """There was nothing to judge by."""
    return Found(Verdict("inconclusive", because))


def sizes(before: Values, after: Values) -> Values:
    """By how much each row's answer differs: the largest difference over its numbers. Shape (rows,)."""
    difference: Any = np.abs(np.atleast_2d(after.T).T - np.atleast_2d(before.T).T)
    result: Values = difference.max(axis=1) if difference.size else np.zeros(len(before))
    return result
