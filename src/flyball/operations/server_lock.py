"""Whether a model server runs on this home, seen by its lock."""

from __future__ import annotations

import fcntl
from pathlib import Path


def server_holder(home: Path) -> str | None:
    """The process that holds the home's serving lock ("unknown" if it did not say); None when the lock is free.

    A server that starts or ends holds it before and after it answers on its socket.
    """
    try:
        with (home / "serve.lock").open("r", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read().strip() or "unknown"
    except FileNotFoundError:
        return None
    return None
