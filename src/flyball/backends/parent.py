"""Processes and the one that started them: they end with it, or when it says so."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def die_with(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel signal this process when its parent's thread ends, however that ends (Linux).

    parent: its process id, as it said itself; when it died before this call, the signal is sent at once.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:
        os.kill(os.getpid(), by)


def end_session(process: subprocess.Popen[bytes], within_seconds: float) -> None:
    """End a process that has a session of its own, and all it started: in order, if that takes no longer."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(within_seconds)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def last_line(log: Path) -> str:
    """What a process wrote into its log at last, for an error that tells of its end."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:500] if lines else "it said nothing"
