"""Child `own-tests`: the project's own tests by pytest, in its folder; a result per test."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

_OUTCOMES = {"passed": "pass", "failed": "fail", "skipped": "skipped"}


def run_own_tests(payload: dict[str, Any]) -> dict[str, Any]:
    """A result per test of the folder, and whether pytest is there at all."""
    try:
        import pytest
    except ImportError:
        return {"has_pytest": False, "word": payload["word"], "collected": 0, "tests": []}
    folder = Path(payload["folder"]).resolve()
    _leave_no_traces()
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    listener = _Listener(folder)
    code = int(pytest.main(["-q", "-p", "no:cacheprovider", payload["tests"]], plugins=[listener]))
    listener.end(code)
    return {
        "has_pytest": True,
        "word": payload["word"],
        "collected": len(listener.collected),
        "tests": listener.results,
    }


def _leave_no_traces() -> None:
    """What tools keep beside the tests goes to the temporary files; where this process takes its word from is gone."""
    _, payload_path, _ = sys.argv
    sys.argv = ["pytest"]
    Path(payload_path).unlink()
    for name in ("COVERAGE_FILE", "HYPOTHESIS_STORAGE_DIRECTORY"):
        os.environ[name] = str(Path(tempfile.gettempdir()) / name.lower())


class _Listener:
    """What pytest reports, as results: an error outside of a test's own body is `broken`, not a failed test."""

    def __init__(self, folder: Path) -> None:
        self.results: list[dict[str, Any]] = []
        self.collected: dict[str, tuple[str, int | None]] = {}
        self._ended: set[str] = set()
        self._folder = folder

    def pytest_collection_finish(self, session: Any) -> None:
        """The tests that are to be run, and where they stand."""
        self.collected = {item.nodeid: item.location[:2] for item in session.items}

    def end(self, code: int) -> None:
        """Tell what pytest's exit code says and the results don't: tests that were not run, and other ends.

        What was not run because something failed (`--maxfail`, a file that can't be imported) is skipped; else a test
        without result is broken.
        """
        failed = [result for result in self.results if result["outcome"] in ("fail", "broken")]
        outcome = "skipped" if failed else "broken"
        for test, (path, line) in self.collected.items():
            if test not in self._ended:
                because = f"it was collected and not run to its end: pytest ended with exit code {code}"
                self.add(test.rpartition("::")[2], outcome, because, path, None if line is None else line + 1)
        if code not in (0, 5) and all(result["outcome"] in ("pass", "skipped") for result in self.results):
            self.add(
                "tests", "broken", f"pytest ended with exit code {code}; see what it printed", None, None
            )

    def pytest_collectreport(self, report: Any) -> None:
        """A file that can't be imported."""
        if report.failed:
            self.add(str(report.nodeid), "broken", str(report.longrepr).strip()[-1000:], report.nodeid, None)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """A test that ended, or whose fixtures failed."""
        if report.when == "teardown":
            self._ended.add(report.nodeid)
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
