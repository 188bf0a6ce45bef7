"""Pull requests on GitHub that change one file, by the API alone."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from flyball.backends.egress.changes import ChangeHost, Difference, FileChange, HostFile, Request
from flyball.backends.egress.github_api import TOKEN, find_repository_name, open_api
from flyball.backends.egress.host_api import HostApi, Purpose, decode_content, find_token
from flyball.core.errors import BadInput, HostRefused, NotFound

PROPOSING = Purpose(
    host="GitHub",
    denied="propose a change of this repository",
    thing="the change",
    needs="the job needs `permissions: contents: write` and `pull-requests: write`, and the repository has to let "
    "Actions open pull requests (Settings, Actions, General); or another token in GITHUB_TOKEN that may do both",
)
# A request comes with two repositories and a text of up to 64 KB, and no more than 1 MiB is read of an answer.
_REQUESTS = 5


class GitHubChanges(ChangeHost):
    """A repository, by its `owner/name`."""

    def __init__(self, api: HostApi, repository: str) -> None:
        self._api = api
        self._repository = repository

    def default_branch(self) -> str:
        return str(self._send("GET", "")["default_branch"])

    def find_commit(self, branch: str) -> str | None:
        found = self._find(f"/git/ref/heads/{quote(branch)}")
        return None if found is None else str(found["object"]["sha"])

    def read_file(self, path: str, commit: str) -> HostFile:
        found = self._find(f"/contents/{quote(path)}?ref={quote(commit)}")
        if found is None:
            raise NotFound(f"the default branch on GitHub has no file {path}: push it first", path=path)
        if not isinstance(found, dict) or found.get("type") != "file" or found.get("encoding") != "base64":
            raise BadInput(f"{path} is no file on GitHub, or too large for one of deployments", path=path)
        return HostFile(content=decode_content(found["content"]), id=str(found["sha"]))

    def list_branches(self, prefix: str) -> list[str]:
        found = self._send("GET", f"/git/matching-refs/heads/{quote(prefix)}") or []
        return [str(one["ref"]).removeprefix("refs/heads/") for one in found]

    def compare(self, commit: str, branch: str) -> Difference:
        found = self._send("GET", f"/compare/{quote(commit)}...{quote(branch)}?per_page=1")
        return Difference(
            commits=int(found["ahead_by"]),
            files=tuple(str(one["filename"]) for one in found.get("files") or []),
            merge_base=str(found["merge_base_commit"]["sha"]),
        )

    def commit_file(self, change: FileChange) -> None:
        branch = change.branch
        if change.is_new:
            self._send("POST", "/git/refs", {"ref": f"refs/heads/{branch}", "sha": change.commit})
        else:
            # Somebody was killed before the commit, and the default branch may have gone on since. Never by force.
            moved = {"sha": change.commit, "force": False}
            self._send("PATCH", f"/git/refs/heads/{quote(branch)}", moved)
        content = {
            "message": change.message,
            "content": base64.b64encode(change.content).decode(),
            "sha": change.file.id,
            "branch": branch,
        }
        self._send("PUT", f"/contents/{quote(change.path)}", content)

    def delete_branch(self, branch: str) -> None:
        try:
            self._send("DELETE", f"/git/refs/heads/{quote(branch)}")
        except HostRefused as error:
            if error.facts.get("status") not in (404, 422):
                raise

    def list_requests(self, branch: str) -> list[Request]:
        owner = self._repository.partition("/")[0]
        query = f"state=all&head={quote(f'{owner}:{branch}', safe='')}&sort=created&direction=desc"
        found = self._send("GET", f"/pulls?{query}&per_page={_REQUESTS}")
        return [_request(entry) for entry in found if self._is_own(entry)]

    def open_request(self, *, branch: str, base: str, title: str, body: str) -> Request:
        content = {"title": title, "head": branch, "base": base, "body": body}
        return _request(self._send("POST", "/pulls", content))

    def describe_request(self, number: int, body: str) -> None:
        self._send("PATCH", f"/pulls/{number}", {"body": body})

    def close_request(self, number: int, word: str) -> None:
        self._send("POST", f"/issues/{number}/comments", {"body": word})
        self._send("PATCH", f"/pulls/{number}", {"state": "closed"})

    def _is_own(self, entry: Any) -> bool:
        """Whether a request comes of this repository: a fork may belong to the same owner."""
        repository = (entry.get("head") or {}).get("repo") or {}
        return str(repository.get("full_name")).lower() == self._repository.lower()

    def _find(self, path: str) -> Any:
        return self._api.find(f"/repos/{self._repository}{path}")

    def _send(self, method: str, path: str, content: Any = None) -> Any:
        return self._api.send(method, f"/repos/{self._repository}{path}", content)


def open_repository(environment: Mapping[str, str]) -> GitHubChanges:
    """The repository of a job, with its token. Raises BadInput for what is missing."""
    token = find_token(environment, TOKEN)
    if token is None:
        raise BadInput(f"{TOKEN} is not set: {PROPOSING.needs}; --print shows the change without one")
    name = find_repository_name(environment)
    if name is None:
        raise BadInput(
            "GITHUB_REPOSITORY is not `owner/name`, so there is no repository to propose a change to"
        )
    return GitHubChanges(open_api(environment, token, PROPOSING), name)


def _request(entry: Any) -> Request:
    is_merged = entry.get("merged_at") is not None
    return Request(
        number=int(entry["number"]),
        state="merged" if is_merged else "open" if entry["state"] == "open" else "closed",
        body=entry.get("body") or "",
        url=entry.get("html_url"),
    )
