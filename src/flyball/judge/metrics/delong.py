"""The area under the ROC curve with its variance, alone and paired, for rows that stand alone or share entities."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flyball.core.errors import NotEnoughEvidence
from flyball.core.values import Interval
from flyball.judge.metrics.classification import midranks
from flyball.judge.metrics.student import t_quantile, two_sided_p

Values = NDArray[np.float64]
Groups = NDArray[np.generic]


class Areas(NamedTuple):
    """AUCs of several scorers, their covariance matrix, and how many independent units the scarcer class has."""

    areas: Values
    covariance: Values
    units: int


class AreaDifference(NamedTuple):
    """Candidate minus champion AUC, its standard error and its degrees of freedom."""

    estimate: float
    standard_error: float
    degrees: int

    def interval(self, confidence: float) -> Interval:
        """The confidence interval, -1 to 1; zero width only if both order all pairs alike."""
        width = t_quantile(confidence, self.degrees) * self.standard_error if self.standard_error else 0.0
        return Interval(max(self.estimate - width, -1.0), min(self.estimate + width, 1.0))

    @property
    def p(self) -> float | None:
        """Two-sided p-value of equal areas; None where all pairs are ordered alike."""
        return two_sided_p(self.estimate / self.standard_error, self.degrees) if self.standard_error else None


def auc_interval(
    truth: Values, scores: Values, *, groups: Groups | None = None, confidence: float = 0.95
) -> Interval:
    """Confidence interval of an AUC on the logit scale, inside 0 to 1. groups: as in `areas_of`.

    At an AUC of 0 or 1 the logit fails and the exact one-sided bound of as many certain pairs as the scarcer
    class has rows (entities) is used. Raises NotEnoughEvidence. Source: as `areas_of`; logit: Pepe (2003), 5.2.
    """
    areas, covariance, units = areas_of(truth, scores[None, :], groups)
    area, deviation = float(areas[0]), math.sqrt(max(float(covariance[0, 0]), 0.0))
    if area in (0.0, 1.0) or deviation == 0.0:
        least = float((1.0 - confidence) / 2) ** (1.0 / units)
        return Interval(least, 1.0) if area >= 0.5 else Interval(0.0, 1.0 - least)
    width = t_quantile(confidence, units - 1) * deviation / (area * (1.0 - area))
    logit = math.log(area / (1.0 - area))
    return Interval(_share(logit - width), _share(logit + width))


def auc_difference(
    truth: Values, champion: Values, candidate: Values, *, groups: Groups | None = None
) -> AreaDifference:
    """How the AUCs of two scorers differ on the same rows. groups, and what is raised: as in `areas_of`.

    Student's t with the units of the scarcer class in place of the normal distribution, so that a handful of
    positives does not pass for many.
    """
    areas, covariance, units = areas_of(truth, np.stack([champion, candidate]), groups)
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    # Two scorers that order all pairs alike differ by rounding only.
    error = math.sqrt(variance) if variance > 1e-20 else 0.0
    return AreaDifference(float(areas[1] - areas[0]), error, units - 1)


def areas_of(truth: Values, scores: Values, groups: Groups | None = None) -> Areas:
    """AUCs of several scorers with their covariance. scores: shape (scorers, rows).

    groups: label per row, of an entity that repeats or a block of time; None: each row stands alone. Rows of a
    group may depend on each other in any way, those of one class on those of the other included. Raises
    NotEnoughEvidence unless each class has two rows, in two groups.
    Source: DeLong, DeLong, Clarke-Pearson (1988), Biometrics 44(3), midranks as in Sun, Xu (2014), IEEE Signal
    Processing Letters 21(11); for groups Obuchowski (1997), Biometrics 53(2), which with one row per group is
    DeLong's but for the class's own factor I/(I-1).
    """
    positive, negative = scores[:, truth == 1.0], scores[:, truth != 1.0]
    m, n = positive.shape[1], negative.shape[1]
    if m < 2 or n < 2:
        raise NotEnoughEvidence(f"an AUC needs two rows of each class; there are {m} and {n}")
    joint = np.array([midranks(row) for row in np.concatenate([positive, negative], axis=1)])
    of_positive = (joint[:, :m] - np.array([midranks(row) for row in positive])) / n
    of_negative = 1.0 - (joint[:, m:] - np.array([midranks(row) for row in negative])) / m
    areas = of_positive.mean(axis=1)
    if groups is None:
        covariance = np.atleast_2d(np.cov(of_positive)) / m + np.atleast_2d(np.cov(of_negative)) / n
        return Areas(areas, covariance, min(m, n))
    _, places = np.unique(groups, return_inverse=True)
    return _by_group(areas, of_positive, of_negative, places[truth == 1.0], places[truth != 1.0])


def _by_group(
    areas: Values,
    of_positive: Values,
    of_negative: Values,
    positive_places: NDArray[np.intp],
    negative_places: NDArray[np.intp],
) -> Areas:
    """Obuchowski's covariance: components are summed per group; a group's two classes may vary together."""
    m, n = of_positive.shape[1], of_negative.shape[1]
    count = int(max(positive_places.max(), negative_places.max())) + 1
    with_positive, with_negative = np.unique(positive_places).size, np.unique(negative_places).size
    if with_positive < 2 or with_negative < 2:
        raise NotEnoughEvidence(
            f"an AUC by groups needs each class in two groups; there are {with_positive} and {with_negative}"
        )
    sums = [
        np.array([np.bincount(places, weights=row, minlength=count) for row in centred])
        for places, centred in (
            (positive_places, of_positive - areas[:, None]),
            (negative_places, of_negative - areas[:, None]),
        )
    ]
    across = sums[0] @ sums[1].T * (count / (count - 1)) / (m * n)
    covariance = (
        sums[0] @ sums[0].T * (with_positive / (with_positive - 1)) / m**2
        + sums[1] @ sums[1].T * (with_negative / (with_negative - 1)) / n**2
        + across
        + across.T
    )
    return Areas(areas, covariance, min(with_positive, with_negative))


def _share(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-logit)) if logit > -700.0 else 0.0
