"""Comments on pull requests of GitHub, with the token that a workflow has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from flyball.backends.egress.comments import Comment, CommentHost, NotPosted
from flyball.backends.egress.github_api import TOKEN, find_repository_name, open_api
from flyball.backends.egress.host_api import HostApi, Purpose, find_token
from flyball.core.errors import HostRefused

COMMENTING = Purpose(
    host="GitHub",
    denied="comment here, as on changes from forks",
    thing="the comment",
    needs="the job needs `permissions: pull-requests: write`",
)
MOST_EVENT_BYTES = 16 * 1024 * 1024


class GitHub(CommentHost):
    """The comments of a pull request."""

    def __init__(self, api: HostApi, repository: str, number: int) -> None:
        self._send = api.send
        self._comments = f"/repos/{repository}/issues/{number}/comments"
        self._comment = f"/repos/{repository}/issues/comments/"
        self._login: str | None = None
        self._asked = False

    def list_page(self, page: int, size: int) -> list[Comment]:
        login = self._who()
        found = self._send("GET", f"{self._comments}?per_page={size}&page={page}")
        return [_comment(entry, login) for entry in found]

    def create(self, body: str) -> Comment:
        return _comment(self._send("POST", self._comments, {"body": body}), self._login)

    def replace(self, comment_id: int, body: str) -> Comment:
        return _comment(self._send("PATCH", f"{self._comment}{comment_id}", {"body": body}), self._login)

    def delete(self, comment_id: int) -> None:
        try:
            self._send("DELETE", f"{self._comment}{comment_id}")
        except HostRefused as error:
            if error.facts.get("status") != 404:
                raise

    def _who(self) -> str | None:
        """The login the token stands for; None for a workflow's own token, which may not ask."""
        if not self._asked:
            try:
                self._login = str(self._send("GET", "/user")["login"])
            except HostRefused as error:
                if error.facts.get("status") == 401:
                    raise
            self._asked = True
        return self._login


def find_pull_request(environment: Mapping[str, str]) -> GitHub | NotPosted:
    """The pull request that a GitHub workflow runs for, with its token; or why there is none to comment on."""
    token = find_token(environment, TOKEN)
    if token is None:
        return NotPosted("GITHUB_TOKEN is not set: give the step `env: GITHUB_TOKEN: ${{ github.token }}`")
    repository = find_repository_name(environment)
    if repository is None:
        return NotPosted("GITHUB_REPOSITORY is not `owner/name`, so there is no repository to comment in")
    number = _number(environment)
    if number is None:
        return NotPosted("this workflow does not run for a pull request")
    return GitHub(open_api(environment, token, COMMENTING), repository, number)


def _number(environment: Mapping[str, str]) -> int | None:
    try:
        with Path(environment.get("GITHUB_EVENT_PATH", "")).open("rb") as file:
            event = msgspec.json.decode(file.read(MOST_EVENT_BYTES))
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        event = None
    change = event.get("pull_request") if isinstance(event, dict) else None
    number = change.get("number") if isinstance(change, dict) else None
    if isinstance(number, int) and not isinstance(number, bool) and number > 0:
        return number
    told = re.fullmatch(r"refs/pull/([1-9][0-9]{0,9})/(?:merge|head)", environment.get("GITHUB_REF", ""))
    return int(told[1]) if told else None


def _comment(entry: Any, login: str | None) -> Comment:
    author = entry.get("user") or {}
    # A workflow's token can't ask who it is. What it writes is a bot's, which no author of a change can pretend to be.
    own = author.get("login") == login if login is not None else author.get("type") == "Bot"
    return Comment(id=int(entry["id"]), body=entry.get("body") or "", url=entry.get("html_url"), own=own)
