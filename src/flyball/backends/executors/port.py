"""Opens the executor that a URL names."""

from __future__ import annotations

from flyball.backends.executors.result import ChildResult, Executor
from flyball.core.errors import UnsupportedUrl

__all__ = ["ChildResult", "Executor", "open_executor"]


def open_executor(url: str) -> Executor:
    """The executor that a URL names: `local`. Raises UnsupportedUrl."""
    if url == "local":
        from flyball.backends.executors.local import LocalExecutor

        return LocalExecutor()
    raise UnsupportedUrl(f"no executor opens {url[:100]!r}; FLYBALL_EXECUTOR may be: local")
