"""The rows a retraining may use: the first training's snapshot, and logged requests with outcomes known by then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from flyball.core.clock import isoformat
from flyball.core.errors import BadInput
from flyball.core.project import DataSection, LogSection, ModelSection
from flyball.monitoring.answers import row_harms, shape_of

if TYPE_CHECKING:
    import polars as pl

    from flyball.backends.blobs.store import BlobStore

# Columns beside the project's own while rows are chosen; none of them reaches the snapshot.
AT, KNOWN_AT, HARM, LOGGED = "_at", "_known_at", "_harm", "_logged"
INNER = (AT, KNOWN_AT, HARM, LOGGED)
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class RowsTask(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows are wanted.

    champion: the version whose own answers say how well it did on each row; classes, positive: what its answers mean.
    held: windows of broken data, whose rows never train a model. folder: the project's, against which its source is
    resolved.
    """

    origin: Literal["source", "log", "both"]
    model: ModelSection
    data: DataSection
    log: LogSection
    features: list[str]
    has_train_steps: bool
    root_snapshot: str
    folder: str | None
    champion: int
    classes: list[Any] | None
    positive: Any
    decided_at: datetime
    rows_until: datetime
    outcome_delay_seconds: float
    held: list[tuple[datetime, datetime]]


def gather_rows(task: RowsTask, blobs: BlobStore, tables_url: str) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Every row that may train, oldest first, and facts about them. Raises BadInput where there is none.

    No row whose outcome became known after `decided_at`, none from `rows_until` on, none of a held window, none twice.
    """
    import polars as pl

    from flyball.judge.metrics.table import default_loss

    notes: list[str] = []
    base = _source_rows(task, blobs) if task.origin != "log" else None
    logged = _logged_rows(task, tables_url, _log_refusal(task, notes))
    if base is None and logged is None:
        raise BadInput(f"nothing to train {task.model.name} on: {'; '.join(notes) or 'no source, no log'}")
    held = 0
    if logged is not None:
        logged, held = _without_held(logged, task.held)
        logged = logged if base is None else _without_known(_like(logged, base), base, task, notes)
    frames = [frame for frame in (base, logged) if frame is not None]
    rows = pl.concat(frames, how="diagonal_relaxed").sort(AT, nulls_last=False, maintain_order=True)
    rows = rows.with_columns(
        pl.lit(None, dtype=pl.String).alias(name) for name in _unlogged(task, rows.columns)
    )
    if rows.height == 0:
        raise BadInput(
            f"no row of {task.model.name} has an outcome that was known at {task.decided_at:%Y-%m-%d}"
        )
    if held:
        notes.append(f"{held} rows of windows with broken data are left out")
    times = rows.filter(pl.col(AT).is_not_null())[AT]
    return rows, {
        "rows": rows.height,
        "loss": default_loss(task.model.task),
        "source_rows": 0 if base is None else base.height,
        "logged_rows": 0 if logged is None else logged.height,
        "held_rows": held,
        "from": _iso(times.min()),
        "until": _iso(times.max()),
        "latest_outcome_known_at": _iso(rows[KNOWN_AT].max()),
        "notes": notes,
    }


def snapshot_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with the project's own columns only."""
    return rows.drop(INNER)


def _source_rows(task: RowsTask, blobs: BlobStore) -> pl.DataFrame:
    """Rows of the first training (or of the source as it is now), with the moments at which they were known."""
    import polars as pl

    from flyball.data.rows import event_times
    from flyball.data.snapshots import read_snapshot

    if task.origin == "source":
        frame = _read_again(task)
    else:
        frame = read_snapshot(task.root_snapshot, blobs)
    frame = frame.filter(pl.col(task.model.target).is_not_null())
    time = task.model.time
    if time is None:
        return frame.with_columns(_constants(at=None, known_at=None))
    delay = timedelta(seconds=task.outcome_delay_seconds)
    at = event_times(frame, time)
    frame = frame.with_columns(at.alias(AT), (at + delay).alias(KNOWN_AT), *_rest(is_logged=False))
    return frame.filter((pl.col(KNOWN_AT) <= task.decided_at) & (pl.col(AT) < task.rows_until))


def _read_again(task: RowsTask) -> pl.DataFrame:
    from flyball.data.joins import join_sources
    from flyball.data.sources import read_source

    folder = Path(task.folder or ".")
    frame = read_source(task.data.source, folder=folder, query=task.data.query)
    if task.data.join:
        frame = join_sources(frame, task.data.join, time=task.model.time, folder=folder)
    return frame


def _unlogged(task: RowsTask, present: list[str]) -> list[str]:
    """Columns that the project file names and no row has: requests don't carry what is no feature."""
    return [name for name in (*task.data.exclude, *task.data.protected) if name not in present]


def _log_refusal(task: RowsTask, notes: list[str]) -> str | None:
    """Why the log can't train, or None. Raises BadInput where nothing else was asked for."""
    because = None
    lost = [name for name in task.features if name in (*task.log.drop, *task.log.hash)]
    if task.has_train_steps:
        because = "the log holds what steps made of the rows, not the rows"
    elif lost:
        because = f"the log lacks {', '.join(lost)} ([log].drop or hash)"
    elif task.log.durability == "none":
        because = "nothing is logged"
    elif task.log.sample < 1.0 and task.origin == "log":
        because = f"the log keeps {task.log.sample:.0%} of requests only"
    if because is None or task.origin == "source":
        return because
    if task.origin == "log":
        raise BadInput(f'[retrain].from = "log" can\'t be done: {because}; use "source" or "both"')
    notes.append(f"logged requests are left out: {because}")
    return because


