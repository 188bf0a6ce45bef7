"""When a worker counts as stuck: its event loop is silent, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from flyball.serving.heartbeat import LONGEST_LOOK_SECONDS, START_SECONDS, Pulse, keep_beating


@pytest.fixture
def pulse() -> Iterator[Pulse]:
    made = Pulse(2.0)
    yield made
    made.close()


def listen(pulse: Pulse, seconds: float) -> bool:
    """Look at it every half second."""
    return any(pulse.listen(0.5) for _ in range(round(seconds / 0.5)))


def test_a_worker_that_is_silent_for_longer_than_is_allowed_is_stuck(pulse: Pulse):
    async def live() -> None:
        keep_beating(pulse.descriptor, 2.0)

    asyncio.run(live())
    assert not pulse.listen(0.5)
    assert not listen(pulse, 2.0)
    assert pulse.listen(0.5)
    assert pulse.silent_seconds == 2.5


def test_a_worker_that_starts_has_more_time(pulse: Pulse):
    assert not listen(pulse, START_SECONDS)
    assert pulse.listen(0.5)


def test_time_in_which_nobody_looked_is_not_silence(pulse: Pulse):
    asyncio.run(_beat_once(pulse))
    assert not pulse.listen(0.1)
    assert not pulse.listen(3600.0)
    assert pulse.silent_seconds == LONGEST_LOOK_SECONDS


async def _beat_once(pulse: Pulse) -> None:
    keep_beating(pulse.descriptor, 2.0)


def test_work_on_a_thread_leaves_the_beat_and_work_in_the_loop_stops_it(pulse: Pulse):
    async def live() -> tuple[bool, bool]:
        keep_beating(pulse.descriptor, 0.2)
        await asyncio.to_thread(time.sleep, 0.3)
        pulse.listen(0.1)
        await asyncio.to_thread(time.sleep, 0.3)
        beside_a_thread = pulse.silent_seconds
        pulse.listen(0.1)
        beside_a_thread += pulse.silent_seconds
        time.sleep(0.3)
        pulse.listen(0.1)
        return beside_a_thread == 0.0, pulse.silent_seconds > 0.0

    assert asyncio.run(live()) == (True, True)


def test_a_supervisor_that_does_not_read_or_is_gone_harms_no_worker():
    pulse = Pulse(2.0)

    async def live() -> None:
        keep_beating(pulse.descriptor, 0.0004)
        await asyncio.sleep(0.05)
        pulse.close()
        await asyncio.sleep(0.05)

    asyncio.run(live())
    assert pulse.silent_seconds == 0.0
