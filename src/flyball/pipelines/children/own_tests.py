"""Child `own-tests`: the project's own tests by pytest, in its folder; a result per test."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

_OUTCOMES = {"passed": "pass", "failed": "fail", "skipped": "skipped"}


def run_own_tests(payload: dict[str, Any]) -> dict[str, Any]:
    """A result per test of the folder, and whether pytest is there at all."""
    try:
        import pytest
    except ImportError:
        return {"has_pytest": False, "tests": []}
    folder = Path(payload["folder"]).resolve()
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    listener = _Listener(folder)
    code = int(pytest.main(["-q", "-p", "no:cacheprovider", payload["tests"]], plugins=[listener]))
    if code > 1 and code != pytest.ExitCode.NO_TESTS_COLLECTED and not listener.results:
        listener.add(
            "tests", "broken", f"pytest ended with exit code {code}; see what it printed", None, None
        )
    return {"has_pytest": True, "tests": listener.results}


class _Listener:
    """What pytest reports, as results: an error outside of a test's own body is `broken`, not a failed test."""

    def __init__(self, folder: Path) -> None:
        self.results: list[dict[str, Any]] = []
        self._folder = folder

    def pytest_collectreport(self, report: Any) -> None:
        """A file that can't be imported."""
        if report.failed:
            self.add(str(report.nodeid), "broken", str(report.longrepr).strip()[-1000:], report.nodeid, None)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """A test that ended, or whose fixtures failed."""
        if report.when != "call" and report.passed:
            return
        if report.when == "teardown" and report.skipped:
            return
        outcome = _OUTCOMES[report.outcome] if report.when == "call" or report.skipped else "broken"
        path, line, _ = report.location
        because, crashed = "it passed", None
        crash = getattr(report.longrepr, "reprcrash", None)
        if crash is not None:
            because = str(crash.message)[:1000]
            same = Path(crash.path).resolve() == (self._folder / path).resolve()
            crashed = int(crash.lineno) if same else None
        elif outcome != "pass":
            because = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)[
                -1000:
            ]
        line = None if line is None else int(line) + 1
        self.add(
            str(report.nodeid).rpartition("::")[2], outcome, because, path, crashed or line, report.duration
        )

    def add(
        self, name: str, outcome: str, because: str, file: str | None, line: int | None, seconds: float = 0.0
    ) -> None:
        """Keep a result."""
        self.results.append(
            {
                "kind": "own",
                "name": name,
                "outcome": outcome,
                "because": because,
                "rows": [],
                "file": file,
                "line": line,
                "seconds": round(seconds, 3),
            }
        )
