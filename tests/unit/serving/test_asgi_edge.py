"""The edge: paths, hosts, origins, and bodies that are too long, too slow or of another kind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flyball.core.endpoints import list_endpoints
from flyball.core.errors import Refused
from flyball.serving import asgi
from flyball.serving.asgi import Application, Gate, Request, Response, Routes
from flyball.serving.metrics import WorkerMetrics
from flyball.serving.options import LOOPBACK_NAMES
from flyball.serving.protocol import Rejected

JSON_HEADERS = [(b"host", b"localhost:8081"), (b"content-type", b"application/json")]


async def echo(request: Request) -> Response:
    body = await request.body() if b"content-length" in request.headers else b""
    return Response(200, json.dumps({**request.parameters, "length": len(body)}).encode())


def application(tmp_path: Path, host_names: frozenset[str] | None = LOOPBACK_NAMES) -> Application:
    handlers = {endpoint.name: echo for endpoint in list_endpoints("model")}
    return Application(handlers, Gate(host_names), WorkerMetrics(tmp_path, 0))


def call(
    app: Application,
    method: str,
    path: str,
    headers: list[tuple[bytes, bytes]] | None = None,
    body: list[bytes] | None = None,
) -> tuple[int, dict[bytes, bytes], bytes, int]:
    """Status, headers, body, and how many bytes of the request were read before the answer began."""
    chunks: Iterator[bytes] = iter(body or [b""])
    rest = len(body or [b""])
    read = read_before_answer = 0
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        nonlocal rest, read
        rest -= 1
        if rest < 0:
            await asyncio.sleep(3600)
        chunk = next(chunks)
        read += len(chunk)
        return {"type": "http.request", "body": chunk, "more_body": rest > 0 or chunk == b"trickle"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal read_before_answer
        if not sent:
            read_before_answer = read
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": headers or JSON_HEADERS}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"], read_before_answer


def with_length(length: int) -> list[tuple[bytes, bytes]]:
    return [*JSON_HEADERS, (b"content-length", b"%d" % length)]


def test_a_path_leads_to_its_handler_with_its_parameters(tmp_path: Path):
    status, _, body, _ = call(application(tmp_path), "GET", "/v2/models/bike/versions/3")
    assert (status, json.loads(body)) == (200, {"model": "bike", "version": "3", "length": 0})


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/models/a/b/predict",
        "/v1/models//predict",
        "/v1/models/x/predict/",
        "/v2/models/../x/ready/y",
    ],
)
def test_a_path_that_is_not_declared_is_a_404(tmp_path: Path, path: str):
    assert call(application(tmp_path), "POST", path)[0] == 404


def test_another_method_is_a_405(tmp_path: Path):
    assert call(application(tmp_path), "GET", "/v1/models/bike/predict")[0] == 405
    assert call(application(tmp_path), "DELETE", "/metrics")[0] == 405


def test_a_server_without_a_handler_for_a_declared_endpoint_does_not_start(tmp_path: Path):
    with pytest.raises(Refused, match="no handler"):
        Routes({"model.predict": echo})


def test_a_body_above_the_limit_is_refused_before_it_is_read(tmp_path: Path):
    status, headers, _, read = call(
        application(tmp_path),
        "POST",
        "/v1/models/bike/predict",
        with_length(50 * 2**20),
        [b"x" * 65536] * 800,
    )
    assert (status, headers[b"connection"], read) == (413, b"close", 0)


def test_a_body_that_does_not_announce_its_length_is_cut_off_at_the_limit(tmp_path: Path):
    headers = [*JSON_HEADERS, (b"content-length", b"0")]
    status, _, _, read = call(
        application(tmp_path), "POST", "/v1/models/bike/predict", headers, [b"x" * 65536] * 800
    )
    assert status == 413
    assert read <= 10 * 2**20 + 65536


def test_a_body_that_never_begins_is_given_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(asgi, "BODY_SECONDS", 0.05)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(3600)
        raise AssertionError("nothing comes")

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def story() -> None:
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/models/bike/predict",
            "headers": with_length(7),
        }
        async with asyncio.timeout(5):
            await application(tmp_path)(scope, receive, send)

    asyncio.run(story())
    assert sent[0]["status"] == 408


@pytest.mark.parametrize("status", [413, 422])
def test_a_refusal_of_a_body_that_was_read_whole_waits_for_nothing_more(tmp_path: Path, status: int):
    async def refused(request: Request) -> Response:
        await request.body()
        raise Rejected(status, "too_many_rows", "fewer")

    handlers = {endpoint.name: refused for endpoint in list_endpoints("model")}
    app = Application(handlers, Gate(LOOPBACK_NAMES), WorkerMetrics(tmp_path, 0))
    receives = iter(
        [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.request", "body": b"}"}]
    )

    async def receive() -> dict[str, Any]:
        return next(receives)

    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/models/bike/outcomes", "headers": JSON_HEADERS}
    asyncio.run(app(scope, receive, send))
    assert [message.get("more_body", False) for message in sent] == [False, False]
    assert sent[0]["status"] == status


def test_a_body_that_only_trickles_is_given_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(asgi, "BODY_SECONDS", 0.05)
    status, headers, _, _ = call(
        application(tmp_path), "POST", "/v1/models/bike/predict", with_length(7), [b"trickle"]
    )
    assert (status, headers[b"connection"]) == (408, b"close")


@pytest.mark.parametrize(
    "header", [(b"content-type", b"text/plain"), (b"content-type", b""), (b"content-encoding", b"gzip")]
)
def test_another_type_or_encoding_is_a_415(tmp_path: Path, header: tuple[bytes, bytes]):
    headers = [*with_length(2), header]
    assert call(application(tmp_path), "POST", "/v1/models/bike/predict", headers, [b"{}"])[0] == 415


def test_json_with_a_charset_is_json(tmp_path: Path):
    headers = [*with_length(2), (b"content-type", b"application/json; charset=utf-8")]
    assert call(application(tmp_path), "POST", "/v1/models/bike/predict", headers, [b"{}"])[0] == 200


@pytest.mark.parametrize("host", [b"localhost", b"127.0.0.1:8081", b"[::1]:8081", b"LOCALHOST:1"])
def test_our_own_names_are_answered(tmp_path: Path, host: bytes):
    assert call(application(tmp_path), "GET", "/v2/health/live", [(b"host", host)])[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example",
        b"localhost.evil.example:8081",
        b"[::2]:8081",
        b"",
        b"127.0.0.1:8081@evil.example",
        b"[::1",
        b"localhost:8081:1",
    ],
)
def test_a_foreign_name_is_not_answered(tmp_path: Path, host: bytes):
    assert call(application(tmp_path), "GET", "/v2/health/live", [(b"host", host)])[0] == 403


@pytest.mark.parametrize("hosts", [[], [b"evil.example", b"localhost"], [b"localhost", b"localhost"]])
def test_no_name_or_several_are_not_answered(tmp_path: Path, hosts: list[bytes]):
    headers = [(b"accept", b"*/*"), *((b"host", host) for host in hosts)]
    assert call(application(tmp_path), "GET", "/v2/health/live", headers)[0] == 403


def test_any_name_is_answered_where_the_server_can_not_know_its_names(tmp_path: Path):
    app = application(tmp_path, None)
    assert call(app, "GET", "/v2/health/live", [(b"host", b"models.example.com")])[0] == 200
    assert call(app, "GET", "/v2/health/live", [(b"accept", b"*/*")])[0] == 200
    for hosts in ([b"[::1"], [b"models.example.com", b"evil.example"]):
        assert call(app, "GET", "/v2/health/live", [(b"host", host) for host in hosts])[0] == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [(b"http://localhost:8081", 200), (b"http://evil.example", 403), (b"null", 403), (b"http://[", 403)],
)
def test_a_page_of_another_site_can_not_post(tmp_path: Path, origin: bytes, status: int):
    headers = [*with_length(2), (b"origin", origin)]
    assert call(application(tmp_path), "POST", "/v1/models/bike/predict", headers, [b"{}"])[0] == status


def test_the_request_id_comes_back_when_it_is_plain_text(tmp_path: Path):
    app = application(tmp_path)
    headers = [*JSON_HEADERS, (b"x-request-id", b"abc-123")]
    assert call(app, "GET", "/v2/health/live", headers)[1][b"x-request-id"] == b"abc-123"
    for bad in (b"a b", b"x" * 129, b"\xff"):
        headers = [*JSON_HEADERS, (b"x-request-id", bad)]
        assert b"x-request-id" not in call(app, "GET", "/v2/health/live", headers)[1]


def test_a_defect_is_a_500_with_a_number_and_without_its_insides(tmp_path: Path):
    async def broken(_request: Request) -> Response:
        raise RuntimeError("the password is swordfish")

    handlers = {endpoint.name: broken for endpoint in list_endpoints("model")}
    app = Application(handlers, Gate(LOOPBACK_NAMES), WorkerMetrics(tmp_path, 0))
    status, _, body, _ = call(app, "GET", "/v2/health/live")
    assert status == 500
    assert b"swordfish" not in body
    assert b"err_" in body


def test_requests_are_counted_by_endpoint_and_status(tmp_path: Path):
    app = application(tmp_path)
    for path in ("/v2/health/live", "/v2/health/live", "/nowhere"):
        call(app, "GET", path)
    text = WorkerMetrics(tmp_path, 0).render().decode()
    assert 'flyball_requests_total{endpoint="model.live",status="200"} 2' in text
    assert 'flyball_requests_total{endpoint="none",status="404"} 1' in text


def test_while_draining_each_answer_closes_its_connection(tmp_path: Path):
    app = application(tmp_path)
    app.draining = True
    assert call(app, "GET", "/v2/health/live")[1][b"connection"] == b"close"


def test_a_refusal_says_when_to_come_back():
    response = asgi.refuse(Rejected(429, "overloaded", "later", retry_after_seconds=1))
    assert dict(response.headers)[b"retry-after"] == b"1"
    assert json.loads(response.body) == {"code": "overloaded", "message": "later"}
