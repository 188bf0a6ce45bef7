"""The edge: which requests come through at all, and what every answer carries."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from flyball.web.edge import CONTENT_SECURITY_POLICY, LOOPBACK_NAMES, Edge

SERVER = ("host", "127.0.0.1:8080")
ORIGIN = ("origin", "http://127.0.0.1:8080")


async def inner(scope: Any, receive: Any, send: Any) -> None:
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"x-method", scope["method"].encode())]}
    )
    await send({"type": "http.response.body", "body": b"reached"})


def ask(
    method: str, *headers: tuple[str, str], path: str = "/", hosts: set[str] | None = None
) -> tuple[int, dict, bytes]:
    """Status, headers and body of the answer to one request through the edge."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    asyncio.run(Edge(inner, hosts or LOOPBACK_NAMES)(scope, receive, send))
    names = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], names, sent[1]["body"]


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "LOCALHOST:9", "[::1]:8080"])
def test_this_machines_own_names_are_answered(host: str):
    assert ask("GET", ("host", host))[0] == 200


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8080", "evil.example@localhost",
     "localhost, evil.example", "127.0.0.1:8080/x", "0.0.0.0", "[::ffff:127.0.0.1]", "[::1", "2130706433"],
)  # fmt: skip
def test_a_name_that_another_page_could_point_here_is_refused(host: str):
    status, _, body = ask("GET", ("host", host))
    assert status == 421
    assert b"reached" not in body


def test_a_request_without_a_host_or_with_two_is_refused():
    assert ask("GET")[0] == 421
    assert ask("GET", SERVER, ("host", "evil.example"))[0] == 421


def test_a_host_that_the_operator_added_is_answered():
    assert ask("GET", ("host", "models.example:443"), hosts={"models.example"})[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_change_from_a_page_of_this_server_comes_through(method: str):
    assert ask(method, SERVER, ORIGIN)[0] == 200


@pytest.mark.parametrize(
    "origin",
    [None, "null", "", "http://evil.example", "http://127.0.0.1", "http://127.0.0.1:8081", "http://localhost:8080",
     "http://127.0.0.1:8080.evil.example", "http://127.0.0.1:8080/", "http://evil.example#http://127.0.0.1:8080",
     "file://127.0.0.1:8080", "http://evil.example@127.0.0.1:8080"],
)  # fmt: skip
def test_a_change_from_anywhere_else_is_refused(origin: str | None):
    headers = [SERVER] if origin is None else [SERVER, ("origin", origin)]
    for method in ("POST", "PUT"):
        status, _, body = ask(method, *headers)
        assert status == 403
        assert msgspec.json.decode(body)["code"] == "foreign_origin"


@pytest.mark.parametrize("method", ["PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
def test_methods_that_nothing_answers_are_refused_even_from_here(method: str):
    assert ask(method, SERVER, ORIGIN)[0] == 405


def test_a_token_is_refused_while_this_server_knows_none():
    status, _, body = ask("GET", SERVER, ("authorization", "Bearer x"))
    assert status == 401
    assert b"FLYBALL_TOKEN" in body


def test_head_asks_as_get_does():
    assert ask("HEAD", SERVER)[1]["x-method"] == "GET"


def test_an_overlong_address_is_refused():
    assert ask("GET", SERVER, path="/" + "a" * 5000)[0] == 414


@pytest.mark.parametrize("request_", [("GET", SERVER), ("POST", SERVER), ("GET", ("host", "evil.example"))])
def test_every_answer_forbids_scripts_of_others_sniffing_and_framing(request_: tuple[str, tuple[str, str]]):
    headers = ask(*request_)[1]
    assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store"


def test_a_request_id_is_given_back_and_a_hostile_one_replaced():
    assert ask("GET", SERVER, ("x-request-id", "abc-1"))[1]["x-request-id"] == "abc-1"
    assert ask("GET", SERVER, ("x-request-id", "a\r\nset-cookie: x"))[1]["x-request-id"].startswith("req_")
