"""GitLab's API, with a project's access token."""

from __future__ import annotations

import re
from collections.abc import Mapping

from flyball.backends.egress.host_api import HostApi, Purpose, open_host_api

TOKEN = "GITLAB_TOKEN"  # noqa: S105 - the name of a variable


def open_api(environment: Mapping[str, str], token: str, purpose: Purpose) -> HostApi:
    """The API that a job's environment names, that of gitlab.com without one."""
    headers = {"private-token": token, "content-type": "application/json"}
    url = environment.get("CI_API_V4_URL") or "https://gitlab.com/api/v4"
    return open_host_api(url, environment, headers, purpose)


def find_project_number(environment: Mapping[str, str]) -> int | None:
    """The number of a job's project, None where there is none."""
    number = environment.get("CI_PROJECT_ID", "")
    return int(number) if re.fullmatch(r"[1-9][0-9]{0,12}", number) else None
