"""The model server of this home, seen from outside: its socket, and whether somebody holds its lock."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec

LONGEST_PATH = 100  # the kernel takes 107 bytes


def ask_socket(
    path: Path, request: dict[str, object], timeout_seconds: float = 2.0
) -> dict[str, object] | None:
    """The answer of a process that listens on a Unix socket (one JSON line each way); None when nobody answers."""
    try:
        with socket.socket(socket.AF_UNIX) as connection, _short(path) as address:
            connection.settimeout(timeout_seconds)
            connection.connect(address)
            connection.sendall(msgspec.json.encode(request) + b"\n")
            data = b""
            while not data.endswith(b"\n"):
                piece = connection.recv(65536)
                if not piece:
                    break
                data += piece
        answer = msgspec.json.decode(data)
    except (OSError, msgspec.DecodeError):
        return None
    return answer if isinstance(answer, dict) else None


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


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A name that fits into a socket address: through the folder's descriptor where the path is too long."""
    if len(os.fsencode(path)) <= LONGEST_PATH:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)
