"""Whether a model server runs on this home, and whether a job has one to itself: seen by their locks."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

JOB_LOCK = "score.lock"


def server_holder(home: Path) -> str | None:
    """The process that holds the home's serving lock ("unknown" if it did not say); None when the lock is free.

    A server that starts or ends holds it before and after it answers on its socket.
    """
    return _holder(home / "serve.lock")


def job_holder(home: Path) -> str | None:
    """The process whose job runs a model server of its own on the home, which ends with it; None without one."""
    return _holder(home / JOB_LOCK)


@contextmanager
def job_lock(home: Path) -> Iterator[bool]:
    """Whether this process's job, and no other one, may run a model server of its own until the end of the block."""
    with (home / JOB_LOCK).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield True


def _holder(lock: Path) -> str | None:
    try:
        with lock.open("r", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read().strip() or "unknown"
    except FileNotFoundError:
        return None
    return None
