"""What the stream would have cost without the loop: the first model frozen, and one retrained every month."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl
from stream import FEATURES, TARGET
from train import train

SLIDING_MONTHS = 6


def monthly_errors(
    frame: pl.DataFrame, stream: pl.DataFrame, params: dict[str, float], seed: int
) -> tuple[np.ndarray, int]:
    """Absolute error of each stream row when a model is trained before every month on the six months before it.

    Labels are taken as known at once and nothing is gated: a generous rival. Second: how many models were trained.
    """
    months = stream["ts"].dt.truncate("1mo").unique().sort().to_list()
    errors = np.full(stream.height, np.nan)
    stream_months = stream["ts"].dt.truncate("1mo").to_numpy()
    for month in months:
        known = frame.filter((pl.col("ts") >= _months_before(month)) & (pl.col("ts") < month))
        rows = stream.filter(pl.col("ts").dt.truncate("1mo") == month)
        model = train(known.select(*FEATURES, TARGET), FEATURES, TARGET, params, seed)
        answers = np.asarray(
            model.booster_.predict(rows.select(FEATURES).cast(pl.Float64).to_numpy()), dtype=float
        )
        errors[stream_months == np.datetime64(month.replace(tzinfo=None))] = np.abs(
            answers - rows[TARGET].to_numpy()
        )
    return errors, len(months)


def _months_before(month: datetime) -> datetime:
    count = month.year * 12 + month.month - 1 - SLIDING_MONTHS
    return month.replace(year=count // 12, month=count % 12 + 1)
