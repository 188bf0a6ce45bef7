"""Jobs of code hosts: what they leave on their machine goes with them."""

from __future__ import annotations

from collections.abc import Mapping

_VARIABLES = ("CI", "TF_BUILD", "JENKINS_URL")


def is_on_runner(environment: Mapping[str, str]) -> bool:
    """Whether this is a job of a code host: what it leaves goes with it, unless it is kept elsewhere."""
    return any(environment.get(name) not in (None, "", "false") for name in _VARIABLES)
