"""Outcomes read from the log: of several that say something about one prediction, the last received holds."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from flyball.data.log_tables import OUTCOMES, scan_generations

if TYPE_CHECKING:
    import polars as pl


def read_outcomes(
    tables_url: str, model: str, *, known_by: datetime, known_from: datetime | None = None
) -> pl.DataFrame:
    """Outcomes that were known at a model time, one per prediction id or per entity and time.

    known_by: inclusive. known_from: leaves out what was known earlier (all of it is read by default).
    Columns prediction_id, entity, time, outcome (number for a regression, else text), known_at, received_at. Of
    those known by then, the last received holds. Values that are none for the task are left out.
    """
    import polars as pl

    known = pl.col("known_at") <= known_by
    if known_from is not None:
        known &= pl.col("known_at") >= known_from
    frames = [
        table.filter(known, pl.col("outcome").is_not_null())
        .select("prediction_id", "entity", "time", "outcome", "known_at", "received_at", "batch")
        .collect()
        for table in scan_generations(tables_url, OUTCOMES, model)
    ]
    if not frames:
        return _nothing()
    told = pl.concat([cast_answers(frame, "outcome", frames[-1]) for frame in frames])
    by_id = pl.col("prediction_id").is_null()
    return (
        told.with_columns(
            entity=pl.when(by_id).then(pl.col("entity")), time=pl.when(by_id).then(pl.col("time"))
        )
        .sort("received_at", "batch", maintain_order=True)
        .unique(["prediction_id", "entity", "time"], keep="last", maintain_order=True)
        .drop("batch")
    )


def join_outcomes(predictions: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """The predictions with columns `outcome` and `known_at`, null where nothing is known.

    An outcome told under the prediction's id goes before one told for its entity and event time.
    """
    import polars as pl

    told = cast_answers(outcomes, "outcome", predictions, like="prediction")
    by_id = told.filter(pl.col("prediction_id").is_not_null()).select(
        pl.col("prediction_id").alias("id"), "outcome", "known_at"
    )
    joined = predictions.join(by_id, on="id", how="left", maintain_order="left")
    by_moment = told.filter(pl.col("prediction_id").is_null()).select(
        "entity", pl.col("time").alias("at"), "outcome", "known_at"
    )
    if by_moment.is_empty():
        return joined
    both = joined.join(by_moment, on=["entity", "at"], how="left", maintain_order="left", suffix="_moment")
    told_by_id = pl.col("outcome").is_not_null()
    return both.with_columns(
        outcome=pl.when(told_by_id).then("outcome").otherwise("outcome_moment"),
        known_at=pl.when(told_by_id).then("known_at").otherwise("known_at_moment"),
    ).drop("outcome_moment", "known_at_moment")


def cast_answers(
    frame: pl.DataFrame, name: str, other: pl.DataFrame, like: str | None = None
) -> pl.DataFrame:
    """`frame` with column `name` in the type of `other`'s column; null where a value can't be had so."""
    import polars as pl

    wanted = other.schema[like or name]
    if frame.schema[name] == wanted:
        return frame
    return frame.with_columns(pl.col(name).cast(wanted, strict=False))


def _nothing() -> pl.DataFrame:
    import polars as pl

    moment = pl.Datetime("us", "UTC")
    return pl.DataFrame(
        schema={
            "prediction_id": pl.String(),
            "entity": pl.String(),
            "time": moment,
            "outcome": pl.Float64(),
            "known_at": moment,
            "received_at": moment,
        }
    )
