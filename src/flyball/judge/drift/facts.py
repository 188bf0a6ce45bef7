"""Columns that are broken as a fact: values no healthy window comes near, whatever the season. Outside the
budget.

A training range alone is no rule: the months after a training on January to June all lie outside it. So the
range is that of the training rows and of every healthy window since (the envelope), and what counts is a
distance beyond it that a season does not jump in one window.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from flyball.judge.drift.profile import ColumnCounts, Levels, NumericBins, Summary, bucket_range, bucket_value
from flyball.judge.drift.units import Shape, UnitChange, name_unit_change

BrokenKind = Literal["unit", "range", "missing", "category", "constant"]

# A natural week leaves the envelope by little and seldom; a wrong unit leaves it by far in many rows.
LEAST_BROKEN_SHARE = 0.05
LEAST_BROKEN_ROWS = 5
ENVELOPE_SLACK = 0.5  # of the envelope's width, on both sides; of whole numbers at least 1
# No budget pays for a false fact: in 20 columns and a window a day, one in a hundred years where rows are alike.
OUTSIDE_CHANCE = 1e-6
MISSING_JUMP = 0.20  # share of rows, above the largest share of any healthy window
CONSTANT_SHARE = 0.95
LEAST_VARIED_BINS = 8


class BrokenColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A column whose values can't be right. share: of the window's rows. low, high: the range known as
    healthy.
    """

    feature: str
    kind: BrokenKind
    share: float
    sentence: str
    low: float | None = None
    high: float | None = None
    change: UnitChange | None = None


def find_broken(
    bins: Mapping[str, NumericBins | Levels], healthy: Sequence[Summary], current: Summary
) -> list[BrokenColumn]:
    """The columns of a window that are broken, most affected rows first; empty in a healthy window.

    bins: `Reference.features`. healthy: the reference's own summary first, then every window since without an
    open data incident, oldest first, all versions of the model (`ColumnCounts` of another reference will do:
    only ranges, shares and magnitudes are read). Windows below LEAST_BROKEN_ROWS rows break nothing.
    """
    broken = []
    for name, kind in bins.items():
        past = [summary.features[name] for summary in healthy if name in summary.features]
        if name not in current.features or not past:
            continue
        counts = current.features[name]
        found = _missing(name, past, counts)
        if found is None and isinstance(kind, NumericBins):
            found = _outside(name, past, counts) or _constant(name, past, counts)
        elif found is None:
            found = _new_levels(name, past, counts)
        if found is not None:
            broken.append(found)
    return sorted(broken, key=lambda column: (-column.share, column.feature))


def _outside(name: str, past: Sequence[ColumnCounts], counts: ColumnCounts) -> BrokenColumn | None:
    lows = [c.low for c in past if c.low is not None]
    highs = [c.high for c in past if c.high is not None]
    if not lows or not counts.present:
        return None
    low, high = min(lows), max(highs)
    slack = ENVELOPE_SLACK * (high - low) if high > low else max(abs(high), 1.0)
    if _is_whole(past):
        slack = max(slack, 1.0)  # of a flag or a small count, half the range is less than one value
    outside, rows = _count_outside(counts, low - slack, high + slack)
    share = outside / rows
    if share < LEAST_BROKEN_SHARE or outside < LEAST_BROKEN_ROWS:
        return None
    if leaving_chance(outside, rows, sum(c.present for c in past)) > OUTSIDE_CHANCE:
        return None
    change = name_unit_change(_shape(_recent(past)), _shape([counts]))
    where = f"{share:.0%} of `{name}` lies far outside {low:g} to {high:g}, all it ever was in healthy data"
    seen = f"(now {counts.low:g} to {counts.high:g})"
    sentence = f"{where} {seen}" + (f"; it looks like {change.sentence}" if change else "")
    return BrokenColumn(
        feature=name,
        kind="unit" if change else "range",
        share=share,
        sentence=sentence,
        low=low,
        high=high,
        change=change,
    )


def leaving_chance(outside: int, row_count: int, past_count: int) -> float:
    """How likely at least `outside` of a window's rows leave the range of earlier rows, when all are alike.

    0.0 to 1.0, for values drawn independently of one distribution, whichever it is; less likely where values are
    equal, or when they have to leave it by some slack. Rows of one window are as a rule more alike than that, which
    the slack is for. Source: Wilks (1942), Ann. Math. Stat. 13(4): beta-binomial with 2 and past_count - 1.

    >>> round(leaving_chance(5, 50, 50), 4)
    0.1022
    """
    if outside < 1 or past_count < 1:
        return 1.0
    inside = row_count - outside
    # The sum of its terms for 0 to `inside` rows within the range, p = past_count, by
    # sum of C(p-2+j, j) = C(p-1+i, i) and sum of j C(p-2+j, j) = (p-1) i/p C(p-1+i, i), both over j = 0 to i.
    logs = math.lgamma(past_count + inside) - math.lgamma(inside + 1) + math.lgamma(row_count + 1)
    logs += math.log(past_count) - math.lgamma(past_count + row_count + 1)
    return min(math.exp(logs) * (row_count + 1 - (past_count - 1) * inside / past_count), 1.0)


