"""Takes folders away from this process and all it starts, for good, by the kernel's Landlock (Linux 6.2 and later).

Landlock knows only what is allowed, and what is allowed on a folder is allowed on all below it. So the way from the
root to each hidden path is walked, and everything beside the way is allowed: what lies elsewhere stays as it was. The
folders on the way themselves can be passed through, but neither be listed nor get new entries. One that modules are
imported from, or that is given, can be listed, and then the names below it can, too; what files hold can't be read.
Where all is closed nothing is walked but what is given: the system's programs, Python, and what the caller names.

A confined process can neither look into processes that are not confined with it (their environment, their memory)
nor, from Linux 6.12 on, send them signals.
"""

from __future__ import annotations

import ctypes
import functools
import glob
import os
import pwd
import stat
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import chain

import msgspec

from flyball.backends.executors.kernel import checked, libc, renounce_privileges
from flyball.backends.executors.network import close_network

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION, _PATH_BENEATH = 1, 1
# Version 3 is the first that holds files against being cut and lets the rest be renamed from folder to folder.
_LEAST_VERSION = 3
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_EVERYTHING = (1 << 15) - 1
_READING = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES = _EXECUTE | _READ_FILE | _WRITE_FILE | _TRUNCATE
_SIGNALS_VERSION, _SIGNALS = 6, 1 << 1
# What programs need of the system. Not /run, /var, /opt, /srv: sockets, secrets and other people's files lie there.
_SYSTEM = (
    *("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc", "/nix/store", "/gnu/store"),
    *("/proc", "/sys", "/run/systemd/resolve"),
)
# Not all of /dev: disks and terminals are there, and who runs a container may read them.
_DEVICES = ("null", "zero", "full", "random", "urandom", "shm", "nvidia*", "dri", "kfd")
_CAPABILITIES_VERSION, _PR_CAPBSET_DROP = 0x20080522, 24
# By which root looks into processes and files past Landlock: DAC_READ_SEARCH, SYS_MODULE, SYS_RAWIO, SYS_PTRACE,
# SYS_ADMIN, PERFMON, BPF, CHECKPOINT_RESTORE.
_CAPABILITIES = (2, 16, 17, 19, 21, 38, 39, 40)
_closed = False


class Confinement(msgspec.Struct, frozen=True, kw_only=True):
    """Paths that a process must not reach, and others that it may read, or read and write, all the same.

    Where one lies within the other, the inner one counts. closed: what is not given can't be reached at all, wherever
    it lies, but for the system's programs and what Python imports, which can be read; nor can the network, where this
    machine can close it (`network.can_close_network`).
    """

    hidden: list[str]
    read: list[str] = []
    write: list[str] = []
    closed: bool = False


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def can_confine() -> bool:
    """Whether this machine's kernel can take folders away from a process."""
    return _version() >= _LEAST_VERSION


def holds_signals() -> bool:
    """Whether it can also keep a process from sending signals to those that are not confined with it."""
    return _version() >= _SIGNALS_VERSION


def is_closed() -> bool:
    """Whether this process, or one above it, was confined to what it was given."""
    return _closed


@functools.cache
def _version() -> int:
    if sys.platform != "linux":
        return 0
    found: int = libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))
    return found


def confine(confinement: Confinement) -> bool:
    """Hide the paths from this process and what it will start; False where that is not possible, or nothing is hidden.

    Not possible is it too where a folder on the way can't be listed, because what lies beside it would be lost as well:
    so what a confined process starts is as confined as it is itself, and no more, unless it is closed. To be called
    before there are other threads. Raises OSError if a kernel that can does not.
    """
    global _closed
    is_confined = _confine_files(confinement)
    if confinement.closed:
        close_network()
    _closed = _closed or (is_confined and confinement.closed)
    return is_confined


def _confine_files(confinement: Confinement) -> bool:
    if not (confinement.hidden or confinement.closed) or not can_confine():
        return False
    try:
        rules = list(_rules(confinement))
    except PermissionError:
        return False
    ruleset = _Ruleset(_EVERYTHING, 0, _SIGNALS if holds_signals() else 0)
    handle = checked(
        libc().syscall(
            _CREATE_RULESET,
            ctypes.byref(ruleset),
            ctypes.c_size_t(ctypes.sizeof(ruleset)),
            ctypes.c_uint32(0),
        )
    )
    try:
        for path, rights in rules:
            _allow(handle, path, rights)
        renounce_privileges()
        checked(libc().syscall(_RESTRICT_SELF, ctypes.c_int(handle), ctypes.c_uint32(0)))
        _drop_capabilities()
    finally:
        os.close(handle)
    return True


