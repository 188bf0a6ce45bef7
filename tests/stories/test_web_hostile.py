"""Malformed requests over every route: nothing breaks, nothing is shown that should not be, and it goes on."""

from __future__ import annotations

import random
import socket
from typing import Any
from urllib.parse import quote

from flyball.core.endpoints import list_endpoints

REQUESTS = 320
SEGMENTS = [
    "..",
    "%2e%2e",
    "..%2f..%2fetc%2fpasswd",
    "%00",
    "a%00b",
    "%ff%fe",
    "%c0%ae",
    "~root",
    "a" * 3000,
    "-1",
    "0",
    "999999999999",
    "1e9",
    "NaN",
    "null",
    "champion",
    "@",
    "bike-demand@1",
    "prd_" + "0" * 32,
    "inc_" + "f" * 32,
    "run_" + "a" * 32,
    "{{7*7}}",
    "'; drop table models; --",
    "$(id)",
    "`id`",
    "%0d%0aset-cookie:x=y",
    "\u202e",
    "é",
    "<script>",
    "con",
    ".",
    "%2F",
    "%5c..%5c",
]
QUERIES = [
    "",
    "?limit=0",
    "?limit=-1",
    "?limit=99999999999999999999",
    "?limit=a",
    "?limit=1&limit=2",
    "?cursor=%ff",
    "?cursor=" + "A" * 399,
    "?cursor=WzEsMl0",
    "?cursor=WzEsIngiXQ",
    "?after=-1",
    "?after=1e9",
    "?after=99999999999999999999",
    "?stream=maybe",
    "?model=%00",
    "?model='",
    "?head=1:sha256:zz",
    "?verify=x",
    "?%ff=%ff",
    "?a[]=1&a[0]=2",
    "?limit",
    "?" + "x" * 3000,
]
BODIES = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b"0",
    b'"x"',
    b"{",
    b'{"why": NaN}',
    b'{"why": 1e999}',
    b'{"why": "\\ud800"}',
    b'{"why":"\xff"}',
    b"[" * 5000,
    b'{"a":' * 3000,
    b'{"why": "' + b"a" * 200_000 + b'"}',
    b'{"version": -1, "why": "x"}',
    b'{"version": "../x", "why": "x"}',
    b'{"why": "x", "why": "y"}',
    b"why=x&key=k",
    b"key=%ff&why=%ff",
    b"\x00" * 100,
    b'{"text": null}',
    b'{"version": 1.5, "why": "x"}',
]
TYPES = [
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "multipart/form-data; boundary=x",
    "application/json; charset=utf-16",
    "application/msgpack",
    "*/*",
    "",
    "a" * 500,
]
HEADERS = [
    {},
    {"Accept": "text/html"},
    {"Accept": "application/xml"},
    {"Accept": "é"},
    {"Last-Event-ID": "x"},
    {"Idempotency-Key": ""},
    {"Idempotency-Key": "k" * 500},
    {"X-Request-Id": "a b"},
    {"Cookie": "a=b; " * 200},
    {"Range": "bytes=0-1"},
    {"Content-Encoding": "gzip"},
    {"Expect": "100-continue"},
    {"Upgrade": "websocket", "Connection": "Upgrade"},
]


def one_request(chance: random.Random, endpoint: Any) -> tuple[str, str, bytes | None, dict[str, str]]:
    path = endpoint.path
    while "{" in path:
        start, end = path.index("{"), path.index("}")
        segment = chance.choice(SEGMENTS)
        path = path[:start] + quote(segment, safe="%~@'()") + path[end + 1 :]
    method = chance.choice([endpoint.method] * 6 + ["HEAD", "PUT", "DELETE", "BREW"])
    body = chance.choice(BODIES) if method in ("POST", "PUT") else None
    headers = {**chance.choice(HEADERS)}
    if body is not None:
        headers["Content-Type"] = chance.choice(TYPES)
    return (
        method,
        path + chance.choice(QUERIES),
        body,
        {n: v.encode().decode("latin-1") for n, v in headers.items()},
    )


def test_malformed_requests_over_every_route_are_answered_and_none_with_a_5xx(control: Any):
    chance = random.Random(11)
    endpoints = [e for e in list_endpoints("control") if e.name != "control.events"]
    wrong = []
    for number in range(REQUESTS):
        method, path, body, headers = one_request(chance, endpoints[number % len(endpoints)])
        answer = control.ask(method, path, body, headers)
        if not 200 <= answer.status < 500:
            wrong.append((method, path[:80], (body or b"")[:60], headers, answer.status, answer.body[:200]))
        assert b"Traceback" not in answer.body
    assert wrong == []
    assert control.process.poll() is None
    assert control.ask("GET", "/api/v1/audit/verify").json()["ok"]


def test_bytes_that_are_no_http_are_refused_and_the_server_goes_on(control: Any):
    chance = random.Random(5)
    for number in range(40):
        raw = [
            bytes(chance.randrange(256) for _ in range(200)),
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ][number % 7]
        with socket.create_connection(("127.0.0.1", control.port), timeout=10) as connection:
            connection.settimeout(2)
            try:
                connection.sendall(raw)
                answer = connection.recv(4096)
            except OSError:
                answer = b""
        assert b" 5" not in answer.split(b"\r\n")[0][8:11]
    assert control.ask("GET", "/api/v1/health").status == 200


def test_names_that_are_paths_touch_no_file_outside(control: Any):
    secret = control.home.parent / "secret.txt"
    secret.write_text("do not show")
    for name in (
        "../secret.txt",
        "..%2fsecret.txt",
        "%2e%2e/secret.txt",
        str(secret),
        "....//secret.txt",
        "console.css%00.txt",
    ):
        for path in (
            f"/static/{name}",
            f"/runs/{name}",
            f"/runs/{name}/log.txt",
            f"/api/v1/runs/{name}/log",
            f"/models/{name}",
        ):
            answer = control.ask("GET", path)
            assert answer.status in (400, 404), (path, answer.status)
            assert b"do not show" not in answer.body
