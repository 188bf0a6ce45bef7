"""Clients of the control plane that send by the drop, without end, or leave in the middle, on raw sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn

from flyball.web.connections import HEAD_BYTES, HEAD_SECONDS, Connection
from flyball.web.edge import LOOPBACK_NAMES, Edge

HOST = b"Host: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\n"
LIMIT = 1000


class Quick(Connection):
    """The control plane's connection, less patient."""

    head_seconds = 0.4
    body_seconds = 0.4
    linger_seconds = 0.4


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An application that reads the body of a POST, and of nothing else."""
    size = len((await receive())["body"]) if scope["method"] == "POST" else 0
    body = b"%d bytes" % size
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def meet(act: Callable[[socket.socket], bytes]) -> bytes:
    """What a client, in a thread of its own, makes of a server with the quick connections."""
    edge = Edge(echo, LOOPBACK_NAMES, LIMIT, body_seconds=0.4)
    config = uvicorn.Config(
        edge, http=Quick, ws="none", lifespan="off", log_config=None, timeout_keep_alive=1
    )
    config.load()
    state = uvicorn.Server(config).server_state
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Quick(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )

    def call() -> bytes:
        with socket.create_connection(server.sockets[0].getsockname(), timeout=5) as client:
            return act(client)

    try:
        return await asyncio.to_thread(call)
    finally:
        server.close()


def ask(act: Callable[[socket.socket], bytes]) -> bytes:
    return asyncio.run(meet(act))


def until_closed(client: socket.socket, drip: bytes = b"") -> bytes:
    """All that comes until the server closes, while more is sent drop by drop. Fails when it takes 3 seconds."""
    answer, deadline = b"", time.monotonic() + 3
    client.settimeout(0.1)
    while time.monotonic() < deadline:
        try:
            if drip:
                client.sendall(drip)
            piece = client.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            return answer
        if not piece:
            return answer
        answer += piece
    raise AssertionError(f"still open after 3 s: {answer[:200]!r}")


def test_a_connection_that_asks_nothing_is_ended():
    assert ask(until_closed) == b""


def test_headers_by_the_drop_are_not_waited_for():
    def act(client: socket.socket) -> bytes:
        client.sendall(b"GET / HTTP/1.1\r\n" + HOST)
        return until_closed(client, b"X-A: b\r\n")

    assert ask(act) == b""


def test_empty_lines_behind_an_answer_do_not_keep_a_connection():
    def act(client: socket.socket) -> bytes:
        client.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        return until_closed(client, b"\r\n")

    assert ask(act).startswith(b"HTTP/1.1 200 ")


def test_headers_without_end_are_refused_before_they_fill_the_memory():
    def act(client: socket.socket) -> bytes:
        client.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"X-Long: ")
        time.sleep(0.05)
        client.sendall(b"a" * (HEAD_BYTES + 1))
        return client.recv(65536)

    assert ask(act).startswith(b"HTTP/1.1 431 ")


def test_a_body_by_the_drop_is_answered_408():
    def act(client: socket.socket) -> bytes:
        client.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 900\r\n\r\n")
        return until_closed(client, b"a")

    head, _, body = ask(act).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(body)["code"] == "too_slow"


def test_a_body_that_nobody_reads_does_not_keep_a_connection():
    def act(client: socket.socket) -> bytes:
        client.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 900\r\n\r\n")
        return until_closed(client, b"a")

    assert ask(act).endswith(b"0 bytes")


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_above_the_limit_is_refused_and_the_client_can_read_why(announced: bool):
    body = b"a" * 5_000_000
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    chunks = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body)

    def act(client: socket.socket) -> bytes:
        client.sendall(b"POST / HTTP/1.1\r\n" + HOST + (length if announced else chunks) + body)
        return client.recv(65536)

    answer = ask(act)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"too_large" in answer


def test_a_body_in_pieces_arrives_whole_and_the_connection_goes_on():
    def act(client: socket.socket) -> bytes:
        answers = []
        for _ in range(2):
            client.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 6\r\n\r\nabc")
            time.sleep(0.05)
            client.sendall(b"def")
            answer = b""
            while not answer.endswith(b"bytes"):
                answer += client.recv(65536)
            answers.append(answer.rpartition(b"\r\n")[2])
            time.sleep(0.6)  # longer than headers and bodies may take: nothing is being waited for now
        return b", ".join(answers)

    assert ask(act) == b"6 bytes, 6 bytes"


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
