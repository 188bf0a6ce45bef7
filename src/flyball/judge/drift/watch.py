"""The alarm budget: is this window further off than past windows of the same kind would be?

Nothing is assumed about rows being independent: a window is one observation, and it is ranked among past
windows of the same length, traffic and season mix. Source: conformal anomaly detection, Laxhammar, Falkman
(2010); Vovk, Gammerman, Shafer (2005), section 2: with exchangeable windows P(p <= alpha) <= alpha for every
number of windows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from flyball.core.errors import BadInput

OUTCOMES_SHARE, DRIFT_SHARE, PREDICTIONS_SHARE = 0.5, 0.25, 0.25


class Alphas(msgspec.Struct, frozen=True):
    """False-alarm probability per window, for each kind of thing that is watched; together the budget."""

    outcomes: float
    drift: float
    predictions: float


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at one window says. p is a rank among past windows: 1 / (windows + 1) at the least.

    enough: whether the history is long enough for an alarm at this alpha at all. top: columns by how unusual
    they are, most unusual first, in spreads of past windows.
    """

    alarm: bool
    enough: bool
    because: str
    p: float | None = None
    window_count: int = 0
    top: list[tuple[str, float]] = []


def window_alpha(alarms: float, period_seconds: float, window_seconds: float) -> Alphas:
    """The budget of false alarms per window: half for outcomes, a quarter each for drift and for predictions.

    alarms per period, as in `1 per 30d`. A window that could use up more than 20 % of alarm probability is
    capped
    there: one false alarm in five windows is noise under any budget.
    """
    if alarms <= 0 or period_seconds <= 0 or window_seconds <= 0:
        raise BadInput("a budget needs a count, a period and a window above zero")
    per_window = min(alarms * window_seconds / period_seconds, 0.2)
    return Alphas(
        outcomes=per_window * OUTCOMES_SHARE,
        drift=per_window * DRIFT_SHARE,
        predictions=per_window * PREDICTIONS_SHARE,
    )


def watch_value(history: Sequence[float], current: float, alpha: float) -> Watched:
    """Whether one number (a loss) is larger than past windows let one expect.

    history: the same number of past windows of the same kind. Larger is worse.
    """
    needed = needed_windows(alpha)
    if len(history) < needed:
        return _too_little(len(history), needed)
    above = sum(1 for value in history if value >= current)
    p = (1 + above) / (len(history) + 1)
    because = (
        f"{above} of {len(history)} past windows were as high or higher (p = {p:.3f}, budget {alpha:.3f})"
    )
    return Watched(alarm=p <= alpha, enough=True, because=because, p=p, window_count=len(history))


def watch_columns(
    history: Sequence[Mapping[str, float]], current: Mapping[str, float], alpha: float
) -> Watched:
    """Whether any of many scores is out of the ordinary, at one rate for all of them together.

    history: scores of past windows (see `drift_scores`), current: of this one; only keys known everywhere
    count. Each score is put on the scale of its own median and spread over all windows but the one looked at,
    the current one included, so that every window is treated alike; the largest of a window is ranked among
    those of the others.
    """
    needed = needed_windows(alpha)
    keys = sorted(set(current).intersection(*history)) if history else []
    if len(history) < needed or not keys:
        return _too_little(len(history), needed)
    table = np.array([[*(window[key] for key in keys)] for window in [*history, current]], dtype=np.float64)
    scores = _unusual(table)
    largest = scores.max(axis=1)
    above = int((largest[:-1] >= largest[-1]).sum())
    p = (1 + above) / (len(history) + 1)
    top = sorted(zip(keys, scores[-1].tolist(), strict=True), key=lambda pair: -pair[1])[:10]
    first = top[0][0].replace("|", " ")
    because = (
        f"{first} is most unusual; {above} of {len(history)} past windows were as unusual "
        f"or more in anything watched (p = {p:.3f}, budget {alpha:.3f})"
    )
    return Watched(alarm=p <= alpha, enough=True, because=because, p=p, window_count=len(history), top=top)


def needed_windows(alpha: float) -> int:
    """The least number of past windows that lets a rank reach `alpha`.

    >>> needed_windows(0.05)
    19
    """
    if not 0.0 < alpha < 1.0:
        raise BadInput(f"an alpha of {alpha} must lie between 0 and 1", alpha=alpha)
    return max(math.ceil(1.0 / alpha - 1e-9) - 1, 1)


def _unusual(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each score's distance from the median of the other windows, in their spreads, shape as the table."""
    scores = np.empty_like(table)
    for row in range(len(table)):
        others = np.delete(table, row, axis=0)
        middle = np.median(others, axis=0)
        spread = 1.4826 * np.median(np.abs(others - middle), axis=0)
        # Where half the windows are equal the median deviation is 0; the mean one is not, unless all are
        # equal.
        spread = np.maximum(spread, 1.2533 * np.mean(np.abs(others - middle), axis=0))
        scores[row] = (table[row] - middle) / np.maximum(spread, 1e-9)
    return scores


def _too_little(have: int, needed: int) -> Watched:
    because = f"{have} past windows are known and {needed} are needed to judge this one at its budget"
    return Watched(alarm=False, enough=False, because=because, window_count=have)
