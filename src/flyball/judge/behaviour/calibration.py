"""Whether probabilities are what they say, with the sampling error of the rows."""

from __future__ import annotations

import math

import numpy as np

from flyball.core.values import Verdict
from flyball.judge.behaviour.found import LEAST_ROWS, Found, Mask, Values, not_shown, share_interval

MOST_BINS = 10


def calibrated(scores: Values, truth: Mask, *, max_error: float, confidence: float = 0.95) -> Found:
    """Does the share of the positive class, among rows of like probability, differ from it by at most `max_error`?

    scores: probability of the positive class; truth: whether it came. Up to ten bins of equally many rows, each with as
    many as it takes to tell (about 6 / max_error², at least 30). In each bin the exact interval of the observed share,
    all of them together at `confidence` (Bonferroni), is compared with the mean probability: all within `max_error`
    pass, one beyond it fails, else the rows are too few. Rows are taken as independent.
    """
    # An interval of half the allowed width: 2.8 standard errors of a share of a quarter.
    enough = max(LEAST_ROWS, math.ceil(2.8**2 * 4 * 0.1875 / max(max_error, 1e-6) ** 2))
    bins = max(1, min(MOST_BINS, scores.size // enough))
    if scores.size < LEAST_ROWS:
        return not_shown(f"{scores.size} rows; {LEAST_ROWS} are needed for a single bin")
    order = np.argsort(scores, kind="stable")
    each = 1.0 - (1.0 - confidence) / bins
    surely, possibly = [], []
    for rows in np.array_split(order, bins):
        said, count = float(scores[rows].mean()), int(truth[rows].sum())
        low, high = share_interval(count, rows.size, each)
        words = (
            f"rows said to be {said:.3g} come true in {count / rows.size:.3g} ({low:.3g} to {high:.3g}) of "
            f"{rows.size}"
        )
        least = max(low - said, said - high, 0.0)
        surely.append((least, words, rows))
        possibly.append((max(abs(low - said), abs(high - said)), words))
    least, words, rows = max(surely, key=lambda item: item[0])
    if least > max_error:
        far = np.argsort(-np.abs(scores[rows] - truth[rows]), kind="stable")[:10]
        return Found(Verdict("fail", f"{words}; {max_error:g} apart is allowed"), [int(rows[i]) for i in far])
    most, words = max(possibly, key=lambda item: item[0])
    if most <= max_error:
        return Found(
            Verdict("pass", f"at most {most:.3g} apart in each of {bins} bins; {max_error:g} is allowed")
        )
    return Found(Verdict("inconclusive", f"{words}: too few rows to show that it is within {max_error:g}"))
