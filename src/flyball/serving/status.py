"""What a worker says about itself: a small document in the object store and beside it in the home."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from flyball.backends.blobs.store import BlobStore
from flyball.backends.processes import this_process
from flyball.core.clock import Clock, isoformat, parse_moment
from flyball.core.errors import FlyballError
from flyball.serving.journal import Journal
from flyball.serving.processes import replace_file
from flyball.serving.served import Served

STATUS_FORMAT = 1
EVERY_SECONDS = 1.5
LEAST_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 10.0
FORGOTTEN = timedelta(minutes=5)

log = logging.getLogger("flyball.worker")


class StatusBoard:
    """Publishes this worker's state as `serving/<worker>.json`, at once on a change and every 1.5 s without."""

    def __init__(
        self,
        worker: str,
        slot: int,
        folder: Path,
        models: Mapping[str, Served],
        journal: Journal,
        clock: Clock,
        blobs: Callable[[], BlobStore],
    ) -> None:
        self.is_ready = False
        self.problems: dict[str, str] = {}
        self._worker = worker
        self._path = folder / f"{slot}.json"
        self._models = models
        self._journal = journal
        self._clock = clock
        self._blobs = blobs
        self._changed = asyncio.Event()
        self._process = this_process()
        self._published = False

    def change(self) -> None:
        """Something is different: publish soon."""
        self._changed.set()

    def describe(self) -> dict[str, Any]:
        """The document."""
        models = self._models
        return {
            "format": STATUS_FORMAT,
            "worker": self._worker,
            "pid": self._process.pid,
            "host": self._process.host,
            "started": self._process.started,
            "at": isoformat(self._clock.now()),
            "ready": self.is_ready,
            # What answers; a model that has no version to answer with has adopted nothing.
            "revisions": {name: s.table.revision for name, s in models.items() if s.answers_as_routed},
            "champions": {name: _number(served.champion) for name, served in models.items()},
            "candidates": {name: _number(served.candidate) for name, served in models.items()},
            "problems": dict(self.problems),
            "faults": {name: faults for name, served in models.items() if (faults := _faults(served))},
            "log": {
                "written": self._journal.written,
                "dropped": self._journal.dropped,
                "full": self._journal.is_full,
            },
            "shadow": {
                "asked": sum(s.shadow.asked for s in models.values() if s.shadow is not None),
                "waiting": sum(s.shadow.waiting for s in models.values() if s.shadow is not None),
                "dropped": sum(s.shadow.dropped for s in models.values() if s.shadow is not None),
            },
        }

    async def run(self) -> None:
        """Publish until cancelled. A store that does not answer is asked less and less often."""
        pause = EVERY_SECONDS
        while True:
            self._changed.clear()
            document = msgspec.json.encode(self.describe())
            try:
                replace_file(self._path, document)
                await asyncio.to_thread(self._publish, document)
                pause = EVERY_SECONDS
            except (FlyballError, OSError) as error:
                if pause == EVERY_SECONDS:
                    log.warning("the status can't be published: %s", error)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(LEAST_SECONDS)  # a burst of changes is one document
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()

    def remove(self) -> None:
        """Take the document away: this worker ends in order."""
        self._path.unlink(missing_ok=True)
        if self._published:
            with contextlib.suppress(FlyballError, OSError):
                self._blobs().delete(self._key)

    @property
    def _key(self) -> str:
        return f"serving/{self._worker}.json"

    def _publish(self, document: bytes) -> None:
        if not self._published:
            self._sweep()
        started = time.monotonic()
        self._blobs().put_latest(self._key, document)
        self._published = True
        if time.monotonic() - started > EVERY_SECONDS:
            log.info("publishing the status took %.1f s", time.monotonic() - started)

    def _sweep(self) -> None:
        """Remove what workers that were killed have left."""
        blobs, now = self._blobs(), self._clock.now()
        for key in blobs.list("serving"):
            data = blobs.find(key)
            try:
                at = parse_moment(msgspec.json.decode(data or b"{}", type=dict[str, Any])["at"])
            except (msgspec.DecodeError, KeyError, TypeError, ValueError):
                continue
            if now - at > FORGOTTEN:
                blobs.delete(key)


def _number(version: Any) -> int | None:
    return version.number if version is not None else None


def _faults(served: Served) -> dict[str, Any]:
    found = {}
    for version in served.versions():
        breaker = version.process.breaker if version.process is not None else None
        report = breaker.report() if breaker is not None else None
        if report is not None:
            found[str(version.number)] = msgspec.to_builtins(report)
    return found
