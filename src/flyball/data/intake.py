"""What of a batch is new: a pure comparison of one model's records with the keys that its tables hold."""

from __future__ import annotations

from collections.abc import Sequence

from flyball.core.records import OutcomeRecord, PredictionRecord
from flyball.data.log_counts import LogCounts
from flyball.data.log_keys import LoggedKeys, answer_key, fits, input_key, moment_key, outcome_key


class Intake:
    """One model's records of a batch, sorted out.

    `predictions` are to be appended, those with a true entry in `conflicts` as conflicts; records that came again
    with the same input are left out. `outcomes` are appended all: of those that say something about one prediction
    the last received holds, and which were known when can be asked later.

    `highest`: the record with the highest event time; `untimed`: the first one without any, which only a model with a
    time column (`has_time`) can have.
    """

    def __init__(
        self,
        keys: LoggedKeys,
        predictions: Sequence[PredictionRecord],
        outcomes: Sequence[OutcomeRecord],
        *,
        has_time: bool = False,
    ) -> None:
        self.has_time = has_time
        self.predictions: list[PredictionRecord] = []
        self.conflicts: list[bool] = []
        self.outcomes = sorted(outcomes, key=lambda record: record.received_at)
        self.added = LoggedKeys()
        self.resolved: set[int] = set()
        self.answered = self.shadows = self.failures = self.duplicates = self.conflicting = 0
        self.highest: PredictionRecord | None = None
        self.untimed: PredictionRecord | None = None
        for prediction in sorted(predictions, key=lambda record: record.received_at):
            self._take_prediction(keys, prediction)
        for outcome in self.outcomes:
            self._take_outcome(keys, outcome)
        self.resolved = {key for key in keys.pending if fits(key, self.added)}

    def _take_prediction(self, keys: LoggedKeys, record: PredictionRecord) -> None:
        key, seen = answer_key(record), input_key(record)
        before = keys.answers.get(key, self.added.answers.get(key))
        if before == seen:
            self.duplicates += 1
            return
        self.predictions.append(record)
        self.conflicts.append(before is not None)
        if before is not None:
            self.conflicting += 1
            return
        self.added.answers[key] = seen
        if record.role == "shadow":
            self.shadows += 1
            return
        if record.entity is not None:
            self.added.moments.add(moment_key(record.entity, record.at))
        self.answered += record.answered is not None
        self.failures += record.answered is None
        # Serving puts a row without an event time at exactly the moment it was received at.
        if self.has_time and record.at == record.received_at:
            self.untimed = self.untimed or record
        elif self.highest is None or record.at > self.highest.at:
            self.highest = record

    def _take_outcome(self, keys: LoggedKeys, record: OutcomeRecord) -> None:
        key = outcome_key(record)
        if key in keys.outcomes or key in self.added.outcomes:
            return
        self.added.outcomes.add(key)
        if not fits(key, keys) and not fits(key, self.added):
            self.added.pending.add(key)

    def count(self, before: LogCounts, pending: int, batch: int) -> LogCounts:
        """The model's counts after this batch, `pending` of which are known to be open."""
        return LogCounts(
            model=before.model,
            predictions=before.predictions + self.answered,
            shadows=before.shadows + self.shadows,
            failures=before.failures + self.failures,
            outcomes=before.outcomes + len(self.added.outcomes),
            pending=pending,
            duplicates=before.duplicates + self.duplicates,
            conflicts=before.conflicts + self.conflicting,
            batch=batch,
        )
