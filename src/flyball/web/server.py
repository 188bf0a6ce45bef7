"""The control plane's process: `python -m flyball.web.server --host … --port … --serve-url …`.

One process holds the web server, the workflow engine and the controller's thread. It ends on SIGTERM or SIGINT:
no new connections, open streams are closed, requests at work are finished, then engine and database are.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from flyball.app import check_bind, open_control
from flyball.backends.connections import BoundedConnection
from flyball.core.errors import Conflict, FlyballError
from flyball.core.settings import read_settings
from flyball.web.application import build_application
from flyball.web.edge import LOOPBACK_NAMES

FINISH_SECONDS = 10
HOSTS = "FLYBALL_CONTROL_HOSTS"
LOG_LEVEL = "FLYBALL_LOG_LEVEL"


class _Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: it would end the process by the signal, not by an exit code."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def main(arguments: list[str] | None = None) -> int:
    """Run the control plane until SIGTERM or SIGINT; returns 0 then, 2 or 3 when it can't start."""
    options = _parse(arguments)
    logging.basicConfig(
        level=logging.getLevelNamesMapping().get(os.environ.get(LOG_LEVEL, "").upper(), logging.WARNING),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        check_bind(options.host)
        with bind_port(options.host, options.port) as listener:
            return _run(options, listener)
    except FlyballError as error:
        print(f"error: {error.message}", file=sys.stderr)  # noqa: T201 - the supervisor shows these lines
        return 3


def bind_port(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet: a taken port is told before anything is opened. Raises Conflict."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Conflict(
            f"port {port} of {host} can't be used ({error.strerror}); choose another with --port", port=port
        ) from error
    return listener


def known_hosts(host: str) -> set[str]:
    """The host names that are answered: this machine's own, the one listened on, and those an operator added."""
    added = [name.strip() for name in os.environ.get(HOSTS, "").split(",") if name.strip()]
    return {*LOOPBACK_NAMES, host, *added}


def _run(options: argparse.Namespace, listener: socket.socket) -> int:
    app = open_control(read_settings(), options.serve_url)
    try:
        application, state = build_application(app, hosts=known_hosts(options.host))
        app.start()
        asyncio.run(_serve(application, state, listener))
    finally:
        app.close()
    return 0


async def _serve(application: Any, state: Any, listener: socket.socket) -> None:
    config = uvicorn.Config(
        application,
        http=BoundedConnection,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="off",
        timeout_keep_alive=15,
        timeout_graceful_shutdown=FINISH_SECONDS,
        backlog=512,
    )
    server = _Server(config)

    def stop() -> None:
        state.stopping = True
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await server.serve(sockets=[listener])


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m flyball.web.server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--serve-url", default=None, help="address of the model server")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
