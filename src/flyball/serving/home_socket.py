"""The supervisor's Unix socket in the home: one JSON line in, one JSON line out, for its owner only."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

LONGEST_PATH = 100  # the kernel takes 107 bytes
LONGEST_LINE = 64 * 1024
ANSWER_SECONDS = 1.0

log = logging.getLogger("flyball.serve")
Answer = Callable[[dict[str, Any]], dict[str, Any]]


class HomeSocket:
    """A listening socket of mode 0600; `serve` answers who connected."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.unlink(missing_ok=True)  # whoever calls holds the home's lock: nobody else listens here
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            with short_path(path) as short:
                self._socket.bind(short)
        finally:
            os.umask(before)
        self._socket.listen(8)

    def serve(self, answer: Answer, wait_seconds: float) -> None:
        """Answer one caller, or come back after `wait_seconds` when none came."""
        readable, _, _ = select.select([self._socket], [], [], wait_seconds)
        if not readable:
            return
        connection, _ = self._socket.accept()
        with connection:
            connection.settimeout(ANSWER_SECONDS)
            try:
                request = msgspec.json.decode(_read_line(connection), type=dict[str, Any])
                connection.sendall(msgspec.json.encode(answer(request)) + b"\n")
            except (OSError, msgspec.DecodeError) as error:
                log.info("a caller on %s was not answered: %s", self._path.name, error)

    def close(self) -> None:
        """Listen no more and remove the file."""
        self._socket.close()
        self._path.unlink(missing_ok=True)


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A name for `path` that fits into a socket address, through the folder's descriptor where it is too long."""
    if len(os.fsencode(path)) <= LONGEST_PATH:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


def ask(path: Path, request: dict[str, Any], timeout_seconds: float = 2.0) -> dict[str, Any] | None:
    """What the process that listens on `path` answers; None when nobody does."""
    try:
        with socket.socket(socket.AF_UNIX) as connection, short_path(path) as short:
            connection.settimeout(timeout_seconds)
            connection.connect(short)
            connection.sendall(msgspec.json.encode(request) + b"\n")
            return msgspec.json.decode(_read_line(connection), type=dict[str, Any])
    except (OSError, msgspec.DecodeError):
        return None


def _read_line(connection: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n") and len(data) <= LONGEST_LINE:
        piece = connection.recv(65536)
        if not piece:
            break
        data += piece
    return data
