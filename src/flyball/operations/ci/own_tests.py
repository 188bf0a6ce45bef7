"""A project's own tests, run by pytest in a process without credentials, as `flyball test` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from flyball.backends.executors.local import run_child
from flyball.operations.ci.report import ModelTestResult
from flyball.pipelines.calls import CHILD_MODULE

TESTS_FOLDER = "tests"
TIMEOUT_SECONDS = 600.0


def own_tests(
    folder: Path,
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
    on_line: Callable[[str], None] | None = None,
) -> list[ModelTestResult]:
    """A result per test below the project's folder `tests`; none without that folder.

    Where pytest is not installed, or the tests don't end in time, that is told as one result of its own.
    """
    if not any((folder / TESTS_FOLDER).glob("**/*.py")):
        return []
    result = run_child(
        CHILD_MODULE,
        {"kind": "own-tests", "folder": str(folder), "tests": TESTS_FOLDER},
        folder=folder,
        timeout_seconds=timeout_seconds,
        environment={"PYTHONDONTWRITEBYTECODE": "1"},
        on_line=on_line,
    )
    if result.timed_out:
        return [_told("fail", f"the tests had not ended after {timeout_seconds:g} s")]
    if result.result is None:
        return [_told("broken", f"the tests ended their process with exit code {result.exit_code}")]
    if "error" in result.result:
        return [_told("broken", str(result.result["error"]["message"]))]
    value = result.result["value"]
    if not value["has_pytest"]:
        return [_told("skipped", "pytest is not installed here: `pip install pytest` to have them run")]
    return msgspec.convert(value["tests"], list[ModelTestResult])


def _told(outcome: str, because: str) -> ModelTestResult:
    plain = {"kind": "own", "name": TESTS_FOLDER, "outcome": outcome, "because": because}
    return msgspec.convert(plain, ModelTestResult)
