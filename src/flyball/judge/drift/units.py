"""Which change of unit turns the values of before into those of now."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray


class UnitChange(msgspec.Struct, frozen=True, kw_only=True):
    """now = factor * before + offset. misfit: mean distance of the deciles, in standard deviations of
    them.
    """

    factor: float
    offset: float
    sentence: str
    misfit: float


_KNOWN: tuple[tuple[float, float, str], ...] = (
    (10.0, 0.0, "values 10 times too large"),
    (100.0, 0.0, "values 100 times too large (a share given in percent?)"),
    (1000.0, 0.0, "values 1,000 times too large (thousands given as ones?)"),
    (1e6, 0.0, "values 1,000,000 times too large"),
    (0.1, 0.0, "values 10 times too small"),
    (0.01, 0.0, "values 100 times too small (a percentage given as a share?)"),
    (0.001, 0.0, "values 1,000 times too small"),
    (1.8, 32.0, "degrees Fahrenheit in place of Celsius"),
    (1 / 1.8, -32.0 / 1.8, "degrees Celsius in place of Fahrenheit"),
    (1.0, 273.15, "Kelvin in place of degrees Celsius"),
    (1.0, -273.15, "degrees Celsius in place of Kelvin"),
    (1.609344, 0.0, "kilometres in place of miles"),
    (1 / 1.609344, 0.0, "miles in place of kilometres"),
    (3.6, 0.0, "km/h in place of m/s"),
    (1 / 3.6, 0.0, "m/s in place of km/h"),
    (2.54, 0.0, "centimetres in place of inches"),
    (1 / 2.54, 0.0, "inches in place of centimetres"),
    (2.2046226, 0.0, "pounds in place of kilograms"),
    (1 / 2.2046226, 0.0, "kilograms in place of pounds"),
    (60.0, 0.0, "seconds in place of minutes (or minutes of hours)"),
    (1 / 60.0, 0.0, "minutes in place of seconds (or hours of minutes)"),
    (3600.0, 0.0, "seconds in place of hours"),
    (-1.0, 0.0, "values with the opposite sign"),
)

# Weather and season move deciles by about one standard deviation in a month; further off, no unit explains
# the window.
LARGEST_MISFIT = 2.0
# Without a known unit, a straight line through the deciles must fit this well to be called a change of scale.
LEAST_STRAIGHT = 0.97


def name_unit_change(before: NDArray[np.float64], now: NDArray[np.float64]) -> UnitChange | None:
    """The known change of unit that fits best, or None where none does clearly better than no change.

    before, now: the same quantiles of the last healthy windows and of the window in question, rising.
    A value is compared on the scale of the changed unit, so that large factors get no advantage.
    """
    if before.size == 0 or before.size != now.size:
        return None
    best: UnitChange | None = None
    for factor, offset, sentence in _KNOWN:
        changed = np.sort(factor * before + offset)
        misfit = _misfit(changed, now)
        if best is None or misfit < best.misfit:
            best = UnitChange(factor=factor, offset=offset, sentence=sentence, misfit=misfit)
    plain = _misfit(before, now)
    if best is None or best.misfit > LARGEST_MISFIT or best.misfit > 0.5 * plain:
        return _any_scale(before, now, plain)
    return best


def _any_scale(before: NDArray[np.float64], now: NDArray[np.float64], plain: float) -> UnitChange | None:
    """An unknown factor and offset, if the deciles of now lie on a line over those of before."""
    if plain <= 2 * LARGEST_MISFIT or not before.std() or not now.std():
        return None
    straight = float(np.corrcoef(before, now)[0, 1])
    factor = float(now.std() / before.std())
    if straight**2 < LEAST_STRAIGHT or 0.5 < factor < 2.0:
        return None
    offset = float(now.mean() - factor * before.mean())
    sentence = f"another unit or scale, about {factor:.2g} times the usual spread and {offset:+.2g}"
    misfit = _misfit(factor * before + offset, now)
    return UnitChange(factor=factor, offset=offset, sentence=sentence, misfit=misfit)


def _misfit(expected: NDArray[np.float64], now: NDArray[np.float64]) -> float:
    spread = max(float(expected.std()), 0.05 * float(np.abs(expected).max()), 1e-12)
    # The spread has to fit too: a constant far away is no change of unit.
    widths = np.log((now.std() + 0.1 * spread) / (expected.std() + 0.1 * spread))
    return float(np.abs(now - expected).mean() / spread + abs(widths))
