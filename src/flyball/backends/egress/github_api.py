"""GitHub's API, with the token and for the repository that a workflow has."""

from __future__ import annotations

import re
from collections.abc import Mapping

from flyball.backends.egress.host_api import HostApi, Purpose, open_host_api

TOKEN = "GITHUB_TOKEN"  # noqa: S105 - the name of a variable


def open_api(environment: Mapping[str, str], token: str, purpose: Purpose) -> HostApi:
    """The API that a job's environment names, that of github.com without one."""
    headers = {
        "accept": "application/vnd.github+json",
        "authorization": f"Bearer {token}",
        "x-github-api-version": "2022-11-28",
    }
    url = environment.get("GITHUB_API_URL") or "https://api.github.com"
    return open_host_api(url, environment, headers, purpose)


def find_repository_name(environment: Mapping[str, str]) -> str | None:
    """The repository of a job as `owner/name`, None where none is named so."""
    name = environment.get("GITHUB_REPOSITORY", "")
    return name if re.fullmatch(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+", name) and ".." not in name else None
