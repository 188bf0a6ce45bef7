"""A project's own tests, run by pytest in a process without credentials, as `flyball test` does.

That process reaches nothing of the home; with FLYBALL_CACHE=read, for changes of strangers, nothing but the repository,
which it can read, and its own temporary files. What it says of itself has to be whole to count: as many results as
tests were collected, of a pytest that came to its end. Code that is tested can still lie about itself.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import msgspec

from flyball.backends.executors.confine import Confinement
from flyball.backends.executors.local import run_child
from flyball.core.settings import Settings, read_settings
from flyball.operations.ci.report import ModelTestResult
from flyball.pipelines.calls import CHILD_MODULE
from flyball.pipelines.git_run import find_repository, git
from flyball.pipelines.strangers import is_for_strangers

TESTS_FOLDER = "tests"
TIMEOUT_SECONDS = 600.0
MEMORY_SHARE = 0.8
# Which plugins pytest loads is up to whoever runs it: looking for them can take longer than the tests.
_PLUGIN_VARIABLES = ("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "PYTEST_PLUGINS")
_GIT_PLACES = ("--git-dir", "--git-common-dir")


def own_tests(
    folder: Path,
    *,
    settings: Settings | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> list[ModelTestResult]:
    """A result per test below the project's folder `tests`; none without that folder.

    settings: of the home that the tests are kept from; those of the folder by default. Where pytest is not installed,
    finds no test, or the tests end their process or don't end in time, that is told as one result of its own.
    """
    if not any((folder / TESTS_FOLDER).glob("**/*.py")):
        return []
    # Drawn anew: a result without it was written by somebody else than the process that was told.
    word, memory_mb = secrets.token_hex(16), _memory_mb()
    plugins = {name: os.environ[name] for name in _PLUGIN_VARIABLES if name in os.environ}
    result = run_child(
        CHILD_MODULE,
        {"kind": "own-tests", "folder": str(folder), "tests": TESTS_FOLDER, "word": word},
        folder=folder,
        timeout_seconds=timeout_seconds,
        environment={"PYTHONDONTWRITEBYTECODE": "1", **plugins},
        memory_limit_mb=memory_mb,
        confinement=_confinement(folder, settings or read_settings(folder)),
    )
    if result.timed_out:
        return [_told("fail", f"the tests had not ended after {timeout_seconds:g} s")]
    if result.out_of_memory:
        return [_told("broken", f"the tests ran out of memory: {memory_mb} MB may be used by a process")]
    if result.result is None:
        return [_told("broken", f"the tests ended their process with exit code {result.exit_code}")]
    if "error" in result.result:
        return [_told("broken", str(result.result["error"]["message"]))]
    return _results(result.result.get("value"), word)


class _Value(msgspec.Struct, frozen=True):
    """What the child gives: `collected` counts the tests that pytest found."""

    has_pytest: bool
    word: str
    collected: int
    tests: list[ModelTestResult]


def _results(plain: Any, word: str) -> list[ModelTestResult]:
    try:
        value = msgspec.convert(plain, _Value)
    except msgspec.ValidationError:
        value = None
    if value is None or value.word != word:
        return [
            _told("broken", "the result is not that of the tests: something else wrote it in their place")
        ]
    if not value.has_pytest:
        return [_told("skipped", "pytest is not installed here: `pip install pytest` to have them run")]
    if len(value.tests) < value.collected:
        missing = value.collected - len(value.tests)
        return [_told("broken", f"{missing} of {value.collected} tests gave no result"), *value.tests]
    if not value.tests:
        return [_told("skipped", "pytest found no test in this folder")]
    return value.tests


def _confinement(folder: Path, settings: Settings) -> Confinement:
    """The tests read their repository without Git's own folder: a token may stand there, and what git executes."""
    top = find_repository(folder) or folder.resolve()
    if Path.home().resolve().is_relative_to(top):
        top = folder.resolve()
    if not is_for_strangers(settings):
        return Confinement(hidden=settings.state_paths, read=[str(top)])
    of_git = [git(folder, "rev-parse", "--path-format=absolute", which) for which in _GIT_PLACES]
    hidden = [*settings.state_paths, *(path for path in of_git if path is not None)]
    return Confinement(hidden=hidden, read=[str(top)], closed=True)


def _memory_mb() -> int:
    return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * MEMORY_SHARE) >> 20


def _told(outcome: str, because: str) -> ModelTestResult:
    plain = {"kind": "own", "name": TESTS_FOLDER, "outcome": outcome, "because": because}
    return msgspec.convert(plain, ModelTestResult)
