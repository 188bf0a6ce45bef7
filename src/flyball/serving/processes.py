"""Processes that live and die together, and small files that are replaced as a whole."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, number: signal.Signals) -> None:
    """Have the kernel send us a signal when the process that started us dies, however it dies.

    parent: its process id as it said; when it died before this call, the signal is sent at once.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def log_to_stderr(name: str) -> None:
    """Log lines `time name level text` on standard error."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format=f"%(asctime)s {name} %(levelname)s %(message)s",
        force=True,
    )


def replace_file(path: Path, data: bytes) -> None:
    """Give a file new content; readers see the old or the new. Not synced: for what can be made again."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(data)
    draft.replace(path)
