"""Which ids, moments and outcomes a model's tables hold: what tells a new record from one that came again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from flyball.core.records import OutcomeRecord, PredictionRecord
from flyball.data.log_schema import input_hash
from flyball.data.log_tables import OUTCOMES, PREDICTIONS, scan_generations

if TYPE_CHECKING:
    import polars as pl

# Rows of a model's two tables: about 60 MB of keys. Beyond it, each fold looks its own keys up in the tables.
MOST_KEYS = 400_000


class LoggedKeys:
    """Keys of one model's log: all of them (`is_complete`), or those that were asked for.

    Held as 64-bit hashes of this process. `answers`: hash of (id, is shadow) to the hash of the input's hash.
    `moments`: (entity, event time) of answers. `outcomes`: outcome keys. `pending`: outcome keys that fit nothing.
    """

    def __init__(self) -> None:
        self.answers: dict[int, int] = {}
        self.moments: set[int] = set()
        self.outcomes: set[int] = set()
        self.pending: set[int] = set()
        self.is_complete = True

    @property
    def size(self) -> int:
        """Number of keys held."""
        return len(self.answers) + len(self.moments) + len(self.outcomes)

    def forget_all_but_pending(self) -> None:
        """Keep only what can't be looked up quickly in the tables."""
        self.answers, self.moments, self.outcomes = {}, set(), set()
        self.is_complete = False


class Totals:
    """What the tables hold of one model, each key counted once."""

    def __init__(self) -> None:
        self.predictions = self.shadows = self.failures = self.conflicts = self.outcomes = 0


def answer_key(record: PredictionRecord) -> int:
    """One per id, whichever version answered; a shadow's answer to the same row has its own."""
    return hash((record.id, record.role == "shadow"))


def input_key(record: PredictionRecord) -> int:
    """Tells two inputs under one id apart."""
    return hash(input_hash(record))


def moment_key(entity: str | None, at: datetime | None) -> int:
    """Of an entity at an event time."""
    return hash(("at", entity, at))


def outcome_key(record: OutcomeRecord) -> int:
    """What an outcome is about: a prediction's id, or an entity at an event time."""
    return _outcome_key(record.prediction_id, record.entity, record.time)


def fits(key: int, keys: LoggedKeys) -> bool:
    """Whether the outcome with this key belongs to a prediction that is known here."""
    return key in keys.answers or key in keys.moments


def _outcome_key(prediction_id: str | None, entity: str | None, time: datetime | None) -> int:
    # The same form as the key of the answer or moment it belongs to, so that one look-up tells whether it fits.
    return hash((prediction_id, False)) if prediction_id is not None else moment_key(entity, time)


def load_keys(tables_url: str, model: str, before_batch: int) -> tuple[LoggedKeys, Totals]:
    """All keys that were folded in earlier batches; of a large log the pending ones only."""
    import polars as pl

    earlier = pl.col("batch") < before_batch
    predictions = [table.filter(earlier) for table in scan_generations(tables_url, PREDICTIONS, model)]
    outcomes = [table.filter(earlier) for table in scan_generations(tables_url, OUTCOMES, model)]
    keys, totals = LoggedKeys(), Totals()
    if sum(_count_rows(table) for table in (*predictions, *outcomes)) > MOST_KEYS:
        keys.is_complete = False
        _count_large(totals, predictions)
        totals.outcomes = _count_told(outcomes)
        keys.pending = _find_pending(predictions, outcomes)
        return keys, totals
    _load_predictions(keys, totals, predictions)
    _load_outcomes(keys, outcomes)
    keys.pending = {key for key in keys.outcomes if not fits(key, keys)}
    totals.outcomes = len(keys.outcomes)
    return keys, totals


