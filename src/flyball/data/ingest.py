"""Folding: shipped segments become rows of the log's tables, each record once, with counts and model clocks.

A batch of segments is planned in the database, appended to the tables under its number, settled in the database
together with counts and clocks, and only then deleted from the object store. Killed anywhere in between and
repeated, it goes on: a table that holds the batch's number already refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from flyball.backends.blobs.store import BlobStore
from flyball.core.errors import AlreadyCommitted, NewerFormat, NotASegment, Unavailable
from flyball.core.records import RECORD_FORMAT, OutcomeRecord, PredictionRecord
from flyball.core.refs import MODEL_NAME
from flyball.data.fold_memory import FoldMemory
from flyball.data.intake import Intake
from flyball.data.log_counts import get_counts, put_counts
from flyball.data.log_schema import (
    DAY,
    UNTYPED,
    LogSchema,
    outcome_columns,
    outcomes_frame,
    prediction_columns,
    predictions_frame,
)
from flyball.data.log_tables import OUTCOMES, PREDICTIONS, generation_url
from flyball.data.model_time import begin_clock, note_event_time
from flyball.data.segment_book import (
    find_planned,
    known_states,
    last_settled,
    note_unreadable,
    plan_batch,
    settle_batch,
)
from flyball.data.segments import FOLDER, Segment, read_segment

if TYPE_CHECKING:
    import polars as pl
    from sqlalchemy import Connection

    from flyball.backends.db.database import Database

__all__ = ["FoldReport", "LogSchema", "ModelFold", "fold"]

APPLICATION = "fold"
BATCH_BYTES = 64 * 2**20
_SUFFIX = ".seg"
COMPACT_EVERY = 50
_memories: dict[str, FoldMemory] = {}


class ModelFold(msgspec.Struct, frozen=True, kw_only=True):
    """What a fold did for one model. `highest_event_at`: of the predictions in it, None without any."""

    predictions: int = 0
    shadows: int = 0
    failures: int = 0
    outcomes: int = 0
    duplicates: int = 0
    conflicts: int = 0
    pending: int = 0
    highest_event_at: datetime | None = None


class FoldReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a fold did; `segments` is 0 when there was nothing to do.

    `missing`: segments that were gone before they could be read. `unreadable`: objects that are no segments; they
    stay. `skipped`: segments of a newer format; they wait for a newer program.
    """

    batch: int | None = None
    segments: int = 0
    records: int = 0
    models: dict[str, ModelFold] = {}
    torn_bytes: int = 0
    damaged_frames: int = 0
    missing: list[str] = []
    unreadable: list[str] = []
    skipped: list[str] = []


class _Batch(msgspec.Struct):
    number: int
    segments: dict[str, Segment]
    missing: list[str]


class _Found(msgspec.Struct):
    """What lies in the object store: segments that can be read, and the names of those that can't."""

    segments: dict[str, Segment] = {}
    sizes: dict[str, int] = {}
    missing: list[str] = []
    unreadable: dict[str, int] = {}
    skipped: list[str] = []


def fold(
    database: Database,
    blobs: BlobStore,
    tables_url: str,
    models: Mapping[str, LogSchema],
    wall_now: datetime,
    *,
    limit: int = 64,
    memory: FoldMemory | None = None,
) -> FoldReport:
    """Fold at most `limit` shipped segments into the tables of their models; what was done.

    models: what types each model's log. A model that is not in it loses nothing: its input is kept as text.
    memory: what is remembered between folds; by default one per `tables_url` in this process.
    One process at a time should fold. Should two do so, each segment is still folded once.
    """
    memory = memory or _memories.setdefault(tables_url, FoldMemory(tables_url))
    with memory.lock:
        return _fold(database, blobs, tables_url, models, wall_now, limit, memory)


