"""Merge requests on GitLab that change one file, by the API alone."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from flyball.backends.egress.changes import ChangeHost, Difference, FileChange, HostFile, Request
from flyball.backends.egress.gitlab_api import TOKEN, find_project_number, open_api
from flyball.backends.egress.host_api import HostApi, Purpose, decode_content, find_token
from flyball.core.errors import BadInput, HostRefused, NotFound

PROPOSING = Purpose(
    host="GitLab",
    denied="propose a change of this project",
    thing="the change",
    needs="GITLAB_TOKEN needs to be a project access token with the role Developer and the scope `api`",
)
_REQUESTS = 20
_BRANCHES = 100


class GitLabChanges(ChangeHost):
    """A project, by its number."""

    def __init__(self, api: HostApi, project: int) -> None:
        self._api = api
        self._project = project

    def default_branch(self) -> str:
        return str(self._send("GET", "")["default_branch"])

    def find_commit(self, branch: str) -> str | None:
        found = self._find(f"/repository/branches/{_one(branch)}")
        return None if found is None else str(found["commit"]["id"])

    def read_file(self, path: str, commit: str) -> HostFile:
        found = self._find(f"/repository/files/{_one(path)}?ref={_one(commit)}")
        if found is None:
            raise NotFound(f"the default branch on GitLab has no file {path}: push it first", path=path)
        if found.get("encoding") != "base64":
            raise BadInput(f"{path} is no file on GitLab", path=path)
        return HostFile(content=decode_content(found["content"]), id=str(found["last_commit_id"]))

    def list_branches(self, prefix: str) -> list[str]:
        found = self._send("GET", f"/repository/branches?search={_one('^' + prefix)}&per_page={_BRANCHES}")
        return [name for one in found if (name := str(one["name"])).startswith(prefix)]

    def compare(self, commit: str, branch: str) -> Difference:
        found = self._send("GET", f"/repository/compare?from={_one(commit)}&to={_one(branch)}")
        base = self._send("GET", f"/repository/merge_base?refs[]={_one(commit)}&refs[]={_one(branch)}")
        return Difference(
            commits=len(found["commits"]),
            files=tuple(
                dict.fromkeys(one[key] for one in found["diffs"] for key in ("old_path", "new_path"))
            ),
            merge_base=str(base["id"]),
        )

    def commit_file(self, change: FileChange) -> None:
        action = {
            "action": "update",
            "file_path": change.path,
            "content": base64.b64encode(change.content).decode(),
            "encoding": "base64",
            "last_commit_id": change.file.id,
        }
        start = {"start_branch": change.base} if change.is_new else {}
        content = {"branch": change.branch, **start, "commit_message": change.message, "actions": [action]}
        self._send("POST", "/repository/commits", content)

    def delete_branch(self, branch: str) -> None:
        try:
            self._send("DELETE", f"/repository/branches/{_one(branch)}")
        except HostRefused as error:
            if error.facts.get("status") != 404:
                raise

    def list_requests(self, branch: str) -> list[Request]:
        query = f"source_branch={_one(branch)}&state=all&order_by=created_at&sort=desc&per_page={_REQUESTS}"
        found = self._send("GET", f"/merge_requests?{query}")
        return [_request(entry) for entry in found if entry.get("source_project_id") == self._project]

    def open_request(self, *, branch: str, base: str, title: str, body: str) -> Request:
        content = {
            "source_branch": branch,
            "target_branch": base,
            "title": title,
            "description": body,
            "remove_source_branch": True,
        }
        return _request(self._send("POST", "/merge_requests", content))

    def describe_request(self, number: int, body: str) -> None:
        self._send("PUT", f"/merge_requests/{number}", {"description": body})

    def close_request(self, number: int, word: str) -> None:
        self._send("POST", f"/merge_requests/{number}/notes", {"body": word})
        self._send("PUT", f"/merge_requests/{number}", {"state_event": "close"})

    def _find(self, path: str) -> Any:
        return self._api.find(f"/projects/{self._project}{path}")

    def _send(self, method: str, path: str, content: Any = None) -> Any:
        return self._api.send(method, f"/projects/{self._project}{path}", content)


def open_project(environment: Mapping[str, str]) -> GitLabChanges:
    """The project of a job, with its token. Raises BadInput for what is missing."""
    token = find_token(environment, TOKEN)
    if token is None:
        raise BadInput(f"{TOKEN} is not set: {PROPOSING.needs}; --print shows the change without one")
    number = find_project_number(environment)
    if number is None:
        raise BadInput("CI_PROJECT_ID is no number, so there is no project to propose a change to")
    return GitLabChanges(open_api(environment, token, PROPOSING), number)


def _one(text: str) -> str:
    """A text as one part of an address."""
    return quote(text, safe="")


def _request(entry: Any) -> Request:
    return Request(
        number=int(entry["iid"]),
        state=told if (told := entry["state"]) in ("merged", "closed") else "open",
        body=entry.get("description") or "",
        url=entry.get("web_url"),
    )
