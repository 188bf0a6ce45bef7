"""One port for several workers: reserved by the supervisor, bound by each worker for itself."""

from __future__ import annotations

import errno
import socket
import time

from flyball.core.errors import BadInput, Conflict

BACKLOG = 2048


def reserve(host: str, port: int, patience_seconds: float = 2.0) -> socket.socket:
    """A bound, never listening socket that keeps the port ours while workers come and go. Raises Conflict.

    patience_seconds: how long workers of a supervisor that was killed may take to let go of the port.
    """
    family, address = _resolve(host, port)
    deadline = time.monotonic() + patience_seconds
    while port:
        # SO_REUSEPORT alone would share the port with another server of the same user, and nobody would notice.
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    raise _taken(host, port, error) from error
        time.sleep(0.05)
    reserved = socket.socket(family, socket.SOCK_STREAM)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        reserved.bind(address)
    except OSError as error:
        reserved.close()
        raise _taken(host, port, error) from error
    return reserved


def listen(host: str, port: int) -> socket.socket:
    """A worker's own socket on the reserved port. The kernel spreads connections over all workers' sockets."""
    family, address = _resolve(host, port)
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    # Connections that linger after us (TIME_WAIT) inherit this; without it they would look like a server to `reserve`.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str | int, ...]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise BadInput(f"--host {host!r} is no address of this machine: {error}", host=host) from error
    family, _, _, _, address = found[0]
    return family, (str(address[0]), int(address[1]), *address[2:])


def _taken(host: str, port: int, error: OSError) -> Conflict:
    if error.errno == errno.EADDRINUSE:
        words = "is taken: another server listens there; stop it, or choose another port"
    else:
        words = f"can't be used ({error.strerror}); choose another"
    return Conflict(f"port {port} of {host} {words}", host=host, port=port)
