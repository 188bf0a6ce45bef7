"""What is kept of a column: a reference with its bins, and counts of a window that add up.

A numeric column keeps at most 64 bins at quantiles of the reference, values below and above the reference's
range, missing values, and a coarse histogram of magnitudes that also sees what the bins don't reach (a wrong
unit). A category column keeps rows per known level, missing values, and levels never seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from flyball.core.errors import BadInput

Kind = Literal["numeric", "category"]
Column = Sequence[Any] | NDArray[Any]

_Key = TypeVar("_Key", int, str)

MAX_BINS = 64
MAX_LEVELS = 200
MAX_UNSEEN_LEVELS = 20
# Magnitudes: 16 buckets an octave (4.4 %), from 2**-30 to 2**40; bucket 0 is exactly zero, negative values
# mirror.
_PER_OCTAVE = 16
_SMALLEST_OCTAVE, _LARGEST_OCTAVE = -30, 40


class NumericBins(msgspec.Struct, frozen=True, kw_only=True, tag="numeric"):
    """Bins of a numeric column. edges: inner, rising; bin i holds edges[i-1] < x <= edges[i], bins are edges
    + 1.

    low, high: range of the reference's values; both None when it had none.
    """

    edges: list[float]
    low: float | None
    high: float | None


class Levels(msgspec.Struct, frozen=True, kw_only=True, tag="category"):
    """Levels of a category column, most frequent first."""

    levels: list[str]


class ColumnCounts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Row counts of one column. `counts` follow the bins or levels of its reference.

    below, above: numeric values outside the reference's range (they are in no bin); unseen: rows of levels
    the reference does not know, the first of them by name. total, squares: sums of the finite values. low and
    high are exact.
    """

    counts: list[int]
    missing: int = 0
    below: int = 0
    above: int = 0
    unseen: int = 0
    unseen_levels: dict[str, int] = {}
    total: float = 0.0
    squares: float = 0.0
    low: float | None = None
    high: float | None = None
    magnitudes: dict[int, int] = {}

    @property
    def present(self) -> int:
        """Rows with a value."""
        return sum(self.counts) + self.below + self.above + self.unseen


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A window's counts, made against one reference."""

    row_count: int
    features: dict[str, ColumnCounts]


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """What windows are compared with: the bins or levels per column, and the counts of the reference rows."""

    features: dict[str, NumericBins | Levels]
    summary: Summary


def fit_reference(
    columns: Mapping[str, Column], kinds: Mapping[str, Kind], *, max_bins: int = MAX_BINS
) -> Reference:
    """A reference from the rows of training (or of answers, under the name "prediction").

    columns: equally long; numeric ones as numbers with NaN or None for missing, categories as text. kinds: of
    every column that is to be watched. Raises BadInput when a column is absent or lengths differ.
    """
    if not 2 <= max_bins <= MAX_BINS:
        raise BadInput(f"{max_bins} bins are asked for; 2 to {MAX_BINS} are possible", max_bins=max_bins)
    features: dict[str, NumericBins | Levels] = {}
    for name, kind in kinds.items():
        if name not in columns:
            raise BadInput(f"there is no column {name!r} to take a reference from", column=name)
        features[name] = (
            _fit_numeric(columns[name], max_bins) if kind == "numeric" else _fit_levels(columns[name])
        )
    if len({len(columns[name]) for name in kinds}) > 1:
        raise BadInput("the columns of a reference differ in length")
    return Reference(features=features, summary=_count_all(features, columns))


def summarise(reference: Reference, columns: Mapping[str, Column]) -> Summary:
    """The counts of a window against a reference; a column that did not come counts as missing in every
    row.
    """
    return _count_all(reference.features, columns)


def merge(one: Summary, other: Summary) -> Summary:
    """Both windows together. Both must have been made against the same reference."""
    if one.features.keys() != other.features.keys():
        raise BadInput("two summaries of different references can't be merged")
    return Summary(
        row_count=one.row_count + other.row_count,
        features={name: _merge_column(counts, other.features[name]) for name, counts in one.features.items()},
    )