def _fold(
    database: Database,
    blobs: BlobStore,
    tables_url: str,
    models: Mapping[str, LogSchema],
    wall_now: datetime,
    limit: int,
    memory: FoldMemory,
) -> FoldReport:
    names = _list_names(blobs)
    with database.read() as conn:
        planned = find_planned(conn)
        states = known_states(conn, names) if names else {}
        memory.start(last_settled(conn))
    _delete(blobs, [name for name in names if states.get(name) == "folded"])
    new = [name for name in names if name not in states]
    if planned is None and not new:
        return FoldReport()
    found = _read(blobs, planned[1] if planned else new, None if planned else limit)
    batch = _plan(database, found, planned, memory, wall_now)
    if batch is None:
        return FoldReport(unreadable=sorted(found.unreadable), skipped=found.skipped)
    with database.read() as conn:
        grouped = _group(batch.segments)
        stored = {model: get_counts(conn, model) for model in grouped}
    intakes: dict[str, Intake] = {}
    for model, (predictions, outcomes) in grouped.items():
        schema = models.get(model, UNTYPED)
        intakes[model] = memory.sort_out(
            model, stored[model], batch.number, predictions, outcomes, has_time=schema.has_time
        )
        _append(tables_url, model, schema, intakes[model], batch.number, memory)
    report = _settle(database, batch, intakes, memory, wall_now)
    _delete(blobs, list(batch.segments))
    _compact(memory)
    return msgspec.structs.replace(report, unreadable=sorted(found.unreadable), skipped=found.skipped)


def _list_names(blobs: BlobStore) -> list[str]:
    """Names of shipped segments, by the time at which they were begun, so that no worker's run ahead."""
    keys = blobs.list(FOLDER)
    names = [key.removeprefix(FOLDER + "/").removesuffix(_SUFFIX) for key in keys if key.endswith(_SUFFIX)]
    return sorted(names, key=lambda name: (name.rpartition("-")[2], name))


def _read(blobs: BlobStore, names: Sequence[str], limit: int | None) -> _Found:
    """The segments of these names, at most `limit` of them and not many more bytes than BATCH_BYTES."""
    found = _Found()
    for name in names:
        if limit is not None and (len(found.segments) >= limit or sum(found.sizes.values()) >= BATCH_BYTES):
            break
        data = blobs.find(_key(name))
        if data is None:
            found.missing.append(name)
            continue
        try:
            segment = read_segment(data)
        except NewerFormat:
            found.skipped.append(name)
            continue
        except NotASegment:
            found.unreadable[name] = len(data)
            continue
        if any(record.format > RECORD_FORMAT for record in segment.records):
            found.skipped.append(name)
        elif not all(MODEL_NAME.match(record.model) for record in segment.records):
            found.unreadable[name] = len(data)
        else:
            found.segments[name] = segment
            found.sizes[name] = len(data)
    return found


def _plan(
    database: Database,
    found: _Found,
    planned: tuple[int, list[str]] | None,
    memory: FoldMemory,
    now: datetime,
) -> _Batch | None:
    """The batch to fold: the one that was planned and not settled, or one of what was found."""
    if planned is not None:
        gone = [name for name in planned[1] if name not in found.segments]
        return _Batch(planned[0], found.segments, gone)
    after = memory.last_committed(_group(found.segments), APPLICATION)
    with database.write() as conn:
        noted = known_states(conn, list(found.unreadable))
        for name, size in found.unreadable.items():
            if name not in noted:
                note_unreadable(conn, name, size, now)
        if not found.segments or _was_overtaken(conn, memory):
            return None  # nothing to do, or another folder was quicker: next time
        counts = {name: len(segment.records) for name, segment in found.segments.items()}
        return _Batch(plan_batch(conn, found.sizes, counts, after, now), found.segments, [])


def _was_overtaken(conn: Connection, memory: FoldMemory) -> bool:
    """Whether another folder planned or settled a batch since this one looked: what it remembers is then of before."""
    return find_planned(conn) is not None or not memory.is_as_of(last_settled(conn))


