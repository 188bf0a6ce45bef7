"""HTTP as it comes over the wire, on the short way and on the one through ASGI: split, pipelined, chunked, odd."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from flyball_tests_serving import MODEL, ROW, Bundles, ModelServer

START = b"POST /v1/models/rides/predict HTTP/1.1\r\nHost: localhost\r\n"
BODY = json.dumps({"rows": [ROW]}).encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, bundles: Bundles) -> Iterator[ModelServer]:
    server = ModelServer(tmp_path_factory.mktemp("http") / "home")
    server.home.mkdir()
    server.publish(1, champion=(1, bundles.lightgbm(0.0)))
    yield server.start()
    server.stop()


def request(
    *, path: str = f"/v1/models/{MODEL}/predict", method: str = "POST", version: str = "1.1", **headers: str
) -> bytes:
    given = {"Host": "localhost", "Content-Type": "application/json", "Content-Length": str(len(BODY))}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in given.items() if value]
    return f"{method} {path} HTTP/{version}\r\n".encode() + "\r\n".join(lines).encode() + b"\r\n\r\n"


class Wire:
    """A connection that is read answer by answer."""

    def __init__(self, server: ModelServer) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        self.data = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> Wire:
        self.socket.sendall(data)
        return self

    def read(self) -> tuple[int, dict[str, str], Any]:
        while b"\r\n\r\n" not in self.data:
            self._more()
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in lines}
        length = int(headers.get("content-length", 0))
        while len(self.data) < length:
            self._more()
        body, self.data = self.data[:length], self.data[length:]
        kind = headers.get("content-type", "")
        return int(status.split()[1]), headers, json.loads(body) if body and "json" in kind else body

    def _more(self) -> None:
        piece = self.socket.recv(65536)
        if not piece:
            raise ConnectionError(f"closed after {self.data!r}")
        self.data += piece

    def is_closed(self) -> bool:
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True


def test_a_connection_is_used_again_and_again(server: ModelServer):
    with Wire(server) as wire:
        ids = set()
        for _ in range(5):
            status, headers, content = wire.send(request() + BODY).read()
            assert (status, headers.get("connection")) == (200, None)
            ids.add(content["prediction_ids"][0])
        assert len(ids) == 5


def test_a_request_may_come_byte_by_byte(server: ModelServer):
    with Wire(server) as wire:
        wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request() + BODY:
            wire.send(bytes([byte]))
        assert wire.read()[0] == 200


def test_pipelined_requests_are_answered_in_order(server: ModelServer):
    health = request(path="/v2/health/live", method="GET", Content_Length="")
    other = json.dumps({"rows": [ROW, ROW]}).encode()
    sent = (
        request()
        + BODY
        + health
        + request(Content_Length=str(len(other)))
        + other
        + request()
        + BODY
        + health
    )
    with Wire(server) as wire:
        wire.send(sent)
        contents = [wire.read()[2] for _ in range(5)]
    assert [len(content.get("predictions", [])) for content in contents] == [1, 0, 2, 1, 0]


def test_a_chunked_body_is_read(server: ModelServer):
    half = len(BODY) // 2
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:half], BODY[half:], b""))
    with Wire(server) as wire:
        wire.send(request(Content_Length="", Transfer_Encoding="chunked") + chunks)
        assert wire.read()[0] == 200
        assert wire.send(request() + BODY).read()[0] == 200


def test_a_client_that_waits_to_be_told_is_told_to_go_on(server: ModelServer):
    with Wire(server) as wire:
        assert wire.send(request(Expect="100-continue")).read()[0] == 100
        assert wire.send(BODY).read()[0] == 200


def test_a_client_that_asks_first_is_spared_a_body_that_is_too_long(server: ModelServer):
    with Wire(server) as wire:
        wire.send(request(Expect="100-continue", Content_Length=str(50 * 2**20)))
        assert wire.read()[0] == 413


@pytest.mark.parametrize("what", ["rows", "outcomes"])
def test_more_rows_than_may_be_are_refused_and_the_next_request_is_answered_at_once(
    server: ModelServer, what: str
):
    path = f"/v1/models/{MODEL}/{'predict' if what == 'rows' else 'outcomes'}"
    many = json.dumps({what: [ROW if what == "rows" else {"value": 1}] * 10_001}).encode()
    with Wire(server) as wire:
        wire.socket.settimeout(4.0)  # less than what a body would be waited for that is still coming
        status, headers, answer = wire.send(request(path=path, Content_Length=str(len(many))) + many).read()
        assert (status, answer["code"]) == (413, "too_many_rows")
        assert "connection" not in headers
        assert wire.send(request() + BODY).read()[0] == 200


def test_connection_close_is_kept(server: ModelServer):
    with Wire(server) as wire:
        status, headers, _ = wire.send(request(Connection="close") + BODY).read()
        assert (status, headers["connection"]) == (200, "close")
        assert wire.is_closed()


def test_http_1_0_is_answered_and_closed(server: ModelServer):
    with Wire(server) as wire:
        assert wire.send(request(version="1.0") + BODY).read()[0] == 200
        assert wire.is_closed()


@pytest.mark.parametrize(
    "sent",
    [
        b"GARBAGE\r\n\r\n",
        START + b"Content-Length: -1\r\n\r\n",
        START + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        START + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        START + b"Ho st: x\r\n\r\n",
    ],
)
def test_what_is_no_http_is_a_400_and_the_end(server: ModelServer, sent: bytes):
    with Wire(server) as wire:
        assert wire.send(sent).read()[0] == 400
        assert wire.is_closed()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"/v1/models/{MODEL}/predict", 405),
        ("POST", f"/v1/models/{MODEL}/predict?x=1", 200),
        ("POST", "/v1/models/%72ides/predict", 200),
        ("POST", "/v1/models/nobody/predict", 404),
        ("POST", f"//v1/models/{MODEL}/predict", 404),
        ("POST", f"/v1/models/../models/{MODEL}/predict", 404),
        ("POST", "/v1/models/..%2f..%2fetc/predict", 404),
    ],
)
def test_odd_paths_and_methods(server: ModelServer, method: str, path: str, status: int):
    with Wire(server) as wire:
        assert wire.send(request(method=method, path=path) + BODY).read()[0] == status


def test_head_gives_the_headers_only(server: ModelServer):
    with Wire(server) as wire:
        wire.send(request(method="HEAD", path="/v2/health/live", Content_Length=""))
        head = wire.socket.recv(4096)
        assert head.startswith(b"HTTP/1.1 200")
        assert head.endswith(b"\r\n\r\n")


def test_a_foreign_host_or_page_is_refused_on_the_short_way_too(server: ModelServer):
    with Wire(server) as wire:
        assert wire.send(request(Host="evil.example") + BODY).read()[0] == 403
        assert wire.send(request(Host="") + BODY).read()[0] == 403
        assert wire.send(request(Host="evil.example\r\nHost: localhost") + BODY).read()[0] == 403
        assert wire.send(request(Host="127.0.0.1:8081@evil.example") + BODY).read()[0] == 403
        assert wire.send(request(Host="[::1") + BODY).read()[0] == 403
        assert wire.send(request(Origin="http://evil.example") + BODY).read()[0] == 403
        assert wire.send(request(Content_Type="text/plain") + BODY).read()[0] == 415
        assert wire.send(request() + BODY).read()[0] == 200


def test_a_client_that_goes_away_before_its_answer_harms_nobody(server: ModelServer):
    for _ in range(20):
        with Wire(server) as wire:
            wire.send(request() + BODY)
    with Wire(server) as wire:
        assert wire.send(request() + BODY).read()[0] == 200
    assert "Traceback" not in server.log


def test_both_ways_give_the_same_answer(server: ModelServer):
    with Wire(server) as wire:
        _, short_headers, short = wire.send(request(X_Request_Id="r1") + BODY).read()
        long_path = f"/v1/models/{MODEL}/predict?long=1"
        _, long_headers, long = wire.send(request(path=long_path, X_Request_Id="r1") + BODY).read()
    assert short_headers == long_headers
    assert {**short, "prediction_ids": []} == {**long, "prediction_ids": []}