def _rules(confinement: Confinement) -> Iterator[tuple[str, int]]:
    """Path and rights of all that is allowed. Raises PermissionError for a folder on the way that can't be listed."""
    hidden = {os.path.realpath(path) for path in confinement.hidden}
    if confinement.closed:
        read, write = [*confinement.read, *_SYSTEM, *_of_python()], [*confinement.write, *_devices()]
    else:
        yield from _around("/", hidden, _EVERYTHING)
        read, write = confinement.read, confinement.write
    for folder in _above(hidden) & _import_folders():
        yield folder, _READ_DIR
    for paths, rights in ((read, _READING), (write, _EVERYTHING)):
        for path in paths:
            yield from _around(os.path.realpath(path), hidden, rights, lists=True)


def _devices() -> Iterator[str]:
    """The devices that programs need, those that they compute on among them, as far as there are any."""
    return chain.from_iterable(glob.iglob(f"/dev/{name}") for name in _DEVICES)


def _around(start: str, hidden: set[str], rights: int, *, lists: bool = False) -> Iterator[tuple[str, int]]:
    """A path with its rights or, where something hidden lies below it, all that is beside the way there.

    Links are left out: what they lead to is met itself.
    """
    below = {path for path in hidden if path.startswith(f"{start.rstrip('/')}/")}
    if not below:
        yield start, rights
        return
    if lists:
        yield start, _READ_DIR
    on_the_way = {folder for folder in _above(below) if f"{folder}/".startswith(f"{start.rstrip('/')}/")}
    for folder in on_the_way:
        with suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                path = os.path.join(folder, entry.name)
                if path not in below and path not in on_the_way and not entry.is_symlink():
                    yield path, rights


def _above(paths: Collection[str]) -> set[str]:
    """The folders from the root down to the paths, without those that lie within one of the paths."""
    found: set[str] = set()
    for path in paths:
        while (path := os.path.dirname(path)) not in found:
            found.add(path)
    return {folder for folder in found if not any(f"{folder}/".startswith(f"{path}/") for path in paths)}


def _import_folders() -> set[str]:
    """Folders that modules are found in: the import system has to list them."""
    return {os.path.realpath(path) for path in sys.path if path}


def _of_python() -> set[str]:
    """Where this Python, its packages and the libraries it was told of lie; never a folder with all of a user's."""
    told = [os.environ.get(name, "") for name in ("LD_LIBRARY_PATH", "SSL_CERT_DIR", "SSL_CERT_FILE")]
    places = {sys.prefix, sys.base_prefix, sys.exec_prefix, *_import_folders()}
    places |= {path for paths in told for path in paths.split(os.pathsep) if path}
    return {path for path in places if not f"{_home()}/".startswith(f"{os.path.realpath(path).rstrip('/')}/")}


def _home() -> str:
    """The user's own folder as the system knows it: HOME is another where all is closed."""
    try:
        return os.path.realpath(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return os.path.realpath(os.path.expanduser("~"))


def _drop_capabilities() -> None:
    """Give up, in a container that runs as root, what reads another process's environment in spite of Landlock."""
    head = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
    # Effective, permitted, inheritable: of the first 32 capabilities, then of the others.
    sets = (ctypes.c_uint32 * 6)()
    checked(libc().capget(head, sets))
    for number in _CAPABILITIES:
        libc().prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)  # fails for who has none anyway
        for kind in range(3):
            sets[3 * (number // 32) + kind] &= ~(1 << number % 32) & 0xFFFFFFFF
    checked(libc().capset(head, sets))


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # it has gone, or this process could not reach it anyway
        return
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            rights &= _OF_FILES
        rule = _PathBeneath(rights, handle)
        checked(
            libc().syscall(
                _ADD_RULE,
                ctypes.c_int(ruleset),
                ctypes.c_int(_PATH_BENEATH),
                ctypes.byref(rule),
                ctypes.c_uint32(0),
            )
        )
    finally:
        os.close(handle)