def _logged_rows(task: RowsTask, tables_url: str, refusal: str | None) -> pl.DataFrame | None:
    """Requests with outcomes known by then, with how bad the champion's own answer to each was."""
    import polars as pl

    from flyball.data.predictions import read_labelled

    if task.origin == "source" or refusal is not None:
        return None
    known = read_labelled(
        tables_url,
        task.model.name,
        _BEGINNING,
        task.rows_until,
        task.decided_at,
        roles=("champion", "candidate", "shadow"),
        inner=True,
    )
    served = known.filter((pl.col("role") != "shadow") & (pl.col("error").fill_null("") != "rejected"))
    if served.height == 0:
        return None
    rows = served.join(_champion_harms(known, task), on="id", how="left", maintain_order="left")
    named = [pl.col("outcome").alias(task.model.target)]
    named += [pl.col(f"x.{name}").alias(name) for name in task.features if f"x.{name}" in rows.columns]
    taken = {task.model.target, *task.features}
    if task.model.time is not None and task.model.time not in taken:
        named.append(pl.col("at").alias(task.model.time))
    if task.model.entity is not None and task.model.entity not in taken:
        named.append(pl.col("entity").alias(task.model.entity))
    return rows.select(
        *named,
        pl.col("at").alias(AT),
        pl.col("known_at").alias(KNOWN_AT),
        pl.col(HARM),
        pl.lit(True).alias(LOGGED),
    )


def _champion_harms(known: pl.DataFrame, task: RowsTask) -> pl.DataFrame:
    """Per prediction id, the loss of the answer that the champion gave, in whatever role it gave it."""
    import polars as pl

    from flyball.judge.metrics.table import default_loss

    own = known.filter((pl.col("answered") == task.champion) & pl.col("prediction").is_not_null()).unique(
        "id", keep="first", maintain_order=True
    )
    shape = shape_of(task.model.task, default_loss(task.model.task), task.classes, task.positive)
    harms = row_harms(own, shape) if own.height else None
    if harms is None:
        return own.head(0).select("id", pl.lit(None, dtype=pl.Float64).alias(HARM))
    return own.select("id").with_columns(pl.Series(HARM, harms))


def _without_held(logged: pl.DataFrame, held: list[tuple[datetime, datetime]]) -> tuple[pl.DataFrame, int]:
    import polars as pl

    before = logged.height
    for start, end in held:
        logged = logged.filter(~((pl.col(AT) >= start) & (pl.col(AT) < end)))
    return logged, before - logged.height


def _like(logged: pl.DataFrame, base: pl.DataFrame) -> pl.DataFrame:
    """Logged rows with the source's column types; a value that does not fit becomes null."""
    import polars as pl

    columns = []
    for name in logged.columns:
        kind = base.schema.get(name)
        if kind is None or name in INNER or logged.schema[name] == kind:
            columns.append(pl.col(name))
        elif kind.is_temporal() and logged.schema[name] == pl.String:
            columns.append(
                pl.col(name).str.to_datetime(time_zone="UTC", strict=False).cast(kind, strict=False)
            )
        elif kind.is_integer() and logged.schema[name] == pl.String:
            columns.append(pl.col(name).cast(pl.Float64, strict=False).cast(kind, strict=False))
        elif kind == pl.Boolean and logged.schema[name] == pl.String:
            columns.append(pl.col(name).replace_strict({"true": True, "false": False}, default=None))
        else:
            columns.append(pl.col(name).cast(kind, strict=False))
    return logged.select(columns)


def _without_known(
    logged: pl.DataFrame, base: pl.DataFrame, task: RowsTask, notes: list[str]
) -> pl.DataFrame:
    """Logged rows that the source does not hold already: the same entity (or the same inputs) at the same time."""
    import polars as pl

    if task.model.time is None:
        return logged
    keys = [AT]
    if (
        task.model.entity is not None
        and task.model.entity in logged.columns
        and task.model.entity in base.columns
    ):
        keys.append(task.model.entity)
    else:
        keys += [name for name in task.features if name in logged.columns and name in base.columns]
    kept = logged.join(
        base.select(keys).unique(), on=keys, how="anti", nulls_equal=True, maintain_order="left"
    )
    if kept.height < logged.height:
        notes.append(f"{logged.height - kept.height} logged rows are in the source already")
    return kept.filter(pl.col(task.model.target).is_not_null())


def _constants(*, at: datetime | None, known_at: datetime | None) -> list[Any]:
    import polars as pl

    moment = pl.Datetime("us", "UTC")
    return [
        pl.lit(at, dtype=moment).alias(AT),
        pl.lit(known_at, dtype=moment).alias(KNOWN_AT),
        *_rest(is_logged=False),
    ]


def _rest(*, is_logged: bool) -> list[Any]:
    import polars as pl

    return [pl.lit(None, dtype=pl.Float64).alias(HARM), pl.lit(is_logged).alias(LOGGED)]


def _iso(moment: Any) -> str | None:
    return isoformat(moment) if isinstance(moment, datetime) else None
