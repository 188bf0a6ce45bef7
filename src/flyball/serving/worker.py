"""One worker of a model server: its own listener on the shared port, its own segments, its own loaded versions."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import uvicorn

from flyball.backends.blobs.store import BlobStore, open_blobs
from flyball.backends.connections import BoundedConnection
from flyball.backends.parent import die_with
from flyball.core.clock import SystemClock
from flyball.core.ids import new_id
from flyball.data.spool import SpoolWriter
from flyball.serving.adoption import Adoption
from flyball.serving.asgi import Application
from flyball.serving.fast_path import is_tested, protocol_class
from flyball.serving.journal import Journal
from flyball.serving.metrics import WorkerMetrics
from flyball.serving.options import SPEC_VARIABLE, WorkerSpec
from flyball.serving.ports import listen
from flyball.serving.predict import Predictions
from flyball.serving.processes import log_to_stderr
from flyball.serving.served import ServedModels
from flyball.serving.server import build_application
from flyball.serving.shelf import Shelf
from flyball.serving.status import StatusBoard
from flyball.serving.watchdog import feed_watchdog

FIRST_LOAD_SECONDS = 30.0
LAST_ANSWERS_SECONDS = 0.2
GRACE_SECONDS = 30
HARD_STOP_SECONDS = 44.0

log = logging.getLogger("flyball.worker")


class LazyStore:
    """The object store, opened when it is first needed: a worker starts without it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._blobs: BlobStore | None = None

    def __call__(self) -> BlobStore:
        with self._lock:
            if self._blobs is None:
                self._blobs = open_blobs(self._url, make=False)
            return self._blobs


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the worker says when to end. connection: one that is open already."""

    def __init__(self, config: uvicorn.Config, connection: int | None) -> None:
        super().__init__(config)
        self._connection = connection

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self._connection is not None:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol, socket.socket(fileno=self._connection)
            )

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(spec: WorkerSpec) -> None:
    """Load what is routed, listen, answer until SIGTERM, finish what was begun."""
    options, clock = spec.options, SystemClock()
    ending = asyncio.Event()
    if spec.watchdog_descriptor is not None:
        feed_watchdog(spec.watchdog_descriptor, options.hang_seconds)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ending.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # the terminal's Ctrl+C is the supervisor's business
    worker = new_id("wrk")
    home = spec.home_folder
    cache = home / "cache"
    metrics = WorkerMetrics(cache / "metrics", spec.slot)
    spool = SpoolWriter(home / "spool", worker, max_seconds=options.segment_seconds)
    journal = Journal(spool)
    models = ServedModels(unread="its routes were not read yet")
    blobs = LazyStore(spec.objects_url)
    (cache / "workers").mkdir(parents=True, exist_ok=True)
    board = StatusBoard(worker, spec.slot, cache / "workers", models, journal, clock, blobs)
    adoption = Adoption(
        models,
        wanted=options.models,
        poll_seconds=options.poll_seconds,
        routes_folder=cache / "routes",
        shelf=Shelf(cache, home / "logs", worker, blobs, metrics, clock, board.change),
        journal=journal,
        metrics=metrics,
        key_path=home / "log.key",
        board=board,
        slot=spec.slot,
        blobs=blobs,
    )
    predictions = Predictions(models, journal, options.candidate_deadline_seconds)
    application = build_application(models, journal, metrics, options, predictions)
    # Only a worker that can answer takes connections: beside others, nobody notices that it was gone.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FIRST_LOAD_SECONDS):
            await adoption.start()
    gc.collect()
    gc.freeze()
    board.is_ready = True
    asides = [asyncio.create_task(adoption.run()), asyncio.create_task(board.run())]
    await _answer_until(ending, application, predictions, spec)
    for task in asides:
        task.cancel()
    await asyncio.gather(*asides, return_exceptions=True)
    await adoption.close()
    await asyncio.to_thread(journal.close)
    await asyncio.to_thread(board.remove)
    log.info("ended in order")


async def _answer_until(
    ending: asyncio.Event, application: Application, predictions: Predictions, spec: WorkerSpec
) -> None:
    """Answer requests until `ending`; then take no new connections and finish those that are open."""
    short_way = is_tested()
    if not short_way:
        log.info(
            "predictions go through ASGI: uvicorn %s is not one the short way was tested with",
            uvicorn.__version__,
        )
    config = uvicorn.Config(
        application,
        http=protocol_class(application, predictions) if short_way else BoundedConnection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config, spec.connection)
    listeners = [] if spec.connection is not None else [listen(spec.options.host, spec.options.port)]
    running = asyncio.create_task(server.serve(sockets=listeners))
    stopping = asyncio.create_task(ending.wait())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    application.draining = True
    for open_server in server.servers:
        open_server.close()
    # Connections in use are told with their next answer that it was the last one.
    await asyncio.sleep(LAST_ANSWERS_SECONDS)
    server.should_exit = True
    stopping.cancel()
    await running


def main() -> int:
    """Run one worker as its supervisor told it in FLYBALL_WORKER_SPEC."""
    spec = msgspec.json.decode(os.environ.pop(SPEC_VARIABLE).encode(), type=WorkerSpec)
    log_to_stderr(f"worker {spec.slot}")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with(spec.parent, signal.SIGTERM)
    try:
        import uvloop
    except ImportError:
        run = asyncio.run
    else:
        run = uvloop.run
    try:
        run(serve(spec))
    finally:
        # A thread that hangs (a native predictor) must not keep the port of a worker that has ended.
        threading.Timer(HARD_STOP_SECONDS - GRACE_SECONDS, os._exit, [1]).start()
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
