"""How far a window lies from its reference, column by column: sizes, not alarms (see `watch`)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from flyball.core.errors import NotEnoughEvidence
from flyball.judge.drift.profile import ColumnCounts, Levels, NumericBins, Reference, Summary

Counts = NDArray[np.float64]


class ColumnDrift(msgspec.Struct, frozen=True, kw_only=True):
    """Distances of one column from its reference. Shares are 0 to 1; distances too, except psi.

    ks: largest difference of the two distribution functions over the bins (categories: of any set of levels,
      the total variation distance). js: Jensen-Shannon distance. psi: population stability index, 0 upwards.
    outside_share: rows with a value outside the reference's range. unseen_share: rows of levels never seen.
    mean, deviation and those of the reference: numeric columns only; deviation is the standard deviation.
    """

    ks: float
    js: float
    psi: float
    missing_share: float
    reference_missing_share: float
    outside_share: float
    unseen_share: float
    mean: float | None = None
    reference_mean: float | None = None
    deviation: float | None = None
    reference_deviation: float | None = None


def compare(reference: Reference, summary: Summary) -> dict[str, ColumnDrift]:
    """Every column of a window against the reference; columns without rows on either side are left out."""
    drifts = {}
    for name, bins in reference.features.items():
        before, after = reference.summary.features[name], summary.features[name]
        if before.present + before.missing and after.present + after.missing:
            drifts[name] = compare_column(bins, before, after)
    return drifts


def compare_column(bins: NumericBins | Levels, before: ColumnCounts, after: ColumnCounts) -> ColumnDrift:
    """One column of a window against the reference's counts. Both need at least one row."""
    old, new = _cells(before), _cells(after)
    numeric = isinstance(bins, NumericBins)
    if old.sum() and new.sum():
        ks = ks_distance(old, new) if numeric else variation_distance(old, new)
        js, psi = js_distance(old, new), stability_index(old, new)
    else:
        ks, js, psi = 0.0, 0.0, 0.0
    present = after.present
    return ColumnDrift(
        ks=ks,
        js=js,
        psi=psi,
        missing_share=after.missing / (present + after.missing),
        reference_missing_share=before.missing / (before.present + before.missing),
        outside_share=(after.below + after.above) / present if present else 0.0,
        unseen_share=after.unseen / present if present else 0.0,
        mean=after.total / present if numeric and present else None,
        reference_mean=before.total / before.present if numeric and before.present else None,
        deviation=_deviation(after) if numeric else None,
        reference_deviation=_deviation(before) if numeric else None,
    )


def drift_scores(drifts: Mapping[str, ColumnDrift]) -> dict[str, float]:
    """The numbers to watch, keyed `column|statistic`: ks for location, js for shape, spread, missing values.

    spread: how far the standard deviation is from that of the reference, as a logarithm; numeric columns
    only. Missing shares are on the arcsine scale, where their spread does not depend on their level.
    """
    scores = {}
    for name, drift in drifts.items():
        scores[f"{name}|ks"] = drift.ks
        scores[f"{name}|js"] = drift.js
        if drift.deviation is not None and drift.reference_deviation:
            # A tenth of the usual spread is added, so that a constant window is far off but not infinitely
            # so.
            least = 0.1 * drift.reference_deviation
            ratio = (drift.deviation + least) / (drift.reference_deviation + least)
            scores[f"{name}|spread"] = abs(math.log(ratio))
        scores[f"{name}|missing"] = abs(
            math.asin(math.sqrt(drift.missing_share)) - math.asin(math.sqrt(drift.reference_missing_share))
        )
    return scores


def ks_distance(reference: Counts, current: Counts) -> float:
    """Kolmogorov-Smirnov distance of two binned samples, bins in rising order: 0.0 to 1.0.

    Between the bins' edges nothing is seen, so it is at most the distance of the samples themselves.
    Source: Kolmogorov (1933), Smirnov (1939).
    """
    p, q = _shares(reference, current)
    return float(np.abs(np.cumsum(p - q)).max(initial=0.0).clip(0.0, 1.0))


def variation_distance(reference: Counts, current: Counts) -> float:
    """Total variation distance of two counted samples, in any order of levels: 0.0 to 1.0."""
    p, q = _shares(reference, current)
    return float(np.abs(p - q).sum() / 2)


def js_distance(reference: Counts, current: Counts) -> float:
    """Jensen-Shannon distance between two binned samples.

    reference, current: row counts per bin, shape (bins,), the same bins in the same order.
    Returns 0.0 for equal shares up to 1.0 for samples that share no bin (log base 2).
    A distance, not a test: small samples look further apart.
    Raises NotEnoughEvidence if either side counts no rows.
    Source: Lin (1991), IEEE Trans. Inf. Theory 37(1); this is the square root.

    >>> js_distance(np.array([10.0, 0.0]), np.array([0.0, 7.0]))
    1.0
    """
    p, q = _shares(reference, current)
    middle = (p + q) / 2

    def divergence(shares: Counts) -> float:
        some = shares > 0
        return float((shares[some] * np.log2(shares[some] / middle[some])).sum())

    return math.sqrt(min(max((divergence(p) + divergence(q)) / 2, 0.0), 1.0))


def stability_index(reference: Counts, current: Counts) -> float:
    """Population stability index (symmetrised Kullback-Leibler divergence, natural logarithm), 0 upwards.

    Half a row is added to each bin, so an empty one does not make it infinite. Customary thresholds (0.1,
    0.25) come without an error rate; it is reported as a size and never alarms. Source: Siddiqi (2006),
    Credit Risk Scorecards.
    """
    p, q = _shares(reference + 0.5, current + 0.5)
    return float(((q - p) * np.log(q / p)).sum())


def _deviation(counts: ColumnCounts) -> float | None:
    if not counts.present:
        return None
    return math.sqrt(max(counts.squares / counts.present - (counts.total / counts.present) ** 2, 0.0))


def _cells(counts: ColumnCounts) -> Counts:
    """Counts in rising order: below, the bins, above, and levels never seen as one more cell."""
    return np.array([counts.below, *counts.counts, counts.above, counts.unseen], dtype=np.float64)


def _shares(reference: Counts, current: Counts) -> tuple[Counts, Counts]:
    reference, current = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    if not reference.sum() or not current.sum():
        raise NotEnoughEvidence("a distance needs rows on both sides; one of the samples is empty")
    return reference / reference.sum(), current / current.sum()
