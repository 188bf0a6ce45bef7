"""The area under the ROC curve with its variance, alone and paired."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from flyball.core.errors import NotEnoughEvidence
from flyball.core.values import Interval
from flyball.judge.metrics.classification import midranks

Values = NDArray[np.float64]


def auc_interval(truth: Values, scores: Values, *, confidence: float = 0.95) -> Interval:
    """Confidence interval of an AUC on the logit scale, inside 0 to 1.

    Needs two rows of each class; at an AUC of 0 or 1 the logit fails and the exact one-sided bound of as many
    certain pairs as the smaller class has rows is used. Raises NotEnoughEvidence.
    Source: DeLong, DeLong, Clarke-Pearson (1988), Biometrics 44(3); logit: Pepe (2003), section 5.2.
    """
    areas, covariance = delong(truth, scores[None, :])
    area, deviation = float(areas[0]), math.sqrt(max(float(covariance[0, 0]), 0.0))
    if area in (0.0, 1.0) or deviation == 0.0:
        least = float((1.0 - confidence) / 2) ** (1.0 / float(min(truth.sum(), truth.size - truth.sum())))
        return Interval(least, 1.0) if area >= 0.5 else Interval(0.0, 1.0 - least)
    width = NormalDist().inv_cdf(0.5 + confidence / 2) * deviation / (area * (1.0 - area))
    logit = math.log(area / (1.0 - area))
    return Interval(1.0 / (1.0 + math.exp(-(logit - width))), 1.0 / (1.0 + math.exp(-(logit + width))))


def auc_difference_interval(
    truth: Values, champion: Values, candidate: Values, *, confidence: float = 0.95
) -> Interval:
    """Confidence interval of candidate minus champion AUC on the same rows, -1 to 1.

    Zero width only if both order all pairs alike. Source: DeLong et al. (1988), with midranks as in
    Sun, Xu (2014), IEEE Signal Processing Letters 21(11).
    """
    areas, covariance = delong(truth, np.stack([champion, candidate]))
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    width = NormalDist().inv_cdf(0.5 + confidence / 2) * math.sqrt(max(variance, 0.0))
    difference = float(areas[1] - areas[0])
    return Interval(max(difference - width, -1.0), min(difference + width, 1.0))


def delong(truth: Values, scores: Values) -> tuple[Values, Values]:
    """AUCs of several scorers and their covariance matrix. scores: shape (scorers, rows)."""
    positive, negative = scores[:, truth == 1.0], scores[:, truth != 1.0]
    m, n = positive.shape[1], negative.shape[1]
    if m < 2 or n < 2:
        raise NotEnoughEvidence(f"an AUC needs two rows of each class; there are {m} and {n}")
    joint = np.array([midranks(row) for row in np.concatenate([positive, negative], axis=1)])
    within_positive = np.array([midranks(row) for row in positive])
    within_negative = np.array([midranks(row) for row in negative])
    of_positive = (joint[:, :m] - within_positive) / n
    of_negative = 1.0 - (joint[:, m:] - within_negative) / m
    areas = of_positive.mean(axis=1)
    covariance = np.atleast_2d(np.cov(of_positive)) / m + np.atleast_2d(np.cov(of_negative)) / n
    return areas, covariance
