"""Metrics of numeric answers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def regression_metrics(y: Values, prediction: Values) -> dict[str, float | None]:
    """All metrics of a regression, in the target's unit unless they are shares; None where undefined.

    r2 is undefined for a constant outcome, mape where an outcome is 0.
    """
    residuals = y - prediction
    absolute = np.abs(residuals)
    spread = float(((y - y.mean()) ** 2).sum())
    return {
        "mae": float(absolute.mean()),
        "rmse": float(np.sqrt((residuals**2).mean())),
        "median_absolute_error": float(np.median(absolute)),
        "mape": float((absolute / np.abs(y)).mean()) if bool((y != 0).all()) else None,
        "r2": 1.0 - float((residuals**2).sum()) / spread if spread > 0 else None,
        "absolute_bias": abs(float(residuals.mean())),
    }
