"""Whether a model is better than answers that need no model."""

from __future__ import annotations

from flyball.core.values import Verdict
from flyball.judge.behaviour.found import LEAST_ROWS, Found, not_shown
from flyball.judge.metrics.measure import Paired


def beats(paired: Paired, *, larger_is_better: bool, name: str, margin: float = 0.0) -> Found:
    """Is the model better than the baseline by more than `margin`, by the paired interval?

    paired: the baseline as `champion`, the model as `candidate`. An interval that spans the margin shows nothing; one
    that lies below it fails.
    """
    sign = 1.0 if larger_is_better else -1.0
    values = f"{paired.metric} {paired.candidate:.4g}, {name} {paired.champion:.4g}"
    if paired.row_count < LEAST_ROWS:
        return not_shown(f"{values}: {paired.row_count} rows, {LEAST_ROWS} are needed")
    if paired.difference is None:
        return not_shown(f"{values}: no interval of their difference on {paired.row_count} rows")
    ends = sorted((sign * paired.difference.low, sign * paired.difference.high))
    gain = f"better by {ends[0]:.4g} to {ends[1]:.4g}"
    if ends[1] < 0:
        gain = f"worse by {-ends[1]:.4g} to {-ends[0]:.4g}"
    words = f"{values} on {paired.row_count} rows: {gain}"
    if ends[0] > margin:
        return Found(Verdict("pass", words))
    if ends[1] <= margin:
        return Found(Verdict("fail", f"{words}; more than {margin:g} is asked"))
    return Found(Verdict("inconclusive", f"{words}; more than {margin:g} is asked"))
