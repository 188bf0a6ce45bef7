"""The worker's side of the prediction log: what is written before an answer leaves, and what happens without room."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Literal

from flyball.core.errors import FlyballError
from flyball.core.records import LogRecord
from flyball.data.spool import LogRules, SpoolWriter
from flyball.serving.metrics import Value, WorkerMetrics

COMPLAIN_SECONDS = 10.0

log = logging.getLogger("flyball.worker")


class LogPolicy:
    """The [log] section of one model as the journal applies it, and the model's counters."""

    def __init__(
        self,
        model: str,
        rules: LogRules,
        durability: Literal["process", "disk", "none"],
        refuses: bool,
        metrics: WorkerMetrics,
    ) -> None:
        self.rules = rules
        self.durability = durability
        self.refuses = refuses
        self.written = metrics.value("flyball_log_records_total", model=model)
        self.dropped = metrics.value("flyball_log_dropped_total", model=model)


Batch = tuple[LogPolicy, list[LogRecord]]


class Journal:
    """Writes records of all models of a worker to its segments."""

    def __init__(self, spool: SpoolWriter) -> None:
        self._spool = spool
        self.written = 0
        self.dropped = 0
        self.is_full = False
        self._complained_at = float("-inf")

    def write(self, batches: Iterable[Batch]) -> asyncio.Future[None] | None:
        """Hand records to the operating system, in one write.

        Returns what to wait for where a model wants its records on disk, else None. Raises FlyballError or OSError
        when nothing could be written; `drop` is how that is accepted.
        """
        records: list[LogRecord] = []
        on_disk = False
        counts: list[tuple[Value, int]] = []
        for policy, given in batches:
            if policy.durability == "none":
                continue
            prepared = policy.rules.prepare(given)
            if prepared:
                records += prepared
                on_disk |= policy.durability == "disk"
                counts.append((policy.written, len(prepared)))
        if not records:
            return None
        future = None
        if on_disk:
            future = asyncio.wrap_future(self._spool.append_synced(records))
        else:
            self._spool.append(records)
        self.is_full = False
        self.written += len(records)
        for value, count in counts:
            value.add(count)
        return future

    def write_or_drop(self, policy: LogPolicy, records: list[LogRecord]) -> None:
        """Write records nobody waits for: shadows and failures."""
        try:
            self.write([(policy, records)])
        except (FlyballError, OSError) as error:
            self.drop(policy, len(records), error)

    def drop(self, policy: LogPolicy, count: int, error: Exception) -> None:
        """Go on without these records: counted, shown in the status, and complained about now and then."""
        self.dropped += count
        self.is_full = True
        policy.dropped.add(count)
        now = time.monotonic()
        if now - self._complained_at > COMPLAIN_SECONDS:
            self._complained_at = now
            log.error("%d records not logged so far: %s", self.dropped, error)

    def close(self) -> None:
        """Sync and close the open segment."""
        self._spool.close()
