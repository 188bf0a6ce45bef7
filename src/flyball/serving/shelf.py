"""The loaded versions of a worker: each loaded once, shared by the revisions that route to it, put away after."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flyball.backends.blobs.store import BlobStore
from flyball.core.clock import Clock
from flyball.registry.route_table import RoutedVersion, RouteTable
from flyball.serving.bundles import BundleFacts, fetch_bundle, open_local, read_facts
from flyball.serving.faults import Breaker, ModelFault
from flyball.serving.isolation import ModelProcess
from flyball.serving.link import ProcessSpec
from flyball.serving.metrics import WorkerMetrics
from flyball.serving.served import Version

Key = tuple[str, ...]

log = logging.getLogger("flyball.worker")


class Shelf:
    """Loads versions and keeps them while they are needed.

    A champion, or a previous one, answers in this process unless its code or its frames need one of their own. A
    candidate always gets a process, with a breaker that lives as long as its rollout.
    """

    def __init__(
        self,
        cache: Path,
        logs: Path,
        worker: str,
        blobs: Callable[[], BlobStore],
        metrics: WorkerMetrics,
        clock: Clock,
        on_change: Callable[[], None],
    ) -> None:
        self._cache = cache
        self._logs = logs
        self._worker = worker
        self._blobs = blobs
        self._metrics = metrics
        self._clock = clock
        self._on_change = on_change
        self._loading: dict[Key, asyncio.Task[Version]] = {}
        self._held: Counter[str] = Counter()

    @contextmanager
    def hold(self, model: str) -> Iterator[None]:
        """Nothing of this model is put away meanwhile: what is loaded for it is not among what is served yet."""
        self._held[model] += 1
        try:
            yield
        finally:
            self._held[model] -= 1

    async def champion(self, table: RouteTable, routed: RoutedVersion) -> Version:
        """The version, ready to answer. Raises FlyballError, OSError or ModelFault."""
        key = ("champion", table.model, routed.bundle, str(table.serve.memory_mb))
        version = await self._load_once(key, lambda: self._load_champion(table, routed))
        if version.process is not None:
            await version.process.start()
        # The same content may go by another number after a registration was repeated.
        if version.number == routed.number:
            return version
        return Version(routed.number, version.facts, local=version.local, process=version.process)

    async def candidate(self, table: RouteTable, routed: RoutedVersion) -> Version:
        """The candidate in its process: ready, or given up on when it can't be started. Raises as `champion`."""
        key = ("candidate", table.model, routed.bundle, str(routed.number), table.salt)
        version = await self._load_once(key, lambda: self._load_isolated(table, routed, Breaker()))
        assert version.process is not None
        await version.process.start()
        return version

    async def settle(self) -> None:
        """Wait until nothing is being loaded."""
        await asyncio.gather(*self._loading.values(), return_exceptions=True)

    async def keep_only(self, needed: Iterable[Version]) -> None:
        """Put away what no served revision routes to any more; running requests are finished first."""
        in_use = {
            id(part) for version in needed for part in (version.local, version.process) if part is not None
        }
        for key, task in list(self._loading.items()):
            if self._held[key[1]] or not task.done() or task.cancelled() or task.exception() is not None:
                continue
            version = task.result()
            if id(version.local) in in_use or id(version.process) in in_use:
                continue
            del self._loading[key]
            if version.process is not None:
                await version.process.close()

    async def close(self) -> None:
        """End every process."""
        tasks = list(self._loading.values())
        self._loading.clear()
        for task in tasks:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        processes = [v.process for v in done if isinstance(v, Version) and v.process is not None]
        await asyncio.gather(*(process.close() for process in processes))

    async def _load_once(self, key: Key, load: Callable[[], object]) -> Version:
        task = self._loading.get(key)
        if task is None:
            task = asyncio.create_task(load())  # type: ignore[arg-type]  # an awaitable that is a coroutine here
            self._loading[key] = task
        try:
            # Shielded: a newer revision may give up on this one, and still want the same version.
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._loading.pop(key, None)
            raise

    async def _load_champion(self, table: RouteTable, routed: RoutedVersion) -> Version:
        folder, facts = await self._fetch(routed)
        if routed.isolated or facts.needs_process:
            return self._isolate(table, routed, folder, facts, None)
        local = await asyncio.to_thread(open_local, folder, routed.bundle)
        log.info("%s@%d is loaded", table.model, routed.number)
        return Version(routed.number, facts, local=local)

    async def _load_isolated(self, table: RouteTable, routed: RoutedVersion, breaker: Breaker) -> Version:
        folder, facts = await self._fetch(routed)
        return self._isolate(table, routed, folder, facts, breaker)

    async def _fetch(self, routed: RoutedVersion) -> tuple[Path, BundleFacts]:
        folder = await asyncio.to_thread(fetch_bundle, routed.bundle, self._blobs, self._cache)
        return folder, await asyncio.to_thread(read_facts, folder, routed.bundle)

    def _isolate(
        self,
        table: RouteTable,
        routed: RoutedVersion,
        folder: Path,
        facts: BundleFacts,
        breaker: Breaker | None,
    ) -> Version:
        spec = ProcessSpec(
            model=table.model,
            number=routed.number,
            digest=routed.bundle,
            folder=folder,
            classes=facts.classes,
            memory_mb=table.serve.memory_mb,
            log_path=self._logs / f"model-{table.model}-{routed.number}-{self._worker}.log",
            home=self._logs.parent,
        )

        def note(fault: ModelFault) -> None:
            labels = {"model": table.model, "version": str(routed.number), "kind": fault.kind}
            self._metrics.value("flyball_faults_total", **labels).add()
            log.warning("%s@%d: %s", table.model, routed.number, fault)
            self._on_change()

        process = ModelProcess(spec, breaker=breaker, on_fault=note, clock=self._clock)
        return Version(routed.number, facts, process=process)
