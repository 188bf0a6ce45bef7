"""Folders for what nobody needs any more once this process has ended, and the removal of those that dead ones left.

They lie in the system's folder for temporary files. Their owner holds a lock on each, which the kernel frees however
the owner ends: that tells a folder of the dead from one in use, across restarts and process namespaces, where numbers
of processes do not.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path

_PREFIX = "flyball-tmp-"


class ScratchFolder:
    """An empty folder of its own; it goes with `remove`, the end of a `with`, this object, or this process."""

    def __init__(self, kind: str) -> None:
        """kind: a word for people who find the folder, such as `child`."""
        self.path, lock = _make(kind)
        self._remove = weakref.finalize(self, _discard, self.path, lock, os.getpid())

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Delete the folder and all in it. Safe to repeat."""
        self._remove()


def sweep_scratch() -> int:
    """Delete the folders that processes of this user left behind when they were killed; how many there were."""
    swept = 0
    with suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and entry.is_dir(follow_symlinks=False):
                swept += _sweep(Path(entry.path))
    return swept


def _make(kind: str) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{kind}-"))
        # Until it is locked, whoever sweeps takes it for one of the dead.
        with suppress(FileNotFoundError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if _is_locked(lock) and path.is_dir():
                return path, lock
            os.close(lock)


def _is_locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sweep(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if os.fstat(handle).st_uid != os.geteuid() or not _is_locked(handle):
            return False
        shutil.rmtree(path, ignore_errors=True)
        return not path.exists()
    finally:
        os.close(handle)


def _discard(path: Path, lock: int, owner: int) -> None:
    if os.getpid() == owner:  # a fork that ends takes nothing away from the process that it came from
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)
