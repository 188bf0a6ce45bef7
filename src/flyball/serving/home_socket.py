"""The supervisor's Unix socket in the home: one JSON line in, one JSON line out, for its owner only."""

from __future__ import annotations

import logging
import os
import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from flyball.backends.home_socket import read_line, short_path

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
                request = msgspec.json.decode(read_line(connection, LONGEST_LINE), type=dict[str, Any])
                connection.sendall(msgspec.json.encode(answer(request)) + b"\n")
            except (OSError, msgspec.DecodeError) as error:
                log.info("a caller on %s was not answered: %s", self._path.name, error)

    def close(self) -> None:
        """Listen no more and remove the file."""
        self._socket.close()
        self._path.unlink(missing_ok=True)
