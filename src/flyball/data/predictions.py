"""Predictions read from the log, each id once; joined with their outcomes; one looked up with all about it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.data.log_schema import DAY, PREFIX, feature_of
from flyball.data.log_tables import PREDICTIONS, scan_generations
from flyball.data.outcomes import cast_answers, join_outcomes, read_outcomes

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "LoggedPrediction",
    "find_prediction",
    "read_labelled",
    "read_outcomes",
    "read_predictions",
]

# Clocks of clients differ; no truth is known a day before the event it is about.
_BACKDATED = timedelta(days=1)
_INNER = ("input_hash", "conflict", "batch", DAY)


class LoggedPrediction(msgspec.Struct, frozen=True, kw_only=True):
    """One record of the log, as it was written.

    `input` with its values as they came, whatever their column's type. `outcome` and `known_at`: None while unknown.
    """

    id: str
    role: str
    at: datetime
    received_at: datetime
    asked: int
    answered: int | None
    revision: int
    request_id: str | None
    entity: str | None
    input: dict[str, Any]
    prediction: float | str | None
    scores: list[float] | None
    flags: list[str]
    error: str | None
    latency_us: int
    trace: str | None
    conflict: bool
    outcome: float | str | None = None
    known_at: datetime | None = None


def read_predictions(
    tables_url: str,
    model: str,
    start: datetime,
    end: datetime,
    *,
    roles: Collection[str] | None = None,
    features: Sequence[str] | None = None,
) -> pl.DataFrame:
    """The predictions whose event time lies in [start, end), by event time, each id once per kind of answer.

    roles: of champion, candidate, shadow; all by default. features: all by default.
    Columns id, at, received_at, role, asked, answered, revision, request_id, entity, prediction (number for a
    regression, else text), scores, flags, error, latency_us, trace, misfit (JSON text of input values that don't fit
    the type of their column, null otherwise), and `x.<feature>` for each feature. Of records with one id the first
    received is kept.
    """
    import polars as pl

    wanted = (pl.col("at") >= start) & (pl.col("at") < end) & ~pl.col("conflict")
    if roles is not None:
        wanted &= pl.col("role").is_in(list(roles))
    frames = [
        _chosen(table.filter(wanted), features).collect()
        for table in scan_generations(tables_url, PREDICTIONS, model)
    ]
    if not frames:
        return _nothing(features)
    rows = pl.concat(
        [cast_answers(frame, "prediction", frames[-1]) for frame in frames], how="diagonal_relaxed"
    )
    # Folding leaves repeated ids out; two folders at once, or a restored database, could let one through.
    return (
        rows.sort("received_at", maintain_order=True)
        .unique(["id", "shadow"], keep="first", maintain_order=True)
        .drop("shadow")
        .sort("at", maintain_order=True)
    )


def read_labelled(
    tables_url: str,
    model: str,
    start: datetime,
    end: datetime,
    known_by: datetime,
    roles: Collection[str] = ("champion", "candidate"),
    *,
    features: Sequence[str] | None = None,
    inner: bool = False,
) -> pl.DataFrame:
    """As `read_predictions`, with `outcome` and `known_at` as they were known at a model time; null where not.

    inner: only rows with an outcome. An outcome dated more than a day before `start` is not looked for.
    """
    import polars as pl

    rows = read_predictions(tables_url, model, start, end, roles=roles, features=features)
    told = read_outcomes(tables_url, model, known_by=known_by, known_from=start - _BACKDATED)
    labelled = join_outcomes(rows, told)
    return labelled.filter(pl.col("outcome").is_not_null()) if inner else labelled


def find_prediction(
    tables_url: str, model: str, prediction_id: str, known_by: datetime | None = None
) -> list[LoggedPrediction]:
    """All records under an id, the one that counts first; empty when there is none.

    After the answer come a shadow's answer and conflicting records. Outcomes by `known_by`, all by default.
    """
    import polars as pl

    found: list[LoggedPrediction] = []
    for table in scan_generations(tables_url, PREDICTIONS, model):
        rows = table.filter(pl.col("id") == prediction_id).collect()
        if rows.is_empty():
            continue
        at: datetime = rows["at"].min()  # type: ignore[assignment]  # a column of moments
        told = read_outcomes(
            tables_url,
            model,
            known_by=known_by or datetime.max.replace(tzinfo=at.tzinfo),
            known_from=at - _BACKDATED,
        )
        found.extend(_logged(row) for row in join_outcomes(rows, told).iter_rows(named=True))
    return sorted(found, key=lambda record: (record.conflict, record.role == "shadow", record.received_at))


def _chosen(table: pl.LazyFrame, features: Sequence[str] | None) -> pl.LazyFrame:
    import polars as pl

    names = []
    for column in table.collect_schema().names():
        if column in _INNER:
            continue
        if not column.startswith(PREFIX):
            names.append(pl.col(column))
        elif features is None or feature_of(column) in features:
            names.append(pl.col(column).alias(PREFIX + feature_of(column)))
    return table.select(*names, shadow=pl.col("role") == "shadow")


def _logged(row: dict[str, Any]) -> LoggedPrediction:
    values = {
        feature_of(name): value
        for name, value in row.items()
        if name.startswith(PREFIX) and value is not None
    }
    if row["misfit"]:
        misfit = msgspec.json.decode(row["misfit"])
        misfit.pop("", None)  # the answer, when it was none of the task
        values |= misfit
    fields = {name: row[name] for name in LoggedPrediction.__struct_fields__ if name != "input"}
    return LoggedPrediction(**fields, input=values)


def _nothing(features: Sequence[str] | None) -> pl.DataFrame:
    import polars as pl

    from flyball.data.log_schema import UNTYPED, prediction_columns

    columns = {name: kind for name, kind in prediction_columns(UNTYPED).items() if name not in _INNER}
    columns["prediction"] = pl.Float64()
    columns |= {PREFIX + name: pl.Null() for name in features or ()}
    return pl.DataFrame(schema=columns)
