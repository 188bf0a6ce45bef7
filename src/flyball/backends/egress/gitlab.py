"""Comments on merge requests of GitLab, with a project's access token."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flyball.backends.egress.comments import Comment, CommentHost, NotPosted
from flyball.backends.egress.gitlab_api import TOKEN, find_project_number, open_api
from flyball.backends.egress.host_api import HostApi, Purpose, find_token
from flyball.core.errors import HostRefused

COMMENTING = Purpose(
    host="GitLab",
    denied="comment here, as on changes from forks",
    thing="the comment",
    needs="GITLAB_TOKEN needs to be a project access token with the role Reporter and the scope `api`",
)


class GitLab(CommentHost):
    """The comments of a merge request."""

    def __init__(self, api: HostApi, project: int, number: int) -> None:
        self._send = api.send
        self._notes = f"/projects/{project}/merge_requests/{number}/notes"
        self._user: int | None = None

    def list_page(self, page: int, size: int) -> list[Comment]:
        if self._user is None:
            self._user = int(self._send("GET", "/user")["id"])
        path = f"{self._notes}?sort=asc&order_by=created_at&per_page={size}&page={page}"
        return [self._comment(entry) for entry in self._send("GET", path)]

    def create(self, body: str) -> Comment:
        return self._comment(self._send("POST", self._notes, {"body": body}))

    def replace(self, comment_id: int, body: str) -> Comment:
        return self._comment(self._send("PUT", f"{self._notes}/{comment_id}", {"body": body}))

    def delete(self, comment_id: int) -> None:
        try:
            self._send("DELETE", f"{self._notes}/{comment_id}")
        except HostRefused as error:
            if error.facts.get("status") != 404:
                raise

    def _comment(self, entry: Any) -> Comment:
        own = (entry.get("author") or {}).get("id") == self._user and not entry.get("system")
        # The API does not tell where a note is shown.
        return Comment(id=int(entry["id"]), body=entry.get("body") or "", url=None, own=own)


def find_merge_request(environment: Mapping[str, str]) -> GitLab | NotPosted:
    """The merge request that a GitLab pipeline runs for, with the project's token; or why there is none."""
    number, project = environment.get("CI_MERGE_REQUEST_IID", ""), find_project_number(environment)
    if not re.fullmatch(r"[1-9][0-9]{0,9}", number) or project is None:
        return NotPosted("this pipeline does not run for a merge request")
    token = find_token(environment, TOKEN)
    if token is None:
        # CI_JOB_TOKEN may not write notes.
        return NotPosted(f"GITLAB_TOKEN is not set: {COMMENTING.needs}, as a masked variable of the project")
    return GitLab(open_api(environment, token, COMMENTING), project, int(number))