def _is_whole(past: Sequence[ColumnCounts]) -> bool:
    """Whether a column holds whole numbers: sums and extremes are, and every bucket has room for one."""
    numbers = [number for c in past for number in (c.low, c.high, c.total) if number is not None]
    if not all(number.is_integer() for number in numbers):
        return False
    ranges = [bucket_range(bucket) for c in past for bucket in c.magnitudes]
    return all(np.ceil(least) <= most for least, most in ranges)


def _count_outside(counts: ColumnCounts, low: float, high: float) -> tuple[int, int]:
    """How many rows lie outside a range for certain, and how many there are.

    By the edges of their buckets: by its middle, a 4 among whole numbers up to 5 would be a 4.09, beyond 4.
    """
    outside = 0
    for bucket, rows in counts.magnitudes.items():
        least, most = bucket_range(bucket)
        if counts.low is not None and counts.high is not None:  # which are exact
            least, most = max(least, counts.low), min(most, counts.high)
        if most < low or least > high:
            outside += rows
    return outside, sum(counts.magnitudes.values())


def _missing(name: str, past: Sequence[ColumnCounts], counts: ColumnCounts) -> BrokenColumn | None:
    usual = max(_share(c.missing, c) for c in past)
    share = _share(counts.missing, counts)
    if share < usual + MISSING_JUMP or counts.missing < LEAST_BROKEN_ROWS:
        return None
    sentence = f"{share:.0%} of `{name}` is missing, at most {usual:.0%} ever was"
    return BrokenColumn(feature=name, kind="missing", share=share, sentence=sentence)


def _constant(name: str, past: Sequence[ColumnCounts], counts: ColumnCounts) -> BrokenColumn | None:
    """A column stuck at one value although every healthy window had many: a default that was filled in."""
    windows = past[1:]  # the first is the whole reference
    if not windows or counts.present < LEAST_BROKEN_ROWS:
        return None
    varied = [len(c.magnitudes) for c in windows]
    if np.quantile(varied, 0.1) < LEAST_VARIED_BINS:
        return None
    share = max(counts.magnitudes.values(), default=0) / counts.present
    if share < CONSTANT_SHARE:
        return None
    bucket = max(counts.magnitudes, key=lambda key: counts.magnitudes[key])
    value = counts.low if counts.low == counts.high and counts.low is not None else bucket_value(bucket)
    sentence = f"`{name}` is {value:.3g} in {share:.0%} of rows; it varied in every healthy window"
    return BrokenColumn(feature=name, kind="constant", share=share, sentence=sentence)


def _new_levels(name: str, past: Sequence[ColumnCounts], counts: ColumnCounts) -> BrokenColumn | None:
    if not counts.present or counts.unseen < LEAST_BROKEN_ROWS:
        return None
    known = {level for c in past for level in c.unseen_levels}
    new = {level: rows for level, rows in counts.unseen_levels.items() if level not in known}
    share = sum(new.values()) / counts.present
    if share < LEAST_BROKEN_SHARE:
        return None
    named = ", ".join(repr(level) for level in sorted(new, key=lambda level: -new[level])[:3])
    sentence = f"{share:.0%} of `{name}` has values never seen before: {named}"
    return BrokenColumn(feature=name, kind="category", share=share, sentence=sentence)


def _share(part: int, counts: ColumnCounts) -> float:
    rows = counts.present + counts.missing
    return part / rows if rows else 0.0


def _recent(past: Sequence[ColumnCounts], windows: int = 4) -> Sequence[ColumnCounts]:
    """The last windows (else the reference): the season the broken window would have been in."""
    return past[1:][-windows:] or past


def _shape(parts: Sequence[ColumnCounts]) -> Shape | None:
    """Mean, spread and deciles of some windows together; None without values."""
    rows = sum(sum(c.magnitudes.values()) for c in parts)
    if not rows:
        return None
    mean = sum(c.total for c in parts) / rows
    variance = max(sum(c.squares for c in parts) / rows - mean**2, 0.0)
    merged: dict[int, int] = {}
    for counts in parts:
        for bucket, count in counts.magnitudes.items():
            merged[bucket] = merged.get(bucket, 0) + count
    deciles = _quantiles(ColumnCounts(counts=[], magnitudes=merged))
    return Shape(mean=mean, deviation=math.sqrt(variance), deciles=deciles.tolist())


def _spread_out(counts: ColumnCounts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bucket values in rising order and their rows; the ends are exact."""
    buckets = sorted(counts.magnitudes)
    values = np.array([bucket_value(bucket) for bucket in buckets])
    if counts.low is not None and counts.high is not None:
        values = values.clip(counts.low, counts.high)
    return values, np.array([counts.magnitudes[bucket] for bucket in buckets], dtype=np.float64)


def _quantiles(counts: ColumnCounts) -> NDArray[np.float64]:
    """The deciles 10 % to 90 % from the buckets; empty without rows."""
    values, rows = _spread_out(counts)
    if not rows.size:
        return values
    reached = np.cumsum(rows) / rows.sum()
    places = np.searchsorted(reached, np.arange(0.1, 0.95, 0.1))
    return values[np.minimum(places, len(values) - 1)]