def _group(
    found: Mapping[str, Segment],
) -> dict[str, tuple[list[PredictionRecord], list[OutcomeRecord]]]:
    grouped: dict[str, tuple[list[PredictionRecord], list[OutcomeRecord]]] = {}
    for segment in found.values():
        for record in segment.records:
            predictions, outcomes = grouped.setdefault(record.model, ([], []))
            if isinstance(record, PredictionRecord):
                predictions.append(record)
            else:
                outcomes.append(record)
    return grouped


def _append(
    tables_url: str, model: str, schema: LogSchema, intake: Intake, batch: int, memory: FoldMemory
) -> None:
    """Bring an intake into the model's tables, unless they have this batch already."""
    if intake.predictions:
        columns = prediction_columns(schema)
        url = generation_url(tables_url, PREDICTIONS, model, memory.generation(PREDICTIONS, model, columns))
        _commit(url, predictions_frame(intake.predictions, intake.conflicts, schema, batch), batch, memory)
    if intake.outcomes:
        columns = outcome_columns(schema)
        url = generation_url(tables_url, OUTCOMES, model, memory.generation(OUTCOMES, model, columns))
        _commit(url, outcomes_frame(intake.outcomes, schema, batch), batch, memory)


def _commit(table_url: str, frame: pl.DataFrame, batch: int, memory: FoldMemory) -> None:
    from flyball.backends.tables.delta import append

    try:
        append(table_url, frame, partition_by=(DAY,), transactions={APPLICATION: batch})
    except AlreadyCommitted:
        return  # by a folder that was killed before it could settle the batch
    memory.note_append(table_url)


def _settle(
    database: Database, batch: _Batch, intakes: Mapping[str, Intake], memory: FoldMemory, now: datetime
) -> FoldReport:
    counts = {name: memory.counts_after(name, intake, batch.number) for name, intake in intakes.items()}
    with database.write() as conn:
        is_ours = settle_batch(conn, batch.number, batch.missing, now)
        for name, intake in intakes.items() if is_ours else ():
            put_counts(conn, msgspec.structs.replace(counts[name], updated_at=now))
            # The clock goes on from when the server saw the event, not from when it was folded.
            if intake.highest is not None:
                seen_at = min(intake.highest.received_at, now)
                note_event_time(conn, name, intake.highest.at, seen_at, has_time=intake.has_time)
            elif intake.untimed is not None:
                begin_clock(conn, name, min(intake.untimed.received_at, now))
    if is_ours:
        memory.settle(batch.number, {name: (intake, counts[name]) for name, intake in intakes.items()})
    else:
        memory.forget()
    return FoldReport(
        batch=batch.number,
        segments=len(batch.segments),
        records=sum(len(segment.records) for segment in batch.segments.values()),
        models={name: _report(intake, counts[name].pending) for name, intake in intakes.items()},
        torn_bytes=sum(segment.torn_bytes for segment in batch.segments.values()),
        damaged_frames=sum(segment.damaged_frames for segment in batch.segments.values()),
        missing=batch.missing,
    )


def _report(intake: Intake, pending: int) -> ModelFold:
    return ModelFold(
        predictions=intake.answered,
        shadows=intake.shadows,
        failures=intake.failures,
        outcomes=len(intake.added.outcomes),
        duplicates=intake.duplicates,
        conflicts=intake.conflicting,
        pending=pending,
        highest_event_at=intake.highest.at if intake.highest else None,
    )


def _compact(memory: FoldMemory) -> None:
    """Merge the small files of tables that got many; a table that can't be had now is tried next time."""
    from flyball.backends.tables.delta import compact

    for url in memory.list_fragmented(COMPACT_EVERY):
        try:
            compact(url)
        except Unavailable:
            continue
        memory.note_compaction(url)


def _delete(blobs: BlobStore, names: Sequence[str]) -> None:
    for name in names:
        blobs.delete(_key(name))


def _key(name: str) -> str:
    return f"{FOLDER}/{name}{_SUFFIX}"
