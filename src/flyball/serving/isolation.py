"""A version in a process of its own: asked with a deadline, started again when it dies, given up on when it goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import msgspec

from flyball.core.clock import Clock
from flyball.core.digests import digest_json
from flyball.serving.answers import find_fault
from flyball.serving.faults import Breaker, ModelFault
from flyball.serving.link import Link, ProcessSpec, launch

START_TRIES = 3
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
POISON_LIMIT = 2
POISON_KEPT = 1000


class NotReady(Exception):
    """The process is starting, starting again, or given up on; the message says which."""


class Poisoned(Exception):
    """This very request has ended the process twice; it is not tried again."""


class ProcessAnswers(msgspec.Struct, frozen=True):
    """Checked answers, one per row asked."""

    predictions: list[Any]
    scores: list[list[float]] | None


class ModelProcess:
    """One version in a process of its own.

    `breaker` counts its faults and ends it for good once tripped; without one (a champion) it is started again
    however often it dies, with growing pauses. `on_fault` is called at each fault, `clock` dates them.
    """

    def __init__(
        self,
        spec: ProcessSpec,
        *,
        breaker: Breaker | None,
        on_fault: Callable[[ModelFault], None],
        clock: Clock,
    ) -> None:
        self.spec = spec
        self.breaker = breaker
        self._on_fault = on_fault
        self._clock = clock
        self._link: Link | None = None
        self._settled = asyncio.Event()
        self._changed = asyncio.Event()
        self._closing = asyncio.Event()
        self._problem = "is starting"
        self._poison: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether it can be asked now."""
        return self._link is not None

    @property
    def is_tripped(self) -> bool:
        """Whether it is asked no more in this rollout."""
        return self.breaker is not None and self.breaker.tripped

    @property
    def is_over(self) -> bool:
        """Whether it will never be ready again."""
        return self.is_tripped or self._closing.is_set()

    @property
    def problem(self) -> str:
        """Why it can't be asked now."""
        return self._problem

    @property
    def hop_us(self) -> int:
        """Microseconds a question without rows takes there and back: what being isolated costs, not the model."""
        return self._link.hop_us if self._link else 0

    @property
    def pid(self) -> int | None:
        """The process's id while it can be asked."""
        return self._link.process.pid if self._link else None

    async def start(self) -> bool:
        """Start it and wait until it is ready, or has failed to start; whether it is ready."""
        if self._task is None:
            name = f"{self.spec.model}@{self.spec.number}"
            self._task = asyncio.create_task(self._supervise(), name=f"model process {name}")
        await self._settled.wait()
        return self.is_ready

    async def wait_ready(self) -> bool:
        """Wait while it is starting (again); False when it was given up on or closed."""
        while not self.is_ready and not self.is_over:
            self._changed.clear()
            await self._changed.wait()
        return self.is_ready

    async def ask(self, rows: list[dict[str, Any]], deadline_seconds: float) -> ProcessAnswers:
        """Answers to rows. Raises NotReady, Poisoned, or ModelFault (which is counted already)."""
        link = self._link
        if link is None:
            raise NotReady(f"version {self.spec.number} {self._problem}")
        if self._poison and self._poison.get(digest_json(rows), 0) >= POISON_LIMIT:
            raise Poisoned("this request ended the model's process twice; it is not tried again")
        try:
            async with asyncio.timeout(deadline_seconds):
                reply = await link.ask(rows)
        except TimeoutError:
            fault = ModelFault("hang", f"no answer within {deadline_seconds:g} s")
            if link.has_stood_still(deadline_seconds):
                link.kill(fault)  # the death is counted, once for all who waited
            else:
                self._note(fault)
            raise fault from None
        wrong = find_fault(reply, len(rows), self.spec.classes)
        if wrong is not None:
            self._note(wrong)
            raise wrong
        if self.breaker is not None:
            self.breaker.note_success()
        return ProcessAnswers(reply.predictions or [], reply.scores)

    async def close(self, grace_seconds: float = 2.0) -> None:
        """Let it finish what it was asked, then end it."""
        self._closing.set()
        self._changed.set()
        if self._link is not None:
            await self._link.drain(grace_seconds)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def _note(self, fault: ModelFault) -> None:
        if self.breaker is not None and self.breaker.note_fault(fault, self._clock.now()):
            self._problem = f"was given up on after {self.breaker.count} faults, the last: {fault}"
            if self._link is not None:
                self._link.kill(fault)
            self._changed.set()
        self._on_fault(fault)

    async def _supervise(self) -> None:
        pause, failed_starts = FIRST_PAUSE_SECONDS, 0
        try:
            while not self.is_over:
                try:
                    link = await launch(self.spec)
                except ModelFault as fault:
                    failed_starts += 1
                    self._note_start(fault, failed_starts)
                else:
                    failed_starts = 0
                    await self._live(link)
                    pause = FIRST_PAUSE_SECONDS if link.answered else pause
                if not self.is_over:
                    await self._rest(pause)
                    pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        finally:
            self._link = None
            self._settled.set()
            self._changed.set()

    async def _live(self, link: Link) -> None:
        """From readiness to death."""
        self._link = link
        self._settled.set()
        self._changed.set()
        try:
            await link.watch(self.spec.memory_mb)
        finally:
            self._link = None
            self._problem = "is starting again" if not self.is_tripped else self._problem
            if self._closing.is_set():
                link.kill(ModelFault("crash", "this version is not served any more"))
            fault = await link.bury()
        # Only a champion needs it: a candidate that dies of a request again and again is to be given up on.
        if self.breaker is None and link.culprit is not None and len(self._poison) < POISON_KEPT:
            self._poison[link.culprit] = self._poison.get(link.culprit, 0) + 1
        if not self.is_over:
            self._note(fault)

    def _note_start(self, fault: ModelFault, failed_starts: int) -> None:
        self._problem = f"could not be started ({fault.reason})"
        if self.breaker is not None and failed_starts >= START_TRIES:
            self.breaker.trip(fault, self._clock.now())
        if self.breaker is None and failed_starts >= START_TRIES:
            self._settled.set()  # who waits for a champion is told; tries go on
        self._on_fault(fault)

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()
