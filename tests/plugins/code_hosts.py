"""Small code hosts on loopback that speak the endpoints of GitHub and GitLab for comments, and can be made to fail."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

TOKEN = "tok_5ecret5ecret"
PATHS = {
    "github": (r"/repos/o/r/issues/7/comments", r"/repos/o/r/issues/comments/(\d+)"),
    "gitlab": (r"/projects/42/merge_requests/7/notes", r"/projects/42/merge_requests/7/notes/(\d+)"),
}


class CodeHost:
    """One change with its comments. `answer`: what every request gets instead, as (status, headers, body).

    answers: what the next requests get; answers_by_method: what the next requests of a method get.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.comments: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.answer: tuple[int, dict[str, str], bytes] | None = None
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.answers_by_method: dict[str, list[tuple[int, dict[str, str], bytes]]] = {}
        self.delay_seconds = 0.0
        self.knows_user = kind == "gitlab"
        self._lock = threading.Lock()
        self._next = 100
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self._folder = folder

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self, **more: str) -> dict[str, str]:
        """What a job of this host would find in its environment."""
        event = self._folder / "event.json"
        event.write_text(json.dumps({"pull_request": {"number": 7}}))
        found = {
            "github": {
                "GITHUB_ACTIONS": "true",
                "GITHUB_API_URL": self.url,
                "GITHUB_REPOSITORY": "o/r",
                "GITHUB_EVENT_PATH": str(event),
                "GITHUB_RUN_ID": "500",
                "GITHUB_TOKEN": TOKEN,
            },
            "gitlab": {
                "GITLAB_CI": "true",
                "CI_API_V4_URL": self.url,
                "CI_PROJECT_ID": "42",
                "CI_MERGE_REQUEST_IID": "7",
                "CI_PIPELINE_ID": "500",
                "GITLAB_TOKEN": TOKEN,
            },
        }[self.kind]
        return {**found, "FLYBALL_EGRESS": self.url, **more}

    def add(self, body: str, *, mine: bool = True, login: str = "someone") -> dict[str, Any]:
        """A comment, ours or somebody's."""
        with self._lock:
            self._next += 1
            user = (
                {"login": "flyball[bot]", "type": "Bot", "id": 1}
                if mine
                else {"login": login, "type": "User", "id": 2}
            )
            entry = {"id": self._next, "body": body, "user": user, "author": user, "system": False}
            entry["html_url"] = f"https://host.example/7#comment-{self._next}"
            self.comments.append(entry)
            return entry

    def respond(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        self.requests.append((method, path, headers))
        time.sleep(self.delay_seconds)
        if self.answers:
            return self.answers.pop(0)
        if self.answers_by_method.get(method):
            return self.answers_by_method[method].pop(0)
        if self.answer is not None:
            return self.answer
        given = headers.get("private-token") or headers.get("authorization", "").removeprefix("Bearer ")
        if given != TOKEN:
            return 401, {}, b'{"message": "Bad credentials"}'
        parts = urlsplit(path)
        if parts.path == "/user":
            user = {"login": "flyball[bot]", "id": 1}
            return (
                (200, {}, json.dumps(user).encode()) if self.knows_user else (403, {}, b'{"message": "no"}')
            )
        return self.route(method, parts.path, parse_qs(parts.query), body)

    def route(self, method: str, path: str, query: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """What an endpoint answers."""
        many, one = PATHS[self.kind]
        if method == "GET" and re.fullmatch(many, path):
            size, page = int(query["per_page"][0]), int(query["page"][0])
            with self._lock:
                return 200, {}, json.dumps(self.comments[(page - 1) * size : page * size]).encode()
        if method == "POST" and re.fullmatch(many, path):
            return 201, {}, json.dumps(self.add(json.loads(body)["body"])).encode()
        found = re.fullmatch(one, path)
        with self._lock:
            entry = next((entry for entry in self.comments if found and entry["id"] == int(found[1])), None)
            if entry is None:
                return 404, {}, b"{}"
            if method == "DELETE":
                self.comments.remove(entry)
                return 204, {}, b""
            if method == {"github": "PATCH", "gitlab": "PUT"}[self.kind]:
                entry["body"] = json.loads(body)["body"]
                return 200, {}, json.dumps(entry).encode()
        return 405, {}, b"{}"


def _handler(host: CodeHost) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, more, answer = host.respond(self.command, self.path, headers, body)
            self.send_response(status)
            for name, value in {"content-length": str(len(answer)), **more}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _respond

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


@pytest.fixture(params=["github", "gitlab"])
def code_host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CodeHost]:
    """Each code host in turn, with one open change."""
    host = CodeHost(request.param, tmp_path)
    yield host
    host.close()
