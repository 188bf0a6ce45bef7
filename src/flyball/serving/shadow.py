"""Shadow answers: the candidate is asked after the champion has answered, and only the log learns what it said."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable

from flyball.core.records import PredictionRecord
from flyball.serving.faults import ModelFault
from flyball.serving.isolation import ModelProcess, NotReady, Poisoned, ProcessAnswers
from flyball.serving.metrics import Value

ROWS_LIMIT = 20_000
DEADLINE_SECONDS = 5.0

Finish = Callable[[list[PredictionRecord], ProcessAnswers | None], None]


class ShadowQueue:
    """Rows a shadow is still to be asked about, in order of arrival.

    Bounded by 20,000 rows: while the shadow keeps up, none is left out, not even while its process starts again;
    beyond the bound rows are left out and counted. `finish` gets the records (with latency, and with the error where
    there is no answer) and the answers, and logs them.
    """

    def __init__(self, process: ModelProcess, finish: Finish, dropped: Value) -> None:
        self.asked = 0
        self.dropped = 0
        self._process = process
        self._finish = finish
        self._dropped = dropped
        self._waiting: deque[list[PredictionRecord]] = deque()
        self._rows = 0
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task = asyncio.create_task(self._work(), name="shadow")

    @property
    def process(self) -> ModelProcess:
        """The shadow's process."""
        return self._process

    @property
    def waiting(self) -> int:
        """Rows that wait to be asked about."""
        return self._rows

    def offer(self, records: list[PredictionRecord]) -> None:
        """Have the shadow asked about these rows as soon as it is free. Never waits."""
        if self._process.is_over:
            return
        if self._rows + len(records) > ROWS_LIMIT:
            self.dropped += len(records)
            self._dropped.add(len(records))
            return
        self._rows += len(records)
        self._waiting.append(records)
        self._idle.clear()
        self._arrived.set()

    async def close(self, patience_seconds: float) -> None:
        """Take nothing more; answer what waits, at most this long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                await self._idle.wait()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _work(self) -> None:
        while True:
            self._arrived.clear()
            while self._waiting:
                if not await self._process.wait_ready():
                    self._waiting.clear()  # given up on: the breaker's report says so, the log need not
                    self._rows = 0
                    break
                records = self._waiting[0]
                if await self._ask(records):
                    self._waiting.popleft()
                    self._rows -= len(records)
            self._idle.set()
            await self._arrived.wait()

    async def _ask(self, records: list[PredictionRecord]) -> bool:
        """Ask about one request's rows and log what came; False when the process was not there to be asked."""
        started = time.perf_counter_ns()
        answers: ProcessAnswers | None = None
        try:
            answers = await self._process.ask([record.input for record in records], DEADLINE_SECONDS)
        except NotReady:
            return False
        except (ModelFault, Poisoned) as error:
            for record in records:
                record.error = str(error)
        spent = max((time.perf_counter_ns() - started) // 1000 - self._process.hop_us, 0)
        for record in records:
            record.latency_us = spent
        self.asked += len(records)
        self._finish(records, answers)
        return True