def numbers(column: Column) -> NDArray[np.float64]:
    """A column as floats; None, text that is no number, NaN and infinities become NaN."""
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiub":
        values = column.astype(np.float64)
    else:
        values = np.array([_number(value) for value in column], dtype=np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def bucket_value(bucket: int) -> float:
    """The middle of a magnitude bucket."""
    if bucket == 0:
        return 0.0
    octave = (abs(bucket) - 0.5) / _PER_OCTAVE + _SMALLEST_OCTAVE
    return float(np.sign(bucket) * 2.0**octave)


def bucket_range(bucket: int) -> tuple[float, float]:
    """The least and the largest value of a magnitude bucket, endless at the outermost ones."""
    if bucket == 0:
        return 0.0, 0.0
    octave = (abs(bucket) - 1) / _PER_OCTAVE + _SMALLEST_OCTAVE
    near = 0.0 if octave == _SMALLEST_OCTAVE else 2.0**octave
    far = math.inf if octave == _LARGEST_OCTAVE else 2.0 ** (octave + 1 / _PER_OCTAVE)
    return (near, far) if bucket > 0 else (-far, -near)


def _number(value: Any) -> float:
    if value is None:
        return float("nan")
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _fit_numeric(column: Column, max_bins: int) -> NumericBins:
    values = numbers(column)
    values = values[~np.isnan(values)]
    if values.size == 0:
        return NumericBins(edges=[], low=None, high=None)
    distinct = np.unique(values)
    if distinct.size <= max_bins:
        edges = (distinct[:-1] + distinct[1:]) / 2
    else:
        edges = np.unique(np.quantile(values, np.arange(1, max_bins) / max_bins))
        edges = edges[edges < distinct[-1]]
    return NumericBins(edges=edges.tolist(), low=float(distinct[0]), high=float(distinct[-1]))


def _fit_levels(column: Column) -> Levels:
    counts: dict[str, int] = {}
    for value in column:
        if value is not None:
            counts[str(value)] = counts.get(str(value), 0) + 1
    return Levels(levels=sorted(counts, key=lambda level: (-counts[level], level))[:MAX_LEVELS])


def _count_all(features: Mapping[str, NumericBins | Levels], columns: Mapping[str, Column]) -> Summary:
    rows = max((len(column) for column in columns.values()), default=0)
    counted = {}
    for name, bins in features.items():
        column: Column = columns[name] if name in columns else [None] * rows
        counted[name] = (
            _count_numeric(bins, column) if isinstance(bins, NumericBins) else _count_levels(bins, column)
        )
    return Summary(row_count=rows, features=counted)


def _count_numeric(bins: NumericBins, column: Column) -> ColumnCounts:
    values = numbers(column)
    missing = int(np.isnan(values).sum())
    values = values[~np.isnan(values)]
    if bins.low is None or bins.high is None:
        inside, below, above = values[:0], 0, int(values.size)
    else:
        below, above = int((values < bins.low).sum()), int((values > bins.high).sum())
        inside = values[(values >= bins.low) & (values <= bins.high)]
    placed = np.searchsorted(np.asarray(bins.edges), inside, side="left")
    return ColumnCounts(
        counts=np.bincount(placed, minlength=len(bins.edges) + 1).tolist(),
        missing=missing,
        below=below,
        above=above,
        total=float(values.sum()),
        squares=float((values**2).sum()),
        low=float(values.min()) if values.size else None,
        high=float(values.max()) if values.size else None,
        magnitudes=_count_magnitudes(values),
    )


def _count_magnitudes(values: NDArray[np.float64]) -> dict[int, int]:
    with np.errstate(divide="ignore"):
        octaves = np.log2(np.abs(values))
    clipped = np.clip(octaves, _SMALLEST_OCTAVE, _LARGEST_OCTAVE)
    buckets = np.floor((clipped - _SMALLEST_OCTAVE) * _PER_OCTAVE).astype(np.int64) + 1
    buckets = np.where(values == 0, 0, buckets * np.sign(values).astype(np.int64))
    distinct, counts = np.unique(buckets, return_counts=True)
    return dict(zip(distinct.tolist(), counts.tolist(), strict=True))


def _count_levels(levels: Levels, column: Column) -> ColumnCounts:
    index = {level: place for place, level in enumerate(levels.levels)}
    counts = [0] * len(levels.levels)
    missing, unseen = 0, 0
    new: dict[str, int] = {}
    for value in column:
        if value is None:
            missing += 1
        elif (place := index.get(str(value))) is not None:
            counts[place] += 1
        else:
            unseen += 1
            name = str(value)[:60]
            if name in new or len(new) < MAX_UNSEEN_LEVELS:
                new[name] = new.get(name, 0) + 1
    return ColumnCounts(counts=counts, missing=missing, unseen=unseen, unseen_levels=new)


def _merge_column(one: ColumnCounts, other: ColumnCounts) -> ColumnCounts:
    if len(one.counts) != len(other.counts):
        raise BadInput("two summaries of different references can't be merged")
    unseen = _merge_counts(one.unseen_levels, other.unseen_levels)
    return ColumnCounts(
        counts=[a + b for a, b in zip(one.counts, other.counts, strict=True)],
        missing=one.missing + other.missing,
        below=one.below + other.below,
        above=one.above + other.above,
        unseen=one.unseen + other.unseen,
        unseen_levels=dict(list(unseen.items())[:MAX_UNSEEN_LEVELS]),
        total=one.total + other.total,
        squares=one.squares + other.squares,
        low=min((low for low in (one.low, other.low) if low is not None), default=None),
        high=max((high for high in (one.high, other.high) if high is not None), default=None),
        magnitudes=_merge_counts(one.magnitudes, other.magnitudes),
    )


def _merge_counts(one: Mapping[_Key, int], other: Mapping[_Key, int]) -> dict[_Key, int]:
    merged = dict(one)
    for key, count in other.items():
        merged[key] = merged.get(key, 0) + count
    return merged
