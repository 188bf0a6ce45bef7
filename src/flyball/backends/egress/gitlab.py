"""Comments on merge requests of GitLab, with a project's access token."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from flyball.backends.egress.comments import Comment, CommentHost, NotPosted, read_answer
from flyball.backends.egress.exchange import Egress, listed_destinations
from flyball.core.errors import HostRefused

NEEDS = "GITLAB_TOKEN needs to be a project access token with the role Reporter and the scope `api`"


class GitLab(CommentHost):
    """A merge request. The token is sent as a header to the API's own origin, and nowhere else."""

    def __init__(self, egress: Egress, api: str, project: int, number: int, token: str) -> None:
        self._egress = egress
        self._api = api.rstrip("/")
        self._notes = f"/projects/{project}/merge_requests/{number}/notes"
        self._token = token
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

    def _send(self, method: str, path: str, content: Any = None) -> Any:
        headers = {"private-token": self._token, "user-agent": "flyball", "content-type": "application/json"}
        body = None if content is None else msgspec.json.encode(content)
        answer = self._egress.send(method, self._api + path, headers=headers, body=body)
        return read_answer(answer, name="GitLab", needs=NEEDS, now=time.time())

    def _comment(self, entry: Any) -> Comment:
        own = (entry.get("author") or {}).get("id") == self._user and not entry.get("system")
        # The API does not tell where a note is shown.
        return Comment(id=int(entry["id"]), body=entry.get("body") or "", url=None, own=own)


def find_merge_request(environment: Mapping[str, str]) -> GitLab | NotPosted:
    """The merge request that a GitLab pipeline runs for, with the project's token; or why there is none."""
    number, project = environment.get("CI_MERGE_REQUEST_IID", ""), environment.get("CI_PROJECT_ID", "")
    if not re.fullmatch(r"[1-9][0-9]{0,9}", number) or not re.fullmatch(r"[1-9][0-9]{0,12}", project):
        return NotPosted("this pipeline does not run for a merge request")
    token = environment.get("GITLAB_TOKEN", "").strip()
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        # CI_JOB_TOKEN may not write notes.
        return NotPosted(f"GITLAB_TOKEN is not set: {NEEDS}, as a masked variable of the project")
    api = environment.get("CI_API_V4_URL") or "https://gitlab.com/api/v4"
    return GitLab(Egress([api], listed_destinations(environment)), api, int(project), int(number), token)
