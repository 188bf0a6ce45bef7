"""The watchdog of a worker: its event loop writes a byte a second into a pipe that its supervisor reads.

Only a loop that is stuck falls silent. Models are loaded, and asked for long, on a thread or in a process of their own,
and the loop goes on beside them. The published status would not do: it waits for disk and object store.
"""

from __future__ import annotations

import asyncio
import contextlib
import os

FEED_SECONDS = 1.0
# Until it is fed first, a worker starts its interpreter and imports; on a busy machine that takes its time.
START_SECONDS = 60.0
# What one look may add to the silence. Whoever stops all processes at once, as Ctrl+Z or a machine's sleep does, leaves
# nobody silent but the clock.
LONGEST_LOOK_SECONDS = 0.5


def feed_watchdog(descriptor: int, patience_seconds: float) -> None:
    """Beat from now on, as long as the running event loop turns."""
    os.set_blocking(descriptor, False)
    os.set_inheritable(descriptor, False)
    loop = asyncio.get_running_loop()
    pause = min(FEED_SECONDS, patience_seconds / 4)

    def feed() -> None:
        # Full: the supervisor is held up. Broken: it is gone, and so are we soon.
        with contextlib.suppress(OSError):
            os.write(descriptor, b".")
        loop.call_later(pause, feed)

    feed()


class Watchdog:
    """The supervisor's end: `descriptor` goes to the worker, and `close_descriptor` follows once it has it."""

    def __init__(self, patience_seconds: float) -> None:
        self.silent_seconds = 0.0
        self._patience = patience_seconds
        self._heard = False
        self._reading, self.descriptor = os.pipe()
        os.set_blocking(self._reading, False)

    def listen(self, elapsed_seconds: float) -> bool:
        """Whether the worker has been silent for too long. elapsed_seconds: since the last look, or the start."""
        if self._was_fed():
            self._heard = True
            self.silent_seconds = 0.0
        else:
            self.silent_seconds += min(elapsed_seconds, LONGEST_LOOK_SECONDS)
        limit = self._patience if self._heard else max(self._patience, START_SECONDS)
        return self.silent_seconds > limit

    def close_descriptor(self) -> None:
        """Let go of the worker's end."""
        os.close(self.descriptor)

    def close(self) -> None:
        """Listen no more."""
        os.close(self._reading)

    def _was_fed(self) -> bool:
        try:
            return bool(os.read(self._reading, 65536))
        except BlockingIOError:
            return False
