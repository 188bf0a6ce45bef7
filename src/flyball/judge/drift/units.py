"""Which change of unit turns the values of before into those of now."""

from __future__ import annotations

import math

import msgspec
import numpy as np


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

# A season moves the mean by one or two deviations in a month; further off, no unit explains the window.
LARGEST_MISFIT = 2.0
# Without a known unit, a straight line through the deciles must fit this well to be called a change of scale.
LEAST_STRAIGHT = 0.97


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared: mean, standard deviation and the deciles 10 % to 90 % of some rows."""

    mean: float
    deviation: float
    deciles: list[float]


def name_unit_change(before: Shape | None, now: Shape | None) -> UnitChange | None:
    """The known change of unit that fits best, or None where none does clearly better than no change.

    before: the last healthy windows together, now: the window in question. Misfits are on the scale of the
    changed unit, so that large factors get no advantage.
    """
    if before is None or now is None:
        return None
    fits = [(_misfit(before, now, factor, offset), factor, offset, said) for factor, offset, said in _KNOWN]
    misfit, factor, offset, said = min(fits)
    plain = _misfit(before, now, 1.0, 0.0)
    if misfit > LARGEST_MISFIT or misfit > 0.5 * plain:
        return _any_scale(before, now, plain)
    if offset == 0.0 and before.mean:
        said += f" (the mean is {now.mean / before.mean:.3g} times what it was)"
    return UnitChange(factor=factor, offset=offset, sentence=said, misfit=misfit)


def _any_scale(before: Shape, now: Shape, plain: float) -> UnitChange | None:
    """An unknown factor and offset, if the deciles of now lie on a line over those of before."""
    old, new = np.array(before.deciles), np.array(now.deciles)
    if plain <= 2 * LARGEST_MISFIT or not old.std() or not new.std():
        return None
    factor = now.deviation / before.deviation
    if float(np.corrcoef(old, new)[0, 1]) ** 2 < LEAST_STRAIGHT or 0.5 < factor < 2.0:
        return None
    offset = now.mean - factor * before.mean
    said = f"another unit or scale, about {factor:.2g} times the usual spread and {offset:+.2g}"
    return UnitChange(
        factor=factor, offset=offset, sentence=said, misfit=_misfit(before, now, factor, offset)
    )


def _misfit(before: Shape, now: Shape, factor: float, offset: float) -> float:
    mean, deviation = factor * before.mean + offset, abs(factor) * before.deviation
    spread = max(deviation, 0.02 * abs(mean), 1e-12)
    # A season moves the level more than the spread, so the spread counts double: it tells factors apart.
    widths = math.log((now.deviation + 0.05 * spread) / (deviation + 0.05 * spread))
    return abs(now.mean - mean) / spread + 2.0 * abs(widths)
