"""The bike-sharing rows as training file and as a stream of requests; shuffled, broken and continued on demand."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from replay import Row

FEATURES = [
    "season", "mnth", "hr", "holiday", "weekday", "workingday", "weathersit", "temp", "atemp", "hum", "windspeed",
]  # fmt: skip
TARGET = "cnt"
STREAM_START = datetime(2011, 7, 1, tzinfo=UTC)
# The file holds temperatures as (t - t_min) / (t_max - t_min) with t_min = -8 and t_max = 39 degrees Celsius.
COLDEST, WARMEST = -8.0, 39.0


def read_rows(path: Path) -> pl.DataFrame:
    """All rows in time order, event time in UTC."""
    frame = pl.read_parquet(path).sort("ts")
    return frame.with_columns(pl.col("ts").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))


def split(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What is known when the first model is trained, and what comes later."""
    return frame.filter(pl.col("ts") < STREAM_START), frame.filter(pl.col("ts") >= STREAM_START)


def shuffle(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The same moments with the other columns dealt out anew: the same rows without any change over time."""
    order = list(range(frame.height))
    random.Random(seed).shuffle(order)
    return frame.select("ts").hstack(frame.drop("ts")[order])


def as_requests(frame: pl.DataFrame) -> list[Row]:
    """Rows as requests, in the order given."""
    columns = frame.select("ts", TARGET, *FEATURES).to_dicts()
    return [Row(row["ts"], {name: row[name] for name in FEATURES}, float(row[TARGET])) for row in columns]


def in_fahrenheit(rows: list[Row]) -> list[Row]:
    """The fault: `temp` arrives in degrees Fahrenheit instead of the scaled Celsius the model knows."""
    broken = []
    for row in rows:
        celsius = row.features["temp"] * (WARMEST - COLDEST) + COLDEST
        broken.append(Row(row.at, {**row.features, "temp": round(celsius * 9 / 5 + 32, 1)}, row.outcome))
    return broken


def later(rows: list[Row], by: timedelta) -> list[Row]:
    """The same rows, dated later."""
    return [Row(row.at + by, row.features, row.outcome) for row in rows]
