"""What a folder remembers between two folds, so that a small batch costs no look at the whole log."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from flyball.core.records import OutcomeRecord, PredictionRecord
from flyball.data.intake import Intake
from flyball.data.log_counts import LogCounts
from flyball.data.log_keys import MOST_KEYS, LoggedKeys, find_keys, load_keys
from flyball.data.log_tables import find_generation, last_committed

if TYPE_CHECKING:
    import polars as pl


class ModelMemory:
    """Keys and counts of one model, as of the last settled batch."""

    def __init__(self, keys: LoggedKeys, counts: LogCounts) -> None:
        self.keys = keys
        self.counts = counts


class FoldMemory:
    """Holds for one place of tables, as of the last batch this process settled.

    Only ever a saving of time: when the database names another last batch, everything is forgotten and read again.
    """

    def __init__(self, tables_url: str) -> None:
        self.tables_url = tables_url
        self.lock = threading.Lock()
        self._batch = -1
        self._models: dict[str, ModelMemory] = {}
        self._generations: dict[tuple[str, str, tuple[str, ...]], int] = {}
        self._committed: dict[str, int] = {}
        self._appended: dict[str, int] = {}

    def start(self, last_batch: int) -> None:
        """Begin a fold; what was remembered as of another batch is dropped."""
        if last_batch != self._batch:
            self._models.clear()
            self._generations.clear()
            self._committed.clear()
            self._batch = last_batch

    def is_as_of(self, last_batch: int) -> bool:
        """Whether what is remembered includes everything up to this batch, and nothing later."""
        return last_batch == self._batch

    def last_committed(self, models: Iterable[str], application: str) -> int:
        """The highest batch that the tables of these models have seen, or an earlier batch than this process's own.

        After the database was restored from a backup, the tables are ahead of it.
        """
        for name in models:
            if name not in self._committed:
                self._committed[name] = last_committed(self.tables_url, name, application)
        return max(self._committed.values(), default=0)

    def model(self, name: str, stored: LogCounts, batch: int) -> ModelMemory:
        """Keys and counts of a model before this batch; counted from the tables when they are not remembered."""
        if name not in self._models:
            keys, totals = load_keys(self.tables_url, name, batch)
            counts = msgspec.structs.replace(
                stored,
                predictions=totals.predictions,
                shadows=totals.shadows,
                failures=totals.failures,
                outcomes=totals.outcomes,
                conflicts=totals.conflicts,
                pending=len(keys.pending),
            )
            self._models[name] = ModelMemory(keys, counts)
        return self._models[name]

    def sort_out(
        self,
        name: str,
        stored: LogCounts,
        batch: int,
        predictions: Sequence[PredictionRecord],
        outcomes: Sequence[OutcomeRecord],
        *,
        has_time: bool,
    ) -> Intake:
        """What of these records is new to the model's tables."""
        keys = self.model(name, stored, batch).keys
        if not keys.is_complete:
            found = find_keys(self.tables_url, name, batch, predictions, outcomes)
            found.pending = keys.pending
            keys = found
        return Intake(keys, predictions, outcomes, has_time=has_time)

    def counts_after(self, name: str, intake: Intake, batch: int) -> LogCounts:
        """The model's counts once this intake is in its tables."""
        memory = self._models[name]
        pending = len(memory.keys.pending) - len(intake.resolved) + len(intake.added.pending)
        return intake.count(memory.counts, pending, batch)

    def settle(self, batch: int, intakes: dict[str, tuple[Intake, LogCounts]]) -> None:
        """Remember a settled batch."""
        for name, (intake, counts) in intakes.items():
            memory = self._models[name]
            keys, added = memory.keys, intake.added
            keys.pending = (keys.pending - intake.resolved) | added.pending
            if keys.is_complete:
                keys.answers.update(added.answers)
                keys.moments |= added.moments
                keys.outcomes |= added.outcomes
                if keys.size > MOST_KEYS:
                    keys.forget_all_but_pending()
            memory.counts = counts
        self._batch = batch

    def forget(self) -> None:
        """Drop everything; the next fold reads the tables."""
        self._batch = -1

    def generation(self, kind: str, model: str, columns: dict[str, pl.DataType]) -> int:
        """The generation of the model's tables that takes rows of these columns."""
        key = (kind, model, tuple(f"{name}:{column}" for name, column in columns.items()))
        if key not in self._generations:
            self._generations[key] = find_generation(self.tables_url, kind, model, columns)
        return self._generations[key]

    def note_append(self, table_url: str) -> None:
        """Count an append to a table."""
        self._appended[table_url] = self._appended.get(table_url, 0) + 1

    def list_fragmented(self, most_appends: int) -> list[str]:
        """Tables that got more appends than this since they were compacted, as far as is known here."""
        return [url for url, count in self._appended.items() if count > most_appends]

    def note_compaction(self, table_url: str) -> None:
        """The table was compacted."""
        self._appended[table_url] = 0
