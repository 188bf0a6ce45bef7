"""Whether a difference may be called better or worse: one alone, or one of many shown side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from flyball.judge.metrics.measure import Paired
from flyball.judge.metrics.table import METRICS

Label = Literal["better", "worse", "same", "unclear"]

SURE = 0.01  # the nominal error of a single label, see `label`
TABLE_RATE = 0.025  # the nominal share of false labels in a table, see `labels_of_many`

CLAIM_OF_ONE = (
    "“better” and “worse” are wrong for at most one pair of equal models in twenty, for which an interval has to leave "
    "0 out clearly, not barely; “unclear” means that these rows do not tell, “same” that the answers are identical."
)
CLAIM_OF_MANY = (
    "Labels are corrected for the number of slices: on average at most 5 % of those called better or worse are called "
    "so wrongly. A slice that is “unclear” may be harmed all the same."
)


def label(paired: Paired) -> Label:
    """What may be said of one difference that was meant to be looked at, such as the gates' own metric.

    "same": the answers are identical. "better" or "worse": the interval leaves 0 out and the p-value is at most
    0.01, so of equal models about one in a hundred is called either, and still at most one in twenty where
    losses are skewed or blocks few, which makes any interval miss more often than it says. Else "unclear",
    which is not "same".
    """
    return _named(paired, SURE)


def labels_of_many(pairs: Mapping[str, Paired]) -> dict[str, Label]:
    """Labels of differences shown in one table (slices, or many metrics), corrected for how many there are.

    What a reader may claim: on average at most 5 % of all that the table calls better or worse is called so
    wrongly, and where models are equal everywhere, at most one table in twenty says anything. Not: that a slice
    without a label is unharmed, nor how likely one given label is right. Pass all differences that are shown,
    with those that could not be judged; leaving out dull ones undoes the correction, and differences that are
    surely there (all rows together) do not belong into the table of slices: each would lower what is asked of them.
    The nominal rate is half of the promised one, for heavy tails.
    Source: Benjamini, Hochberg (1995), J. R. Statist. Soc. B 57(1); it holds under the positive dependence of
    slices that share rows (Benjamini, Yekutieli 2001), and for the direction too (Benjamini, Yekutieli 2005).
    """
    limit = step_up_limit([1.0 if pair.p is None else pair.p for pair in pairs.values()], TABLE_RATE)
    return {name: _named(pair, limit) for name, pair in pairs.items()}


def step_up_limit(p_values: Sequence[float], rate: float) -> float:
    """The largest p-value that Benjamini and Hochberg's procedure rejects at `rate`; below 0 if it rejects none.

    >>> step_up_limit([0.041, 0.012, 0.9, 0.02], 0.05)
    0.02
    """
    ordered = sorted(p_values)
    passed = [p for rank, p in enumerate(ordered, start=1) if p <= rate * rank / len(ordered)]
    return passed[-1] if passed else -1.0


def _named(paired: Paired, limit: float) -> Label:
    if paired.identical:
        return "same"
    interval = paired.difference
    if interval is None or paired.p is None or paired.p > limit or interval.low <= 0.0 <= interval.high:
        return "unclear"
    is_better = (paired.estimate > 0.0) == METRICS[paired.metric].larger_is_better
    return "better" if is_better else "worse"
