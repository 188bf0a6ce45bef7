"""Own tests that end early, write their own result, hide or eat memory: told as broken, never as passed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flyball.core.settings import Settings
from flyball.operations.ci import own_tests as own_tests_of
from flyball.operations.ci.own_tests import own_tests

FIRST = "def test_first():\n    pass\n\n\n"
FORGED = """
import json
import os
import tempfile


def test_forges():
    tests = [{"kind": "own", "name": "test_forges", "outcome": "pass", "because": "it passed"}]
    value = {"has_pytest": True, "word": "guess", "collected": 1, "tests": tests}
    with open(os.path.join(tempfile.gettempdir(), "result.json"), "w") as file:
        json.dump({"value": value}, file)
    os._exit(0)
"""


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Path]:
    def make(**files: str) -> Path:
        folder = tmp_path / "line"
        for name, text in files.items():
            (folder / "tests").mkdir(parents=True, exist_ok=True)
            (folder / "tests" / f"{name}.py").write_text(text)
        return folder

    return make


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"test_a": FORGED}, "something else wrote it in their place"),
        (
            {"test_a": FIRST + "def test_b():\n    __import__('pytest').exit('enough', returncode=0)\n"},
            "collected and not run to its end: pytest ended with exit code 0",
        ),
        ({"test_a": FIRST + "def test_b():\n    __import__('os')._exit(0)\n"}, "exit code 0"),
        (
            {"test_a": FIRST, "conftest": "def pytest_runtestloop(session):\n    return True\n"},
            "collected and not run to its end",
        ),
        (
            {"test_a": FIRST, "conftest": "def pytest_runtest_protocol(item):\n    return True\n"},
            "collected and not run to its end",
        ),
        ({"test_a": FIRST, "conftest": "raise SystemExit(0)\n"}, "exit code 0"),
        (
            {"test_a": FIRST, "conftest": "def pytest_unconfigure():\n    __import__('os')._exit(0)\n"},
            "exit code 0",
        ),
    ],
)
def test_tests_that_end_their_process_or_write_their_own_result_are_broken(
    project: Callable[..., Path], files: dict[str, str], told: str
):
    found = own_tests(project(**files))
    broken = [test for test in found if test.outcome == "broken"]
    assert len(broken) == 1 and told in broken[0].because, found


def test_a_result_that_lacks_tests_which_were_collected_is_broken():
    told = {"kind": "own", "name": "test_a", "outcome": "pass", "because": "it passed"}
    value = {"has_pytest": True, "word": "drawn", "collected": 2, "tests": [told]}
    first, second = own_tests_of._results(value, "drawn")
    assert (first.outcome, first.because) == ("broken", "1 of 2 tests gave no result")
    assert (second.name, second.outcome) == ("test_a", "pass")


def test_tests_that_are_hidden_are_not_called_passed(project: Callable[..., Path]):
    hidden = "def pytest_collection_modifyitems(items):\n    items.clear()\n"
    (found,) = own_tests(project(test_a=FIRST, conftest=hidden))
    assert (found.outcome, found.because) == ("skipped", "pytest found no test in this folder")


def test_tests_after_the_last_failure_that_is_allowed_are_skipped(project: Callable[..., Path]):
    folder = project(test_a="def test_a():\n    assert 1 == 2\n\n\ndef test_b():\n    pass\n")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --maxfail=1\n")
    assert {test.name: test.outcome for test in own_tests(folder)} == {"test_a": "fail", "test_b": "skipped"}


def test_tests_that_eat_memory_are_told_so(project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(own_tests_of, "MEMORY_SHARE", 0.01)
    (found,) = own_tests(project(test_a="def test_a():\n    assert bytearray(2_000_000_000)\n"))
    assert found.outcome in ("fail", "broken") and "emory" in found.because


def test_tests_reach_nothing_of_the_home_and_keep_their_notes_elsewhere(
    project: Callable[..., Path], tmp_path: Path
):
    folder = project(
        test_a="import os\nimport helper\n\n\ndef test_a():\n"
        "    assert helper.answer == 42 and os.path.exists('.flyball')\n"
        "    assert not os.environ['COVERAGE_FILE'].startswith(os.getcwd())\n"
        "    open('tests/note.txt', 'w').close()\n\n\n"
        "def test_home():\n    open('.flyball/flyball.db', 'rb')\n"
    )
    (folder / "helper.py").write_text("answer = 42\n")
    home = folder / ".flyball"
    home.mkdir()
    (home / "flyball.db").write_text("the state")
    settings = Settings(
        home=home, database_url=f"sqlite:///{home}/flyball.db", objects_url=f"file://{home}/objects"
    )
    first, second = own_tests(folder, settings=settings)
    assert first.outcome == "pass" and (folder / "tests" / "note.txt").is_file(), first.because
    assert second.outcome == "fail" and "PermissionError" in second.because
