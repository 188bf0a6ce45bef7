"""Rentals per hour from calendar and weather: plain LightGBM, nothing of Flyball."""

from __future__ import annotations

from typing import Any

import lightgbm
import polars


def train(
    train: polars.DataFrame, features: list[str], target: str, params: dict[str, Any], seed: int
) -> lightgbm.LGBMRegressor:
    """A fitted model. Bagging makes the seed matter: without it two seeds give the same trees."""
    model = lightgbm.LGBMRegressor(
        n_estimators=params.get("trees", 120),
        learning_rate=params.get("learning_rate", 0.08),
        num_leaves=params.get("leaves", 31),
        subsample=params.get("bagging", 0.8),
        subsample_freq=1,
        random_state=seed,
        n_jobs=1,
        deterministic=True,
        force_row_wise=True,
        verbose=-1,
    )
    rows = train.select(features).cast(polars.Float64).to_numpy()
    return model.fit(rows, train[target].to_numpy(), feature_name=features)
