"""Takes the network away from this process and all it starts, for good, by a seccomp filter (Linux, x86-64 and ARM64).

No socket can be made, of whatever family: Landlock knows ports of TCP only, and neither UDP nor the socket files of
daemons such as Docker's. Refused, too, is what would use a socket that somebody else has made; io_uring, which makes
sockets past the filter; and the kernel's keyring, which may hold keys, and starts programs that ask the network. Pipes
and connected pairs stay, with which processes of one program speak to each other; not pairs of datagram sockets, which
can be connected elsewhere. A call that is refused fails with EACCES, which Python raises as PermissionError.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import platform
import struct
import sys
from collections.abc import Iterator

import msgspec

from flyball.backends.executors.kernel import checked, libc, renounce_privileges

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_KILL, _DENY, _ALLOW = 0x8000_0000, 0x0005_0000 | errno.EACCES, 0x7FFF_0000
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_EQUAL, _AT_LEAST = 0x15, 0x35
# Places in what a filter is given; of arguments, those of their lower halves.
_NUMBER, _MACHINE, _FAMILY, _TYPE = 0, 4, 16, 24
_TYPE_BITS = 0xF
_AF_UNIX, _SOCK_STREAM, _SOCK_SEQPACKET = 1, 1, 5
# Numbers above belong to another set of calls, x32, which has a number of its own for each.
_X32 = 0x4000_0000
_IO_URING = (425, 426, 427)


class _Machine(msgspec.Struct, frozen=True):
    """A machine's name in seccomp, its number of `socketpair`, and those of the calls that are refused."""

    audit: int
    socketpair: int
    refused: tuple[int, ...]


# socket, connect, accept, bind, listen, accept4; add_key, request_key, keyctl
_MACHINES = {
    "x86_64": _Machine(0xC000003E, 53, (41, 42, 43, 49, 50, 288, 248, 249, 250, *_IO_URING)),
    "aarch64": _Machine(0xC00000B7, 199, (198, 203, 202, 200, 201, 242, 217, 218, 219, *_IO_URING)),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


@functools.cache
def can_close_network() -> bool:
    """Whether this machine can take the network away from a process."""
    if _machine() is None:
        return False
    # Asked with a filter that is nowhere: a kernel that knows filters fails to read it, another one does not look.
    failed = libc().prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, None, 0, 0)
    return bool(failed) and ctypes.get_errno() == errno.EFAULT


def close_network() -> bool:
    """Leave this process, and what it will start, without network; False where that is not possible.

    To be called before there are other threads. Raises OSError if a kernel that can does not.
    """
    machine = _machine()
    if machine is None or not can_close_network():
        return False
    code = b"".join(_filter(machine))
    renounce_privileges()
    program = _Program(len(code) // 8, code)
    checked(libc().prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0))
    return True


def _machine() -> _Machine | None:
    # A Python of 32 bits makes other calls than the machine that it runs on.
    is_known = sys.platform == "linux" and sys.maxsize > 2**32
    return _MACHINES.get(platform.machine()) if is_known else None


def _filter(machine: _Machine) -> Iterator[bytes]:
    """The filter, an instruction at a time. Jumps lead forward only, over so many instructions if equal, if not."""
    yield _instruction(_LOAD, _MACHINE)
    yield _instruction(_EQUAL, machine.audit, 1, 0)
    yield _instruction(_RETURN, _KILL)  # a program of 32 bits, whose numbers mean other calls
    yield _instruction(_LOAD, _NUMBER)
    yield _instruction(_AT_LEAST, _X32, 0, 1)
    yield _instruction(_RETURN, _DENY)
    for number in machine.refused:
        yield _instruction(_EQUAL, number, 0, 1)
        yield _instruction(_RETURN, _DENY)
    yield _instruction(_EQUAL, machine.socketpair, 1, 0)
    yield _instruction(_RETURN, _ALLOW)
    yield _instruction(_LOAD, _FAMILY)
    yield _instruction(_EQUAL, _AF_UNIX, 0, 4)
    yield _instruction(_LOAD, _TYPE)
    yield _instruction(_AND, _TYPE_BITS)
    yield _instruction(_EQUAL, _SOCK_STREAM, 2, 0)
    yield _instruction(_EQUAL, _SOCK_SEQPACKET, 1, 0)
    yield _instruction(_RETURN, _DENY)
    yield _instruction(_RETURN, _ALLOW)


def _instruction(code: int, value: int, equal: int = 0, other: int = 0) -> bytes:
    return struct.pack("=HBBI", code, equal, other, value)