def find_keys(
    tables_url: str,
    model: str,
    before_batch: int,
    predictions: Sequence[PredictionRecord],
    outcomes: Sequence[OutcomeRecord],
) -> LoggedKeys:
    """Of the keys that these records have or point at, those that were folded in earlier batches."""
    import polars as pl

    keys = LoggedKeys()
    keys.is_complete = False
    ids = {record.id for record in predictions}
    targets = {record.prediction_id for record in outcomes if record.prediction_id is not None}
    entities = {record.entity for record in outcomes if record.prediction_id is None}
    wanted = pl.col("id").is_in(sorted(ids | targets)) | pl.col("entity").is_in(_sorted(entities))
    tables = scan_generations(tables_url, PREDICTIONS, model)
    earlier = pl.col("batch") < before_batch
    _load_predictions(keys, Totals(), [table.filter(earlier, wanted) for table in tables])
    told = pl.col("prediction_id").is_in(sorted(targets)) | pl.col("entity").is_in(_sorted(entities))
    tables = scan_generations(tables_url, OUTCOMES, model)
    _load_outcomes(keys, [table.filter(earlier, told) for table in tables])
    return keys


def _load_predictions(keys: LoggedKeys, totals: Totals, tables: Iterable[pl.LazyFrame]) -> None:
    import polars as pl

    for table in tables:
        rows = table.select(
            "id", pl.col("role") == "shadow", "input_hash", "entity", "at", "answered", "conflict"
        ).collect()
        for name, shadow, seen, entity, at, answered, conflict in rows.iter_rows():
            if conflict:
                totals.conflicts += 1
                continue
            keys.answers.setdefault(hash((name, shadow)), hash(seen))
            if entity is not None and not shadow:
                keys.moments.add(moment_key(entity, at))
            _count(totals, shadow, answered)


def _count(totals: Totals, shadow: bool, answered: Any) -> None:
    if shadow:
        totals.shadows += 1
    elif answered is None:
        totals.failures += 1
    else:
        totals.predictions += 1


def _load_outcomes(keys: LoggedKeys, tables: Iterable[pl.LazyFrame]) -> None:
    for table in tables:
        rows = table.select("prediction_id", "entity", "time").collect()
        keys.outcomes.update(_outcome_key(*row) for row in rows.iter_rows())


def _count_rows(table: pl.LazyFrame) -> int:
    import polars as pl

    return int(table.select(pl.len()).collect().item())


def _count_large(totals: Totals, tables: Iterable[pl.LazyFrame]) -> None:
    import polars as pl

    shadow, conflict, answered = (
        pl.col("role") == "shadow",
        pl.col("conflict"),
        pl.col("answered").is_not_null(),
    )
    for table in tables:
        sums = table.select(
            predictions=(~conflict & ~shadow & answered).sum(),
            failures=(~conflict & ~shadow & ~answered).sum(),
            shadows=(~conflict & shadow).sum(),
            conflicts=conflict.sum(),
        ).collect(engine="streaming")
        for name, value in sums.row(0, named=True).items():
            setattr(totals, name, getattr(totals, name) + int(value))


def _told(tables: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    import polars as pl

    by_id = pl.col("prediction_id").is_null()
    return pl.concat(
        [
            table.select(
                "prediction_id",
                entity=pl.when(by_id).then(pl.col("entity")),
                time=pl.when(by_id).then(pl.col("time")),
            )
            for table in tables
        ]
    ).unique()


def _count_told(tables: Sequence[pl.LazyFrame]) -> int:
    import polars as pl

    return int(_told(tables).select(pl.len()).collect(engine="streaming").item()) if tables else 0


def _find_pending(predictions: Sequence[pl.LazyFrame], outcomes: Sequence[pl.LazyFrame]) -> set[int]:
    import polars as pl

    if not outcomes:
        return set()
    told = _told(outcomes)
    for table in predictions:
        answers = table.filter(pl.col("role") != "shadow")
        told = told.join(answers.select(prediction_id="id"), on="prediction_id", how="anti")
        told = told.join(answers.select("entity", time="at"), on=["entity", "time"], how="anti")
    return {_outcome_key(*row) for row in told.collect(engine="streaming").iter_rows()}


def _sorted(entities: Collection[str | None]) -> list[str]:
    return sorted(entity for entity in entities if entity is not None)
