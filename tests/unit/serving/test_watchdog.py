"""When a worker counts as stuck: its event loop is silent, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from flyball.serving.watchdog import LONGEST_LOOK_SECONDS, START_SECONDS, Watchdog, feed_watchdog


@pytest.fixture
def watchdog() -> Iterator[Watchdog]:
    made = Watchdog(2.0)
    yield made
    made.close()


def listen(watchdog: Watchdog, seconds: float) -> bool:
    """Look at it every half second."""
    return any(watchdog.listen(0.5) for _ in range(round(seconds / 0.5)))


def test_a_worker_that_is_silent_for_longer_than_is_allowed_is_stuck(watchdog: Watchdog):
    async def live() -> None:
        feed_watchdog(watchdog.descriptor, 2.0)

    asyncio.run(live())
    assert not watchdog.listen(0.5)
    assert not listen(watchdog, 2.0)
    assert watchdog.listen(0.5)
    assert watchdog.silent_seconds == 2.5


def test_a_worker_that_starts_has_more_time(watchdog: Watchdog):
    assert not listen(watchdog, START_SECONDS)
    assert watchdog.listen(0.5)


def test_time_in_which_nobody_looked_is_not_silence(watchdog: Watchdog):
    asyncio.run(_feed_once(watchdog))
    assert not watchdog.listen(0.1)
    assert not watchdog.listen(3600.0)
    assert watchdog.silent_seconds == LONGEST_LOOK_SECONDS


async def _feed_once(watchdog: Watchdog) -> None:
    feed_watchdog(watchdog.descriptor, 2.0)


def test_work_on_a_thread_feeds_on_and_work_in_the_loop_does_not(watchdog: Watchdog):
    async def live() -> tuple[bool, bool]:
        feed_watchdog(watchdog.descriptor, 0.2)
        await asyncio.to_thread(time.sleep, 0.3)
        watchdog.listen(0.1)
        await asyncio.to_thread(time.sleep, 0.3)
        beside_a_thread = watchdog.silent_seconds
        watchdog.listen(0.1)
        beside_a_thread += watchdog.silent_seconds
        time.sleep(0.3)
        watchdog.listen(0.1)
        return beside_a_thread == 0.0, watchdog.silent_seconds > 0.0

    assert asyncio.run(live()) == (True, True)


def test_a_supervisor_that_does_not_read_or_is_gone_harms_no_worker():
    watchdog = Watchdog(2.0)

    async def live() -> None:
        feed_watchdog(watchdog.descriptor, 0.0004)
        await asyncio.sleep(0.05)
        watchdog.close()
        await asyncio.sleep(0.05)

    asyncio.run(live())
    assert watchdog.silent_seconds == 0.0
