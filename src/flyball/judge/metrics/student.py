"""Student's t distribution: what a few rows, entities or blocks of time allow to say of a mean."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

MOST_STEPS = 300


def two_sided_p(statistic: float, degrees: int) -> float:
    """Probability, 0 to 1, of a t at least this far from 0 on either side; degrees: of freedom, at least 1.

    Source: Abramowitz, Stegun (1964), 26.7.1, by the incomplete beta function. (scipy.special would take most of a
    second to import.)

    >>> round(two_sided_p(2.228139, 10), 6)
    0.05
    """
    return _incomplete_beta(degrees / (degrees + statistic * statistic), degrees / 2.0, 0.5)


@lru_cache(maxsize=256)
def t_quantile(confidence: float, degrees: int) -> float:
    """The t that holds the middle `confidence` (0 to 1, open) between its negative and itself; inf for no degrees.

    >>> round(t_quantile(0.95, 10), 6)
    2.228139
    """
    if degrees < 1:
        return math.inf
    low, high = 0.0, NormalDist().inv_cdf(0.5 + confidence / 2) + 1.0
    while two_sided_p(high, degrees) > 1.0 - confidence:
        low, high = high, high * 2.0
    for _ in range(60):
        middle = (low + high) / 2
        if two_sided_p(middle, degrees) > 1.0 - confidence:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, 0 to 1. Source: Press et al. (2007), Numerical Recipes, 6.4."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    front = math.exp(logarithm)
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _fraction(x, a, b) / a
    return 1.0 - front * _fraction(1.0 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0), tiny)
    value = d
    for m in range(1, MOST_STEPS):
        for factor in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 / _away_from_zero(1.0 + factor * d, tiny)
            c = _away_from_zero(1.0 + factor / c, tiny)
            value *= c * d
        if abs(c * d - 1.0) < 1e-14:
            break
    return value


def _away_from_zero(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny
