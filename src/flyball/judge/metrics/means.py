"""A mean with its interval and its test, for rows that stand alone, come in blocks of time, or repeat by entity."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flyball.core.errors import NotEnoughEvidence
from flyball.core.values import Interval
from flyball.judge.metrics.student import t_quantile, two_sided_p

Values = NDArray[np.float64]


class MeanEstimate(NamedTuple):
    """A mean over independent units (rows, or whole groups) with what its error is like.

    skew: skewness of the units over the root of their number. degrees: of freedom, units minus one; with fewer
    than one nothing is known of the error.
    """

    estimate: float
    standard_error: float
    skew: float
    degrees: int

    def interval(self, confidence: float) -> Interval | None:
        """The confidence interval; None for a single unit, of no width for units that do not differ.

        Student's t with its skewness taken out, because losses are skewed: a harm that sits in a few rows would
        else be missed too often. Source: Hall (1992), J. R. Statist. Soc. B 54(1), the cubic transformation.
        """
        if self.degrees < 1:
            return None
        width = t_quantile(confidence, self.degrees)
        low, high = (self.estimate - self.standard_error * self._untransformed(t) for t in (width, -width))
        return Interval(low, high)

    @property
    def p(self) -> float | None:
        """Two-sided p-value of a true mean of 0: below 1 - c just when the interval at c leaves 0 out."""
        if self.degrees < 1 or self.standard_error == 0.0:
            return None
        t = self.estimate / self.standard_error
        a = self.skew
        return two_sided_p(t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6, self.degrees)

    def _untransformed(self, t: float) -> float:
        if abs(self.skew) < 1e-6:
            return t
        return 3.0 / self.skew * (math.cbrt(1.0 + self.skew * (t - self.skew / 6)) - 1.0)


def mean_of(values: Values, groups: NDArray[np.generic] | None = None) -> MeanEstimate:
    """The mean of all values with its error.

    groups: label per value; values of a label count as one unit, so that what is alike is no new evidence. The
    mean is then a ratio of the groups' sums and sizes. Raises NotEnoughEvidence for no values.
    Source for groups: Cochran (1977), Sampling Techniques, 6.4.
    """
    if values.size == 0:
        raise NotEnoughEvidence("an interval of a mean needs at least one row")
    mean = float(values.mean())
    residuals = values - mean
    if groups is not None:
        _, places = np.unique(groups, return_inverse=True)
        residuals = np.bincount(places, weights=residuals).astype(np.float64)
    units = residuals.size
    spread = float((residuals**2).mean())
    # What only rounding makes of equal values is no spread.
    if units < 2 or spread <= 1e-28 * float((values**2).max()):
        return MeanEstimate(mean, 0.0, 0.0, units - 1)
    error = math.sqrt(units / (units - 1) * units * spread) / values.size
    skewness = float((residuals**3).mean()) / spread**1.5
    return MeanEstimate(mean, error, skewness / math.sqrt(units), units - 1)
