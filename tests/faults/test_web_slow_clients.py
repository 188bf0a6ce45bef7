"""Clients of both servers that send by the drop, without end, or leave in the middle, on raw sockets.

The servers' clock stands still unless a client moves it, so a slow machine changes nothing.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from flyball.backends.connections import (
    HEAD_BYTES,
    HEAD_SECONDS,
    LINGER_SECONDS,
    MOST_HEADERS,
    BoundedConnection,
)
from flyball.data.spool import SpoolWriter
from flyball.serving.fast_path import protocol_class
from flyball.serving.journal import Journal
from flyball.serving.metrics import WorkerMetrics
from flyball.serving.options import ServeOptions
from flyball.serving.predict import Predictions
from flyball.serving.served import ServedModels
from flyball.serving.server import build_application
from flyball.web.edge import BODY_SECONDS, LOOPBACK_NAMES, Edge

HOST = b"Host: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\n"
LIVE = b"GET /v2/health/live HTTP/1.1\r\n" + HOST
LIMIT = 1000
KEEP_ALIVE_SECONDS = 60
HEAD = int(HEAD_SECONDS)


class StillClock(asyncio.SelectorEventLoop):
    """An event loop for which no time passes but what it is told."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        """Let time pass, from another thread; returns when all that was due by then has been called."""
        done = asyncio.run_coroutine_threadsafe(self._move(seconds), self)
        done.result(30)

    async def _move(self, seconds: float) -> None:
        await self._turn()  # what was sent before comes first
        self.now += seconds
        await self._turn()

    async def _turn(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


class Client(socket.socket):
    """A client that knows how to move the clock of its server."""

    loop: StillClock

    def until_closed(self, drip: bytes = b"", seconds: int = 0) -> bytes:
        """All that comes until the server closes, while drop by drop is sent, one a second. Fails if it stays open."""
        for _ in range(seconds):
            with suppress(OSError):
                self.sendall(drip)
            self.loop.move(1.0)
        answer = b""
        try:
            while piece := self.recv(65536):
                answer += piece
        except TimeoutError as error:
            raise AssertionError(f"still open after {seconds} s: {answer[:200]!r}") from error
        except ConnectionError:
            return answer
        return answer

    def one_answer(self) -> bytes:
        """An answer whose length is given; the connection may stay."""
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.recv(65536)
        head, _, body = head.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        size = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
        while len(body) < size:
            body += self.recv(65536)
        return head + b"\r\n\r\n" + body


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An application that reads the body of a POST, and of nothing else."""
    size = len((await receive())["body"]) if scope["method"] == "POST" else 0
    body = b"%d bytes" % size
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def control_edge() -> tuple[Any, type[BoundedConnection]]:
    """The control plane's outermost layer, and its connections."""
    return Edge(echo, LOOPBACK_NAMES, LIMIT), BoundedConnection


@pytest.fixture
def model_edge(tmp_path: Path) -> Iterator[Any]:
    """A model server's application that serves no model yet, and its connections."""
    models, metrics = ServedModels({}), WorkerMetrics(tmp_path / "metrics", 0)
    with closing(SpoolWriter(tmp_path / "spool", "worker")) as spool:
        journal = Journal(spool)
        predictions = Predictions(models, journal, 2.0)
        application = build_application(models, journal, metrics, ServeOptions(), predictions)
        yield application, protocol_class(application, predictions)


@pytest.fixture(params=["control_edge", "model_edge"])
def server(request: pytest.FixtureRequest) -> Any:
    """Each of the two."""
    return request.getfixturevalue(request.param)


