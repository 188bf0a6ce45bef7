"""Whether one feature alone tells the model nearly everything, which it often does because it is the outcome."""

from __future__ import annotations

import numpy as np

from flyball.core.values import Verdict
from flyball.judge.behaviour.found import LEAST_ROWS, Found, Values, not_shown
from flyball.judge.metrics.intervals import mean_interval

MOST_TOLD = 0.5


def none_tells_all(
    baseline: Values,
    alone: dict[str, Values],
    *,
    seed: int,
    max_share: float = MOST_TOLD,
    groups: Values | None = None,
) -> Found:
    """Does each feature alone take away at most `max_share` of the loss of no model?

    Losses per row: of the baseline, and per feature of the model that is given this feature and the others shuffled
    among the rows. A feature fails when the paired interval of what it takes away, minus `max_share` of the baseline's
    loss, lies above 0; where it spans 0 nothing is shown.
    """
    if baseline.size < LEAST_ROWS or len(alone) < 2:
        words = f"{baseline.size} rows and {len(alone)} features"
        return not_shown(f"{words}; {LEAST_ROWS} rows and 2 features are needed")
    told = {
        name: float((baseline - losses).mean()) / float(baseline.mean()) for name, losses in alone.items()
    }
    most = max(told, key=lambda name: told[name])
    words = f"{most} alone takes away {max(told[most], 0.0):.2f} of the loss without a model"
    excess = mean_interval((1 - max_share) * baseline - alone[most], seed=seed, groups=groups)
    if excess.low > 0:
        advice = "is it known when a prediction is asked for?"
        clearest = np.argsort(alone[most] - baseline, kind="stable")[:10]
        return Found(
            Verdict("fail", f"{words}; at most {max_share:g} is allowed: {advice}"), clearest.tolist()
        )
    if excess.high > 0:
        return not_shown(f"{words}; whether that is more than {max_share:g} can't be told from these rows")
    return Found(Verdict("pass", f"{words}; at most {max_share:g} is allowed"))
