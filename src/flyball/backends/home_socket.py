"""Unix sockets in a home, whatever the length of its path: their address, and how they are asked."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

LONGEST_PATH = 100  # the kernel takes 107 bytes


def ask_socket(path: Path, request: dict[str, Any], timeout_seconds: float = 2.0) -> dict[str, Any] | None:
    """What the process that listens on `path` answers (one JSON line each way); None when nobody does."""
    try:
        with socket.socket(socket.AF_UNIX) as connection, short_path(path) as address:
            connection.settimeout(timeout_seconds)
            connection.connect(address)
            connection.sendall(msgspec.json.encode(request) + b"\n")
            return msgspec.json.decode(read_line(connection), type=dict[str, Any])
    except (OSError, msgspec.DecodeError):
        return None


def read_line(connection: socket.socket, limit_bytes: int | None = None) -> bytes:
    """What is sent up to the end of a line, of the connection, or of the limit."""
    data = b""
    while not data.endswith(b"\n") and (limit_bytes is None or len(data) <= limit_bytes):
        piece = connection.recv(65536)
        if not piece:
            break
        data += piece
    return data


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A name for `path` that fits into a socket address: through its folder's descriptor where it is too long."""
    if len(os.fsencode(path)) <= LONGEST_PATH:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)