def ask(server: tuple[Any, type[BoundedConnection]], act: Callable[[Client], bytes]) -> bytes:
    """What a client, in a thread of its own, makes of a server."""
    application, protocol = server
    config = uvicorn.Config(
        application,
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    config.load()
    state = uvicorn.Server(config).server_state

    async def meet() -> bytes:
        loop: Any = asyncio.get_running_loop()
        listener = await loop.create_server(
            lambda: protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
        )

        def call() -> bytes:
            with Client() as client:
                client.settimeout(10)
                client.connect(listener.sockets[0].getsockname())
                client.loop = loop
                return act(client)

        try:
            return await asyncio.to_thread(call)
        finally:
            listener.close()

    with asyncio.Runner(loop_factory=StillClock) as runner:
        return runner.run(meet())


def test_a_connection_that_asks_nothing_is_ended(server: Any):
    assert ask(server, lambda client: client.until_closed(seconds=HEAD + 1)) == b""


def test_headers_by_the_drop_are_not_waited_for(server: Any):
    def act(client: Client) -> bytes:
        client.sendall(LIVE)
        return client.until_closed(b"X-A: b\r\n", seconds=HEAD + 1)

    assert ask(server, act) == b""


@pytest.mark.parametrize("lines", [1, HEAD + 1])
def test_empty_lines_behind_an_answer_do_not_keep_a_connection(server: Any, lines: int):
    def act(client: Client) -> bytes:
        client.sendall(LIVE + b"\r\n")
        assert client.one_answer().startswith(b"HTTP/1.1 200 ")
        for _ in range(lines):
            with suppress(OSError):
                client.sendall(b"\r\n")
            client.loop.move(1.0)
        return client.until_closed(seconds=HEAD + 1 - lines)

    assert ask(server, act) == b""


def test_headers_without_end_are_refused_before_they_fill_the_memory(server: Any):
    def act(client: Client) -> bytes:
        head = LIVE + b"X-Long: "
        client.sendall(head)
        client.loop.move(1.0)
        client.sendall(b"a" * (HEAD_BYTES + 1 - len(head)))
        return client.until_closed()

    assert ask(server, act).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("lines", [b"a:b\r\n" * (MOST_HEADERS + 1), b"a:" + b"b" * HEAD_BYTES + b"\r\n"])
def test_too_many_or_too_long_headers_are_refused_though_they_come_whole(server: Any, lines: bytes):
    def act(client: Client) -> bytes:
        client.sendall(LIVE + lines + b"\r\n")
        return client.until_closed()

    answer = ask(server, act)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_as_many_headers_as_allowed_are_answered_each_time_and_a_long_body_counts_for_none(server: Any):
    head = LIVE + b"a:b\r\n" * (MOST_HEADERS - 4)

    def act(client: Client) -> bytes:
        statuses = b""
        for size in (0, HEAD_BYTES, 2 * HEAD_BYTES):
            client.sendall(head + b"Content-Length: %d\r\n\r\n" % size + b"c" * size)
            statuses += client.one_answer()[8:12]
        return statuses

    assert ask(server, act) == b" 200 200 200"


@pytest.mark.parametrize("piece", [b"a:b\r\n" * 90, b"b" * 450])
def test_trailers_without_end_are_not_taken(server: Any, piece: bytes):
    def act(client: Client) -> bytes:
        client.sendall(LIVE + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n")
        answer = client.one_answer()
        client.sendall(b"a:b\r\na:")
        for _ in range(HEAD_BYTES // len(piece) + 2):
            with suppress(OSError):
                client.sendall(piece)
            client.loop.move(0.0)
        return answer + client.until_closed()

    assert ask(server, act).count(b"HTTP/1.1 ") == 1


def test_more_trailers_than_headers_may_be_end_the_connection(server: Any):
    def act(client: Client) -> bytes:
        begin = b"POST /nowhere HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
        client.sendall(begin + b"a:b\r\n" * (MOST_HEADERS + 1) + b"\r\n")
        return client.until_closed()

    assert b"HTTP/1.1 200" not in ask(server, act)


@pytest.mark.parametrize("begin", [LIVE, b"POST /v1/models/rides/predict HTTP/1.1\r\n" + HOST])
def test_trailers_by_the_drop_do_not_keep_a_connection(server: Any, begin: bytes):
    def act(client: Client) -> bytes:
        client.sendall(begin + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n")
        return client.until_closed(b"a:b\r\n", int(BODY_SECONDS) + 1)

    assert ask(server, act)[9:12] in (b"200", b"404", b"408")


def test_chunks_whose_pieces_end_behind_a_size_are_no_trailers_and_trailers_are_no_headers(model_edge: Any):
    chunk = b"400\r\n" + b"a" * 1024 + b"\r\n"

    def act(client: Client) -> bytes:
        client.sendall(LIVE + b"Transfer-Encoding: chunked\r\n\r\n400\r\n")
        for _ in range(2 * HEAD_BYTES // len(chunk)):
            client.sendall(chunk[5:] + chunk[:5])
            client.loop.move(0.01)
        long = b"%x\r\n" % (2 * HEAD_BYTES)
        client.sendall(chunk[5:] + long)
        for _ in range(2 * HEAD_BYTES // 1024):
            client.sendall(b"a" * 1024)
            client.loop.move(0.01)
        client.sendall(b"\r\n0\r\nHost: elsewhere\r\n\r\n")
        first = client.one_answer()
        whole = LIVE + b"Transfer-Encoding: chunked\r\n\r\n0\r\nHost: elsewhere\r\n\r\n"
        client.sendall(whole)
        return first[8:12] + client.one_answer()[8:12]

    assert ask(model_edge, act) == b" 200 200"


@pytest.mark.parametrize("drip", [b"a", b""])
def test_a_body_by_the_drop_or_none_at_all_is_answered_408(server: Any, drip: bytes):
    def act(client: Client) -> bytes:
        client.sendall(b"POST /v1/models/rides/predict HTTP/1.1\r\n" + HOST + b"Content-Length: 900\r\n\r\n")
        return client.until_closed(drip, int(BODY_SECONDS) + 1)

    head, _, body = ask(server, act).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(body)["code"] == "too_slow"


@pytest.mark.parametrize("begin", [LIVE, b"PUT /v2/health/live HTTP/1.1\r\n" + HOST])
def test_a_body_that_nobody_reads_does_not_keep_a_connection(server: Any, begin: bytes):
    def act(client: Client) -> bytes:
        client.sendall(begin + b"Content-Length: 900\r\n\r\n")
        answer = client.one_answer()
        return answer + client.until_closed(b"a", int(LINGER_SECONDS) + 1)

    assert ask(server, act)[9:12] in (b"200", b"405")


def test_a_body_that_nobody_reads_may_come_late_and_the_connection_goes_on(server: Any):
    def act(client: Client) -> bytes:
        client.sendall(LIVE + b"Content-Length: 6\r\n\r\nabc")
        first = client.one_answer()
        client.loop.move(LINGER_SECONDS - 1)
        client.sendall(b"def")
        client.loop.move(HEAD_SECONDS - 1)
        client.sendall(LIVE + b"\r\n")
        assert client.one_answer()[9:12] == first[9:12] == b"200"
        client.sendall(LIVE + b"Content-Length: 6\r\n\r\nabcdef")
        assert client.one_answer()[9:12] == b"200"
        return client.until_closed(seconds=KEEP_ALIVE_SECONDS + 1)

    assert ask(server, act) == b""


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_above_the_limit_is_refused_and_the_client_can_read_why(control_edge: Any, announced: bool):
    body = b"a" * 5_000_000
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    chunks = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body)

    def act(client: Client) -> bytes:
        client.sendall(b"POST / HTTP/1.1\r\n" + HOST + (length if announced else chunks) + body)
        return client.recv(65536)

    answer = ask(control_edge, act)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"too_large" in answer


def test_a_body_in_pieces_arrives_whole_and_the_connection_goes_on(server: Any):
    head = b"POST /v1/models/rides/predict HTTP/1.1\r\n" + HOST + b"Content-Length: 12\r\n\r\n"

    def act(client: Client) -> bytes:
        answers = []
        for _ in range(2):
            client.sendall(head + b'{"rows"')
            client.loop.move(HEAD_SECONDS - 1)
            client.sendall(b": 1}\n")
            answers.append(client.one_answer())
            client.loop.move(KEEP_ALIVE_SECONDS - 1)  # longer than anything may take that is waited for
        return b"\n\n".join(answers)

    answers = ask(server, act)
    # The model server has no such model, and says so once it has the whole request.
    assert answers.count(b"12 bytes") + answers.count(b"HTTP/1.1 404 ") == 2


def test_a_client_that_leaves_while_it_sends_is_no_fault_of_the_server(control: Any):
    before = control.log()
    path = f"/api/v1/incidents/{control.ids['incident']}/notes".encode()
    head = b"POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nOrigin: http://127.0.0.1:%d\r\n"
    head += b"Content-Type: application/json\r\nContent-Length: 500\r\n\r\n"
    for number in range(10):
        with socket.create_connection(("127.0.0.1", control.port), timeout=5) as client:
            client.sendall(head % (path, control.port, control.port) + b'{"text": "cut off')
            time.sleep(0.02 * (number % 2))
    assert control.ask("GET", "/api/v1/health").status == 200
    assert control.log() == before
    assert b"cut off" not in control.ask("GET", f"/api/v1/incidents/{control.ids['incident']}").body


@pytest.mark.long
def test_the_real_server_outlives_five_hundred_clients_that_never_finish(control: Any):
    clients = []
    for _ in range(500):
        client = socket.create_connection(("127.0.0.1", control.port), timeout=5)
        client.sendall(b"GET / HTTP/1.1\r\nHost: 127")
        clients.append(client)
    assert control.ask("GET", "/api/v1/health").status == 200
    time.sleep(HEAD_SECONDS + 1)
    for client in clients:
        assert client.recv(1) == b""
        client.close()
    assert control.ask("GET", "/api/v1/health").status == 200
