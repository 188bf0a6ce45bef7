"""Takes folders away from this process and all it starts, for good, by the kernel's Landlock (Linux 6.2 and later).

Landlock knows only what is allowed, and what is allowed on a folder is allowed on all below it. So the way from the
root to each hidden path is walked, and everything beside the way is allowed: what lies elsewhere stays as it was. The
folders on the way themselves can be passed through, but neither be listed nor get new entries. One that modules are
imported from can be listed, and then the names below it can, too; what files hold can't be read.
"""

from __future__ import annotations

import ctypes
import functools
import os
import stat
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress

import msgspec

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION, _PATH_BENEATH = 1, 1
_PR_SET_NO_NEW_PRIVS = 38
# Version 3 is the first that holds files against being cut and lets the rest be renamed from folder to folder.
_LEAST_VERSION = 3
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_EVERYTHING = (1 << 15) - 1
_READING = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES = _EXECUTE | _READ_FILE | _WRITE_FILE | _TRUNCATE


class Confinement(msgspec.Struct, frozen=True, kw_only=True):
    """Paths that a process must not reach, and those below them that it may read, or read and write, all the same."""

    hidden: list[str]
    read: list[str] = []
    write: list[str] = []


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled", ctypes.c_uint64),)


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


@functools.cache
def can_confine() -> bool:
    """Whether this machine's kernel can take folders away from a process."""
    if sys.platform != "linux":
        return False
    version: int = _libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))
    return version >= _LEAST_VERSION


def confine(confinement: Confinement) -> bool:
    """Hide the paths from this process and what it will start; False where that is not possible, or nothing is hidden.

    Not possible is it too where a folder on the way can't be listed, because what lies beside it would be lost as well:
    so what a confined process starts is as confined as it is itself, and no more. To be called before there are other
    threads. Raises OSError if a kernel that can does not.
    """
    if not confinement.hidden or not can_confine():
        return False
    hidden = {os.path.realpath(path) for path in confinement.hidden}
    try:
        beside = list(_beside(hidden))
    except PermissionError:
        return False
    libc = _libc()
    ruleset = _Ruleset(_EVERYTHING)
    handle = _checked(
        libc.syscall(
            _CREATE_RULESET,
            ctypes.byref(ruleset),
            ctypes.c_size_t(ctypes.sizeof(ruleset)),
            ctypes.c_uint32(0),
        )
    )
    try:
        for path in beside:
            _allow(libc, handle, path, _EVERYTHING)
        for path in _import_folders(hidden):
            _allow(libc, handle, path, _READ_DIR)
        for path in confinement.read:
            _allow(libc, handle, os.path.realpath(path), _READING)
        for path in confinement.write:
            _allow(libc, handle, os.path.realpath(path), _EVERYTHING)
        _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(libc.syscall(_RESTRICT_SELF, ctypes.c_int(handle), ctypes.c_uint32(0)))
    finally:
        os.close(handle)
    return True


def _beside(hidden: set[str]) -> Iterator[str]:
    """Everything that is neither hidden nor on the way to it. Links are left out: what they lead to is met itself.

    Raises PermissionError where a folder on the way can't be listed.
    """
    on_the_way = _above(hidden)
    for folder in on_the_way:
        with suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                path = os.path.join(folder, entry.name)
                if path not in hidden and path not in on_the_way and not entry.is_symlink():
                    yield path


def _above(paths: Collection[str]) -> set[str]:
    """The folders from the root down to the paths, without those that lie within one of the paths."""
    found: set[str] = set()
    for path in paths:
        while (path := os.path.dirname(path)) not in found:
            found.add(path)
    return {folder for folder in found if not any(f"{folder}/".startswith(f"{path}/") for path in paths)}


def _import_folders(hidden: set[str]) -> set[str]:
    """Folders above a hidden one that modules are found in, which the import system has to list."""
    return _above(hidden) & {os.path.realpath(path) for path in sys.path if path}


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # it has gone, or this process could not reach it anyway
        return
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            rights &= _OF_FILES
        rule = _PathBeneath(rights, handle)
        _checked(
            libc.syscall(
                _ADD_RULE,
                ctypes.c_int(ruleset),
                ctypes.c_int(_PATH_BENEATH),
                ctypes.byref(rule),
                ctypes.c_uint32(0),
            )
        )
    finally:
        os.close(handle)


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"the kernel did not confine this process: {os.strerror(number)}")
    return result
