"""Calls of the kernel that Python has no function for."""

from __future__ import annotations

import ctypes
import functools
import os

_PR_SET_NO_NEW_PRIVS = 38


@functools.cache
def libc() -> ctypes.CDLL:
    """The C library of this process, whose `syscall` gives a long."""
    found = ctypes.CDLL(None, use_errno=True)
    found.syscall.restype = ctypes.c_long
    return found


def checked(result: int) -> int:
    """The result of a call. Raises OSError for one that failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"the kernel did not confine this process: {os.strerror(number)}")
    return result


def renounce_privileges() -> None:
    """No program that is started from here on gets more rights than this process has: what confines it stays."""
    checked(libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
