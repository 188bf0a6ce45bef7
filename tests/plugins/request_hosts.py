"""The code hosts again, with a real Git repository behind the endpoints for branches, files and change requests."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

CodeHost = sys.modules["flyball_tests_code_hosts"].CodeHost
# A temporary index, so that commits are made without a working tree.
WHO = {
    "GIT_AUTHOR_NAME": "flyball[bot]",
    "GIT_AUTHOR_EMAIL": "bot@host.example",
    "GIT_COMMITTER_NAME": "flyball[bot]",
    "GIT_COMMITTER_EMAIL": "bot@host.example",
}
Answer = tuple[int, dict[str, str], bytes]


class No(Exception):
    """The host answers with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class RequestHost(CodeHost):
    """A repository `o/r`, or project 42, whose branches are those of a bare repository; `main` is the default.

    breaks: given method and path of a request, an answer that is sent instead. words: what was said in requests.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self.bare = folder / "host.git"
        self._git_lock = threading.RLock()
        self.pulls: list[dict[str, Any]] = []
        self.words: dict[int, list[str]] = {}
        self.breaks: Callable[[str, str], Answer | None] = lambda method, path: None
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(self.bare)], check=True)
        super().__init__(kind, folder)

    # What people do.

    def git(self, *arguments: str, stdin: bytes | None = None, **more: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.bare), *arguments],
            input=stdin,
            capture_output=True,
            env={**os.environ, **WHO, **more},
            check=False,
        )
        if done.returncode:
            raise LookupError(done.stderr.decode())
        return done.stdout.decode()

    def write(self, branch: str, path: str, content: str | bytes, message: str = "by hand") -> str:
        """A commit on a branch, by anybody; the branch is made from `main` where there is none."""
        data = content.encode() if isinstance(content, str) else content
        with self._git_lock:
            parent = self.find(branch) or self.find("main")
            index = {"GIT_INDEX_FILE": str(self.bare / f"index-{threading.get_ident()}")}
            blob = self.git("hash-object", "-w", "--stdin", stdin=data).strip()
            if parent is not None:
                self.git("read-tree", parent, **index)
            self.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", **index)
            tree = self.git("write-tree", **index).strip()
            parents = [] if parent is None else ["-p", parent]
            commit = self.git("commit-tree", tree, *parents, "-m", message).strip()
            self.git("update-ref", f"refs/heads/{branch}", commit)
            Path(index["GIT_INDEX_FILE"]).unlink()
            return commit

    def read(self, branch: str, path: str) -> bytes:
        return subprocess.run(
            ["git", "-C", str(self.bare), "show", f"{branch}:{path}"], capture_output=True, check=True
        ).stdout

    def find(self, branch: str) -> str | None:
        try:
            return self.git("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}").strip()
        except LookupError:
            return None

    def branches(self) -> list[str]:
        return self.git("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads").split()

    def close_by_hand(self, number: int) -> None:
        self.pull(number)["state"] = "closed"

    def merge(self, number: int) -> None:
        """As people do it on the host: a merge commit on `main`, and the branch goes."""
        pull = self.pull(number)
        tree = self.git("merge-tree", "--write-tree", "main", pull["branch"]).split()[0]
        parents = ["-p", "refs/heads/main", "-p", f"refs/heads/{pull['branch']}"]
        commit = self.git("commit-tree", tree, *parents, "-m", f"merge {number}").strip()
        self.git("update-ref", "refs/heads/main", commit)
        self.git("update-ref", "-d", f"refs/heads/{pull['branch']}")
        pull["state"] = "merged"

    def pull(self, number: int) -> dict[str, Any]:
        return next(pull for pull in self.pulls if pull["number"] == number)

    def open_pulls(self) -> list[dict[str, Any]]:
        return [pull for pull in self.pulls if pull["state"] == "open"]

    # What programs ask.

    def respond(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if (instead := self.breaks(method, path)) is not None:
            self.requests.append((method, path, headers))
            return instead
        return super().respond(method, path, headers, body)

    def route(self, method: str, path: str, query: Any, body: bytes) -> Answer:
        prefix = {"github": "/repos/o/r", "gitlab": "/projects/42"}[self.kind]
        if not path.startswith(prefix):
            return 404, {}, b"{}"
        endpoints = {"github": GITHUB, "gitlab": GITLAB}[self.kind]
        told = json.loads(body) if body else {}
        for verb, pattern, answer in endpoints:
            found = re.fullmatch(pattern, path.removeprefix(prefix))
            if verb == method and found:
                try:
                    with self._git_lock:
                        status, content = answer(self, *map(unquote, found.groups()), query, told)
                except No as no:
                    return no.status, {}, b'{"message": "no"}'
                except LookupError:
                    return 404, {}, b'{"message": "Not Found"}'
                return status, {}, b"" if content is None else json.dumps(content).encode()
        return super().route(method, path, query, body)

    def new_pull(self, branch: str, base: str, title: str, body: str, taken: int) -> dict[str, Any]:
        if any(pull["branch"] == branch for pull in self.open_pulls()):
            raise No(taken)
        if (
            base != "main"
            or not self.git("rev-list", f"main..refs/heads/{branch}").strip()
            or len(body) > 65_536
        ):
            raise No(422)
        number = len(self.pulls) + 1
        pull = {
            "number": number,
            "branch": branch,
            "title": title,
            "body": body,
            "state": "open",
            "fork": False,
        }
        self.pulls.append(pull)
        self.words[number] = []
        return pull

    def commit_of(self, branch: str) -> str:
        found = self.find(branch)
        if found is None:
            raise LookupError(branch)
        return found

    def last_change(self, ref: str, path: str) -> str:
        return self.git("log", "-1", "--format=%H", ref, "--", path).strip()


def _gh_pull(pull: dict[str, Any]) -> dict[str, Any]:
    return {
        "number": pull["number"],
        "state": "open" if pull["state"] == "open" else "closed",
        "merged_at": "2026-11-21T12:00:00Z" if pull["state"] == "merged" else None,
        "body": pull["body"],
        "html_url": f"https://host.example/o/r/pull/{pull['number']}",
        "head": {"ref": pull["branch"], "repo": {"full_name": "o/fork" if pull["fork"] else "o/R"}},
    }


def _gh_file(host: RequestHost, path: str, query: Any, told: Any) -> tuple[int, Any]:
    ref = query["ref"][0]
    kind = host.git("cat-file", "-t", f"{ref}:{path}").strip()
    if kind == "tree":
        return 200, [{"type": "file", "name": "a"}]
    text = base64.encodebytes(host.read(ref, path)).decode()  # with line ends, as GitHub does
    sha = host.git("rev-parse", f"{ref}:{path}").strip()
    return 200, {"type": "file", "encoding": "base64", "content": text, "sha": sha}


def _gh_put(host: RequestHost, path: str, query: Any, told: Any) -> tuple[int, Any]:
    host.commit_of(told["branch"])
    if host.git("rev-parse", f"{told['branch']}:{path}").strip() != told["sha"]:
        raise No(409)
    commit = host.write(told["branch"], path, base64.b64decode(told["content"]), told["message"])
    return 200, {"commit": {"sha": commit}}


def _gh_new_ref(host: RequestHost, query: Any, told: Any) -> tuple[int, Any]:
    branch = told["ref"].removeprefix("refs/heads/")
    if host.find(branch) is not None:
        raise No(422)
    host.git("update-ref", told["ref"], told["sha"])
    return 201, {"ref": told["ref"]}


def _gh_move(host: RequestHost, branch: str, query: Any, told: Any) -> tuple[int, Any]:
    try:
        host.git("merge-base", "--is-ancestor", host.commit_of(branch), told["sha"])
    except LookupError:
        raise No(422) from None
    host.git("update-ref", f"refs/heads/{branch}", told["sha"])
    return 200, {}


def _delete(host: RequestHost, branch: str, query: Any, told: Any) -> tuple[int, Any]:
    host.commit_of(branch)
    host.git("update-ref", "-d", f"refs/heads/{branch}")
    return 204, None


def _gh_compare(host: RequestHost, base: str, branch: str, query: Any, told: Any) -> tuple[int, Any]:
    start = host.git("merge-base", base, f"refs/heads/{branch}").strip()
    files = host.git("diff", "--name-only", "-z", start, f"refs/heads/{branch}").split("\0")[:-1]
    ahead = host.git("rev-list", f"{base}..refs/heads/{branch}").split()
    files_told = [{"filename": name} for name in files]
    return 200, {"ahead_by": len(ahead), "files": files_told, "merge_base_commit": {"sha": start}}


def _gh_pulls(host: RequestHost, query: Any, told: Any) -> tuple[int, Any]:
    owner, branch = query["head"][0].split(":")
    found = [pull for pull in host.pulls if pull["branch"] == branch and owner == "o"]
    return 200, [_gh_pull(pull) for pull in reversed(found)][: int(query["per_page"][0])]


def _gh_open(host: RequestHost, query: Any, told: Any) -> tuple[int, Any]:
    return 201, _gh_pull(host.new_pull(told["head"], told["base"], told["title"], told["body"], 422))


def _gh_edit(host: RequestHost, number: str, query: Any, told: Any) -> tuple[int, Any]:
    host.pull(int(number)).update(told)
    return 200, _gh_pull(host.pull(int(number)))


def _say(host: RequestHost, number: str, query: Any, told: Any) -> tuple[int, Any]:
    host.words[int(number)].append(told["body"])
    return 201, {}


GITHUB: list[tuple[str, str, Callable[..., tuple[int, Any]]]] = [
    ("GET", "", lambda host, query, told: (200, {"default_branch": "main"})),
    (
        "GET",
        "/git/ref/heads/(.+)",
        lambda host, branch, query, told: (200, {"object": {"sha": host.commit_of(branch)}}),
    ),
    (
        "GET",
        "/git/matching-refs/heads/(.+)",
        lambda host, prefix, query, told: (
            200,
            [{"ref": f"refs/heads/{name}"} for name in host.branches() if name.startswith(prefix)],
        ),
    ),
    ("POST", "/git/refs", _gh_new_ref),
    ("PATCH", "/git/refs/heads/(.+)", _gh_move),
    ("DELETE", "/git/refs/heads/(.+)", _delete),
    ("GET", "/contents/(.+)", _gh_file),
    ("PUT", "/contents/(.+)", _gh_put),
    ("GET", r"/compare/([0-9a-f]+)\.\.\.(.+)", _gh_compare),
    ("GET", "/pulls", _gh_pulls),
    ("POST", "/pulls", _gh_open),
    ("PATCH", r"/pulls/(\d+)", _gh_edit),
    ("POST", r"/issues/(\d+)/comments", _say),
]


def _gl_request(pull: dict[str, Any]) -> dict[str, Any]:
    return {
        "iid": pull["number"],
        "state": "opened" if pull["state"] == "open" else pull["state"],
        "description": pull["body"],
        "web_url": f"https://host.example/o/r/-/merge_requests/{pull['number']}",
        "source_project_id": 43 if pull["fork"] else 42,
    }


def _gl_file(host: RequestHost, path: str, query: Any, told: Any) -> tuple[int, Any]:
    ref = query["ref"][0]
    if host.git("cat-file", "-t", f"{ref}:{path}").strip() == "tree":
        raise No(404)
    text = base64.b64encode(host.read(ref, path)).decode()
    return 200, {"encoding": "base64", "content": text, "last_commit_id": host.last_change(ref, path)}


def _gl_commit(host: RequestHost, query: Any, told: Any) -> tuple[int, Any]:
    branch, start = told["branch"], told.get("start_branch")
    if (host.find(branch) is None) != (start is not None):
        raise No(400)
    (action,) = told["actions"]
    assert action["action"] == "update" and action["encoding"] == "base64"
    if host.last_change(start or branch, action["file_path"]) != action["last_commit_id"]:
        raise No(400)
    content = base64.b64decode(action["content"])
    return 201, {"id": host.write(branch, action["file_path"], content, told["commit_message"])}


def _gl_compare(host: RequestHost, query: Any, told: Any) -> tuple[int, Any]:
    base, branch = query["from"][0], query["to"][0]
    _, found = _gh_compare(host, base, branch, query, told)
    diffs = [{"old_path": one["filename"], "new_path": one["filename"]} for one in found["files"]]
    return 200, {"commits": [{}] * found["ahead_by"], "diffs": diffs}


def _gl_requests(host: RequestHost, query: Any, told: Any) -> tuple[int, Any]:
    found = [pull for pull in host.pulls if pull["branch"] == query["source_branch"][0]]
    return 200, [_gl_request(pull) for pull in reversed(found)]


def _gl_open(host: RequestHost, query: Any, told: Any) -> tuple[int, Any]:
    given = (told["source_branch"], told["target_branch"], told["title"], told["description"])
    return 201, _gl_request(host.new_pull(*given, 409))


def _gl_edit(host: RequestHost, number: str, query: Any, told: Any) -> tuple[int, Any]:
    pull = host.pull(int(number))
    if "description" in told:
        pull["body"] = told["description"]
    if told.get("state_event") == "close":
        pull["state"] = "closed"
    return 200, _gl_request(pull)


def _gl_branches(host: RequestHost, query: Any, told: Any) -> tuple[int, Any]:
    word = query["search"][0]
    assert word.startswith("^")
    return 200, [{"name": name} for name in host.branches() if name.startswith(word[1:])]


def _gl_merge_base(host: RequestHost, query: Any, told: Any) -> tuple[int, Any]:
    return 200, {"id": host.git("merge-base", *query["refs[]"]).strip()}


GITLAB: list[tuple[str, str, Callable[..., tuple[int, Any]]]] = [
    ("GET", "", lambda host, query, told: (200, {"default_branch": "main"})),
    ("GET", "/repository/branches", _gl_branches),
    (
        "GET",
        "/repository/branches/([^/]+)",
        lambda host, branch, query, told: (200, {"commit": {"id": host.commit_of(branch)}}),
    ),
    ("DELETE", "/repository/branches/([^/]+)", _delete),
    ("GET", "/repository/files/([^/]+)", _gl_file),
    ("POST", "/repository/commits", _gl_commit),
    ("GET", "/repository/compare", _gl_compare),
    ("GET", "/repository/merge_base", _gl_merge_base),
    ("GET", "/merge_requests", _gl_requests),
    ("POST", "/merge_requests", _gl_open),
    ("PUT", r"/merge_requests/(\d+)", _gl_edit),
    ("POST", r"/merge_requests/(\d+)/notes", _say),
]


@pytest.fixture(params=["github", "gitlab"])
def request_host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RequestHost]:
    """Each code host in turn, with an empty repository."""
    host = RequestHost(request.param, tmp_path)
    yield host
    host.close()
