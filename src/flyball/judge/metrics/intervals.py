"""Bootstrap intervals for rows that stand alone, come in blocks of time, or repeat by entity."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from flyball.core.errors import NotEnoughEvidence
from flyball.core.values import Interval
from flyball.judge.metrics.student import t_quantile

Values = NDArray[np.float64]
Indices = NDArray[np.int64]


def mean_interval(
    values: Values,
    *,
    seed: int,
    confidence: float = 0.95,
    groups: NDArray[np.generic] | None = None,
    resamples: int = 1000,
) -> Interval:
    """Percentile bootstrap interval of a mean over rows, or over whole groups (blocks of time, entities).

    groups: label per row; rows of a label are drawn together, so that what is alike does not count as new
    evidence.
    Source: Efron, Tibshirani (1993), chapter 13; by groups: Davison, Hinkley (1997), section 3.8.
    """
    if values.size == 0:
        raise NotEnoughEvidence("an interval of a mean needs at least one row")
    sums: Values = values
    counts: Values = np.ones(values.size)
    if groups is not None:
        _, inverse = np.unique(groups, return_inverse=True)
        sums = np.bincount(inverse, weights=values).astype(np.float64)
        counts = np.bincount(inverse).astype(np.float64)
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    for start in range(0, resamples, _batch(sums.size)):
        stop = min(start + _batch(sums.size), resamples)
        drawn = rng.integers(sums.size, size=(stop - start, sums.size))
        means[start:stop] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return percentile_interval(means, confidence, units=sums.size)


def moving_block_mean_interval(
    values: Values,
    event_seconds: Values,
    *,
    block_seconds: float,
    seed: int,
    unit_seconds: float = 86_400.0,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """Interval of a mean over time-ordered rows: overlapping blocks of neighbouring days are drawn.

    Rows are first added up per unit of time (a day), then blocks of `block_seconds` starting at any unit are
    drawn until they are as many units as there were. Keeps dependence up to the block's length; with fewer
    than two blocks' worth of units the interval is too narrow, so at least ten blocks should be there.
    Source: Kuensch (1989), Annals of Statistics 17(3).
    """
    if values.size == 0:
        raise NotEnoughEvidence("an interval of a mean needs at least one row")
    _, inverse = np.unique(np.floor(event_seconds / unit_seconds), return_inverse=True)
    sums, counts = np.bincount(inverse, weights=values), np.bincount(inverse).astype(np.float64)
    rng = np.random.default_rng(seed)
    length = min(max(round(block_seconds / unit_seconds), 1), sums.size)
    means = np.empty(resamples)
    for start in range(0, resamples, _batch(sums.size)):
        stop = min(start + _batch(sums.size), resamples)
        drawn = moving_block_indices(sums.size, length, stop - start, rng)
        means[start:stop] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return percentile_interval(means, confidence)


def moving_block_indices(units: int, length: int, resamples: int, rng: np.random.Generator) -> Indices:
    """Indices of `resamples` moving-block samples, shape (resamples, units); blocks never wrap around the
    end.
    """
    blocks = math.ceil(units / length)
    starts = rng.integers(units - length + 1, size=(resamples, blocks))
    drawn = (starts[:, :, None] + np.arange(length)[None, None, :]).reshape(resamples, -1)
    return drawn[:, :units].astype(np.int64)


def resampled_rows(
    row_count: int, *, seed: int, groups: NDArray[np.generic] | None, resamples: int
) -> Iterator[Indices]:
    """Row numbers of each resample: rows drawn with replacement, or whole groups. The same for a seed."""
    rng = np.random.default_rng(seed)
    members: list[Indices] | None = None
    if groups is not None:
        order = np.argsort(groups, kind="stable")
        _, starts = np.unique(groups[order], return_index=True)
        members = [part.astype(np.int64) for part in np.split(order, starts[1:])]
    for _ in range(resamples):
        if members is None:
            yield rng.integers(row_count, size=row_count)
        else:
            yield np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])


def bootstrap_draws(
    statistic: Callable[[Indices], float | None],
    row_count: int,
    *,
    seed: int,
    groups: NDArray[np.generic] | None = None,
    resamples: int = 500,
) -> Values | None:
    """Any statistic of drawn rows (or whole groups), once per resample; None if too few resamples have a value.

    statistic: gets row indices, some repeated, and returns None where it is undefined (a sample of one class).
    """
    if row_count == 0:
        return None
    rows = resampled_rows(row_count, seed=seed, groups=groups, resamples=resamples)
    found = [value for drawn in rows if (value := statistic(drawn)) is not None]
    return np.array(found) if len(found) >= 0.8 * resamples else None


def percentile_interval(estimates: Values, confidence: float, *, units: int | None = None) -> Interval:
    """The middle `confidence` of resampled estimates.

    units: how many rows or groups were resampled. Few of them understate the spread, so the tails are cut where
    Student's t would cut them. Source: Hesterberg (2015), American Statistician 69(4), section 4.4 ("expanded").
    """
    tail = (1.0 - confidence) / 2.0
    if units is not None and units > 1:
        tail = NormalDist().cdf(-math.sqrt(units / (units - 1)) * t_quantile(confidence, units - 1))
    low, high = np.quantile(estimates, [tail, 1.0 - tail])
    return Interval(float(low), float(high))


def _batch(size: int) -> int:
    """How many resamples fit into about 16 MB of indices."""
    return max(1, 2_000_000 // max(size, 1))
