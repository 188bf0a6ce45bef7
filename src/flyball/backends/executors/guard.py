"""Ends with a child all that the child started, whichever session or group it has moved to (Linux).

Killing a process group misses a grandchild that called `setsid`. So the process that the executor starts forks: the
module runs in the lower half, and the upper half, a few megabytes that only wait, is the reaper to which the kernel
gives every orphan below it. Elsewhere nothing adopts orphans; there the executor kills the group.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from contextlib import suppress
from typing import NoReturn

from flyball.backends.parent import die_with

_PR_SET_CHILD_SUBREAPER = 36
_AWAITED = {signal.SIGCHLD, signal.SIGTERM}


def guard(parent: int) -> None:
    """Return in a process of its own; this one stays above it, and ends as it ends, after all it started has ended.

    All of it is killed, too, on SIGTERM and when `parent` dies. To be called before there are other threads.
    """
    # Blocked first: none of them may arrive before it is waited for.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    die_with(parent, signal.SIGTERM)
    above = os.getpid()
    below = os.fork()
    if below == 0:
        # A group of its own: what user code sends to its group must not hit the process that cleans up after it.
        os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        die_with(above)
        return
    _end_as(_wait_for(below))


def _wait_for(below: int) -> int:
    """The wait status of the process below, when nothing is left of what it started."""
    status: int | None = None
    while status is None:
        if signal.sigwait(_AWAITED) == signal.SIGTERM:
            os.kill(below, signal.SIGKILL)  # not reaped yet, so the number is still its own
            status = os.waitpid(below, 0)[1]
        else:
            status = _reap(below)[0]
    while _reap(below)[1]:
        # Only direct children: until they are reaped here, their numbers can't become another's. What they have
        # started is handed to this process as they end, and is met in the next round.
        for child in _children():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        time.sleep(0.001)
    return status


def _reap(below: int) -> tuple[int | None, bool]:
    """Wait status of `below` if it has ended now, and whether this process still has children."""
    found = None
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return found, True
            found = status if pid == below else found
    return found, False


def _children() -> list[int]:
    own, found = os.getpid(), []
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        # Where it can't be read, it has ended since.
        with suppress(OSError), open(f"/proc/{entry}/stat", errors="replace") as file:
            if int(file.read().rsplit(")", 1)[1].split()[1]) == own:
                found.append(int(entry))
    return found


def _end_as(status: int) -> NoReturn:
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        os._exit(code)
    # The process below has left the core that tells something.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # SIGKILL has no disposition
        signal.signal(-code, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
    os.kill(os.getpid(), -code)
    os._exit(128 - code)
