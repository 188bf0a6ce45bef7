"""Which process is meant: a pid is used again, a pid with its start time and machine is not."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path

import msgspec


class ProcessIdentity(msgspec.Struct, frozen=True):
    """One process on one machine. `started` is in clock ticks since boot (0 where /proc does not tell)."""

    host: str
    pid: int
    started: int

    def is_gone(self) -> bool:
        """Whether the process surely runs no more. False for another machine's: nobody here can tell."""
        return self.host == host_identity() and process_started(self.pid) != self.started


def this_process() -> ProcessIdentity:
    """The identity of the calling process."""
    return ProcessIdentity(host_identity(), os.getpid(), process_started(os.getpid()) or 0)


@cache
def host_identity() -> str:
    """This machine since its start: name, boot and (containers number their own) process namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8]
        namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        boot, namespace = "", ""
    return f"{socket.gethostname()}/{boot}/{namespace}"


def process_started(pid: int) -> int | None:
    """When a process of this machine was started, in clock ticks since boot; None if it runs no more.

    A zombie counts as gone: it only waits to be noticed by its parent.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None if Path("/proc/self/stat").exists() else _started_without_proc(pid)
    # The second field, the command in parentheses, may itself hold spaces and parentheses.
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _started_without_proc(pid: int) -> int | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return 0
    return 0
