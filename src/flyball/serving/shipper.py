"""The shipper: a process that carries closed segments of the prediction log to the object store.

It holds no state of its own: killed at any point and started again, it goes on with what lies in the spool folder.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
import time

import msgspec

from flyball.backends.blobs.store import BlobStore, open_blobs
from flyball.backends.parent import die_with
from flyball.core.errors import FlyballError
from flyball.data.spool import list_closed, ship
from flyball.serving.options import SPEC_VARIABLE, WorkerSpec
from flyball.serving.processes import log_to_stderr

PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 5.0
LAST_SECONDS = 5.0

log = logging.getLogger("flyball.shipper")


def main() -> int:
    """Ship until SIGTERM (`final`: not even until then); then ship what is left, for at most 5 seconds."""
    spec = msgspec.json.decode(os.environ[SPEC_VARIABLE].encode(), type=WorkerSpec)
    log_to_stderr("shipper")
    ending = threading.Event()
    if spec.final:
        ending.set()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with(spec.parent, signal.SIGTERM)
    Shipper(spec, ending).run()
    return 0


class Shipper:
    """Ships one spool folder until `ending` is set."""

    def __init__(self, spec: WorkerSpec, ending: threading.Event) -> None:
        self._folder = spec.home_folder / "spool"
        self._url = spec.objects_url
        self._ending = ending
        self._blobs: BlobStore | None = None
        self._failures = 0

    def run(self) -> None:
        """Ship again and again; while the store does not answer, ask it less and less often."""
        while not self._ending.wait(self._pause()):
            self._try()
        deadline = time.monotonic() + LAST_SECONDS
        while self._try() and list_closed(self._folder) and time.monotonic() < deadline:
            pass

    def _try(self) -> bool:
        try:
            if self._blobs is None:
                self._blobs = open_blobs(self._url, make=False)
            shipped = ship(self._folder, self._blobs)
        except (FlyballError, OSError) as error:
            self._failures += 1
            if self._failures in (1, 10) or self._failures % 100 == 0:
                log.warning("the log waits here, attempt %d failed: %s", self._failures, error)
            return False
        if self._failures:
            log.info("the object store takes segments again")
        self._failures = 0
        return shipped >= 0

    def _pause(self) -> float:
        if self._failures == 0:
            return PAUSE_SECONDS
        longest = min(PAUSE_SECONDS * 2.0 ** min(self._failures, 10), LONGEST_PAUSE_SECONDS)
        return longest * (0.5 + random.random() / 2)


if __name__ == "__main__":
    sys.exit(main())
