"""New routes: seen by polling, loaded beside what is served, and put in its place in one step."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from pathlib import Path

from flyball.backends.blobs.store import BlobStore
from flyball.core.errors import BlobsUnavailable, Corrupt, FlyballError, NewerFormat
from flyball.core.records import PredictionRecord
from flyball.data.spool import read_hash_key
from flyball.registry.route_table import RouteTable, find_next, list_before, list_routed_models
from flyball.serving import routes_seen
from flyball.serving.faults import ModelFault
from flyball.serving.isolation import ProcessAnswers
from flyball.serving.journal import Journal
from flyball.serving.metrics import WorkerMetrics
from flyball.serving.served import Served, ServedModels, Version, decide
from flyball.serving.shadow import ShadowQueue
from flyball.serving.shelf import Shelf
from flyball.serving.status import StatusBoard

MODELS_SECONDS = 1.0
LONGEST_POLL_SECONDS = 5.0
RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 30.0
SHADOW_PATIENCE_SECONDS = 5.0
STORE = "object store"  # what a problem is about, beside models: their names hold no spaces
KNOWN = (FlyballError, OSError, ModelFault)

log = logging.getLogger("flyball.worker")


class Adoption:
    """Keeps `models` (name to what is served) up to date with the published routes.

    A revision is served once everything it needs is loaded; until then the one before it is. A newer revision does
    not wait for an older one that is still loading. What can't be loaded is tried again and reported; a worker that
    has just started and has nothing to go on with looks for the last revision whose champion it can load.
    """

    def __init__(
        self,
        models: ServedModels,
        *,
        wanted: list[str] | None,
        poll_seconds: float,
        routes_folder: Path,
        shelf: Shelf,
        journal: Journal,
        metrics: WorkerMetrics,
        key_path: Path,
        board: StatusBoard,
        slot: int,
        blobs: Callable[[], BlobStore],
    ) -> None:
        self._models = models
        self._wanted = wanted
        self._poll_seconds = poll_seconds
        self._folder = routes_folder
        self._shelf = shelf
        self._journal = journal
        self._metrics = metrics
        self._key_path = key_path
        self._board = board
        self._slot = slot
        self._blobs = blobs
        self._routed: list[str] = list(wanted or [])
        self._seen: dict[str, int] = {}
        self._unread: dict[str, str] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._asides: set[asyncio.Task[None]] = set()
        self._listed_at = float("-inf")
        for model in self._routed:
            models.unserved[model] = "no route of it was found in the object store"

    async def start(self) -> None:
        """Adopt what was served last and what is published now; come back when each model was tried once."""
        for table in await asyncio.to_thread(routes_seen.recall, self._folder):
            if self._wanted is None or table.model in self._wanted:
                self._begin(table)
        try:
            await self._poll()
        except (FlyballError, OSError) as error:
            self._board.problems[STORE] = str(error)
            self._models.unread = f"its routes can't be read: {_words(error)}"
            log.warning("starting with the last known routes: %s", error)
        await asyncio.gather(*(self._first_try(model) for model in list(self._tasks)))

    async def run(self) -> None:
        """Poll until cancelled."""
        failures = 0
        while True:
            pause = self._poll_seconds
            if failures:
                pause = min(pause * 2**failures, LONGEST_POLL_SECONDS) * (0.5 + random.random() / 2)
            await asyncio.sleep(pause)
            try:
                await self._poll()
            except (FlyballError, OSError) as error:
                failures += 1
                self._board.problems[STORE] = str(error)
                if failures == 1:
                    log.warning("routes can't be read, serving the last known: %s", error)
                    self._board.change()
            else:
                if self._board.problems.pop(STORE, None) is not None:
                    self._board.change()
                failures = 0

    async def close(self) -> None:
        """Stop loading, let shadows finish, end every process."""
        for task in (*self._tasks.values(), *self._asides):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), *self._asides, return_exceptions=True)
        shadows = [served.shadow for served in self._models.values() if served.shadow is not None]
        await asyncio.gather(*(shadow.close(SHADOW_PATIENCE_SECONDS) for shadow in shadows))
        await self._shelf.close()

    async def _poll(self) -> None:
        tables, unread = await asyncio.to_thread(self._look)
        for table in tables:
            self._begin(table)
        for model in self._routed:
            self._tell_unread(model, unread.get(model))
        self._models.unread = None

    def _tell_unread(self, model: str, problem: str | None) -> None:
        """Say once that a model's routes can't be read, and take it back when they can. It keeps what it serves."""
        before = self._unread.pop(model, None)
        if problem is None:
            if before is not None and self._board.problems.get(model) == before:
                del self._board.problems[model]
                self._board.change()
            return
        if before is None:
            log.error("%s: %s", model, problem)
        self._unread[model] = problem
        # One about a revision that is known stands first.
        if self._board.problems.get(model, before) == before:
            self._board.problems[model] = problem
        if model not in self._models:
            self._models.unserved[model] = problem
        if problem != before:
            self._board.change()

    def _look(self) -> tuple[list[RouteTable], dict[str, str]]:
        """Newer tables than those seen, and why those of a model can't be read. Runs in a thread."""
        blobs = self._blobs()
        if self._wanted is None and time.monotonic() - self._listed_at > MODELS_SECONDS:
            routed = list_routed_models(blobs)
            if self._routed and not routed:
                # Published routes are never removed: a folder that was moved away or is not mounted looks empty.
                raise BlobsUnavailable("the published routes are gone: is the object store where it was?")
            self._routed = routed
            self._listed_at = time.monotonic()
        tables, unread = [], {}
        for model in self._routed:
            try:
                table = find_next(blobs, model, self._seen.get(model, 0))
            except (Corrupt, NewerFormat) as error:  # of this model alone; a store that is away concerns all
                unread[model] = f"its routes can't be read: {error.message}"
            else:
                tables += [table] if table is not None else []
        return tables, unread

    def _begin(self, table: RouteTable) -> None:
        if table.revision <= self._seen.get(table.model, 0):
            return
        self._seen[table.model] = table.revision
        if table.model not in self._models:
            self._models.unserved[table.model] = f"revision {table.revision} is being loaded"
        older = self._tasks.get(table.model)
        if older is not None:
            older.cancel()
        self._tasks[table.model] = asyncio.create_task(self._adopt(table), name=f"adopt {table.model}")

    async def _first_try(self, model: str) -> None:
        """Wait until a model is served or has a problem."""
        while not self._tasks[model].done() and self._board.problems.get(model) == self._unread.get(model):
            await asyncio.sleep(0.02)

    async def _adopt(self, table: RouteTable) -> None:
        pause = RETRY_SECONDS
        while True:
            # Another model's swap puts away whatever nothing serves: not what is being started here.
            with self._shelf.hold(table.model):
                try:
                    served = await self._load(table)
                except Exception as error:
                    # A model's own code is loaded here, and raises what it likes: told, and tried again.
                    if not isinstance(error, KNOWN):
                        log.exception("%s: revision %d can't be loaded", table.model, table.revision)
                    await self._go_on_without(table, _words(error))
                else:
                    self._swap(table, served)
                    return
            await asyncio.sleep(pause * (0.75 + random.random() / 2))
            pause = min(pause * 2, LONGEST_RETRY_SECONDS)

    async def _go_on_without(self, table: RouteTable, because: str) -> None:
        """Answer with what there is, say that it is not what is wanted, and why."""
        problem = f"revision {table.revision} can't be served: {because}"
        served = self._models.get(table.model)
        if served is None or not served.answers_as_routed:
            served = await self._make_do(table)
        if served is None or served.champion is None:
            self._models.unserved[table.model] = problem
            problem += "; nothing answers"
        else:
            problem += (
                f"; version {served.champion.number} (revision {served.table.revision}) answers meanwhile"
            )
        self._board.problems[table.model] = problem
        self._board.change()
        log.error("%s: %s", table.model, problem)

    async def _make_do(self, table: RouteTable) -> Served | None:
        """What takes requests instead; None where the key of what is hashed is damaged, and nothing may be logged."""
        try:
            served = await self._load_earlier(table) or self._make(table, None, None)
        except Corrupt:
            return None
        self._models[table.model] = served  # without a champion it answers 503 and takes outcomes
        return served

    async def _load_earlier(self, table: RouteTable) -> Served | None:
        """The last revision before this one whose champion can be loaded, without its candidate: that is over."""
        failed: set[str] = set()
        for earlier in await asyncio.to_thread(self._list_earlier, table):
            if earlier.champion is None:  # taken out of service then, which nobody may undo here
                return None
            if earlier.champion.bundle in failed:
                continue
            try:
                champion = await self._shelf.champion(earlier, earlier.champion)
            except Exception as error:  # noqa: BLE001 - a model's own code is loaded here; told, and the next is tried
                failed.add(earlier.champion.bundle)
                log.error("%s: neither can revision %d: %s", table.model, earlier.revision, _words(error))
            else:
                return self._make(earlier, champion, None)
        return None

    def _list_earlier(self, table: RouteTable) -> list[RouteTable]:
        """Revisions before a table, newest first: those published, and the one kept in the home. Runs in a thread."""
        kept = routes_seen.find(self._folder, table.model)
        found = {kept.revision: kept} if kept is not None and kept.revision < table.revision else {}
        try:
            found |= {one.revision: one for one in list_before(self._blobs(), table.model, table.revision)}
        except (FlyballError, OSError) as error:
            log.warning("%s: earlier routes can't be read: %s", table.model, error)
        return [found[revision] for revision in sorted(found, reverse=True)]

    def _swap(self, table: RouteTable, served: Served) -> None:
        """The one step: requests read before it are answered by the old revision, those after it by the new."""
        before = self._models.get(table.model)
        self._models[table.model] = served
        self._models.unserved.pop(table.model, None)
        self._board.problems.pop(table.model, None)
        revision = self._metrics.value("flyball_route_revision", model=table.model, worker=str(self._slot))
        revision.set(table.revision)
        self._board.change()
        log.info("%s: revision %d is served", table.model, table.revision)
        aside = asyncio.create_task(self._after_swap(table, served, before))
        self._asides.add(aside)
        aside.add_done_callback(self._asides.discard)

    async def _after_swap(self, table: RouteTable, served: Served, before: Served | None) -> None:
        """What no request waits for: remember the routes, warm up the previous version, put old ones away."""
        await asyncio.to_thread(routes_seen.remember, self._folder, table)
        if table.previous is not None:
            try:
                with self._shelf.hold(table.model):
                    served.previous = await self._shelf.champion(table, table.previous)
            except (FlyballError, OSError, ModelFault) as error:
                log.warning("%s@%d is not warm: %s", table.model, table.previous.number, error)
        if before is not None and before.shadow is not None and before.shadow is not served.shadow:
            await before.shadow.close(SHADOW_PATIENCE_SECONDS)
        await self._shelf.settle()  # what an overtaken revision began to load is put away too
        await self._shelf.keep_only(version for one in self._models.values() for version in one.versions())

    async def _load(self, table: RouteTable) -> Served:
        champion = await self._shelf.champion(table, table.champion) if table.champion is not None else None
        candidate = (
            await self._shelf.candidate(table, table.candidate) if table.candidate is not None else None
        )
        return self._make(table, champion, candidate)

    def _make(self, table: RouteTable, champion: Version | None, candidate: Version | None) -> Served:
        served = Served(
            table,
            champion=champion,
            candidate=candidate,
            shadow=None,
            # Only where something is hashed: a damaged key costs no other model.
            hash_key=read_hash_key(self._key_path) if table.log.hash else b"",
            metrics=self._metrics,
        )
        if candidate is not None and table.candidate_role == "shadow":
            served.shadow = self._shadow(served, candidate)
        return served

    def _shadow(self, served: Served, candidate: Version) -> ShadowQueue:
        """The queue of this candidate: the same one as before when only the revision changed."""
        assert candidate.process is not None
        before = self._models.get(served.model)
        if before is not None and before.shadow is not None and before.shadow.process is candidate.process:
            return before.shadow

        def finish(records: list[PredictionRecord], answers: ProcessAnswers | None) -> None:
            if answers is not None:
                decided = decide(served.table, candidate.facts, answers.predictions, answers.scores)
                for index, record in enumerate(records):
                    record.answered = candidate.number
                    record.output = decided[index]
                    record.scores = answers.scores[index] if answers.scores is not None else None
            self._journal.write_or_drop(served.policy, [*records])
            served.count("shadow", candidate.number, len(records), records[0].latency_us / 1e6)

        dropped = self._metrics.value("flyball_shadow_dropped_total", model=served.model)
        return ShadowQueue(candidate.process, finish, dropped)


def _words(error: Exception) -> str:
    """An error as clients may read it: without the paths that the system names in its own."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error) if isinstance(error, KNOWN) else f"{type(error).__name__}: {str(error)[:300]}"
