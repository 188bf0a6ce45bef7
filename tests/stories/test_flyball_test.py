"""`flyball test`: own tests and model tests of a project, their exit codes, and what is printed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyball.app import open_app
from flyball.operations.ci.own_tests import own_tests
from flyball.web.pages.version import version_page

OWN = """
import os

import pytest

import train


def test_of_the_slope():
    assert train.Line(2.0, 1.0).predict({"x": __import__("polars").Series([3.0])}) == [7.0]


def test_that_fails():
    total = 2
    assert total == 3, "two is not three"


def test_without_credentials():
    assert [name for name in os.environ if "TOKEN" in name or "AWS" in name] == []


def test_the_plugins_are_those_that_the_runner_asks_for():
    assert os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] == "1"


@pytest.mark.skip(reason="not today")
def test_later():
    pass


def test_with_a_broken_fixture(nothing_of_that_name):
    pass
"""


def test_each_own_test_is_told_with_line_and_reason_and_sees_no_credentials(
    make_project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FLYBALL_TOKEN", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    folder = make_project()
    (folder / "tests").mkdir()
    (folder / "tests" / "test_line.py").write_text(OWN)
    found = {test.name: test for test in own_tests(folder)}
    assert {name: test.outcome for name, test in found.items()} == {
        "test_of_the_slope": "pass",
        "test_that_fails": "fail",
        "test_without_credentials": "pass",
        "test_the_plugins_are_those_that_the_runner_asks_for": "pass",
        "test_later": "skipped",
        "test_with_a_broken_fixture": "broken",
    }
    failed = found["test_that_fails"]
    assert failed.file == "tests/test_line.py" and "two is not three" in failed.because
    assert failed.line == 1 + OWN.splitlines().index('    assert total == 3, "two is not three"')
    assert "not today" in found["test_later"].because
    # Nothing is left behind in the project.
    assert sorted(path.name for path in folder.rglob("*") if path.is_dir()) == ["tests"]


def test_own_tests_that_hang_or_cannot_be_imported_are_told(make_project: Callable[..., Path]):
    folder = make_project()
    assert own_tests(folder) == []
    (folder / "tests").mkdir()
    (folder / "tests" / "test_a.py").write_text("import nothing_like_this\n")
    (broken,) = own_tests(folder)
    assert broken.outcome == "broken" and "nothing_like_this" in broken.because
    (folder / "tests" / "test_a.py").write_text("import time\n\ndef test_a():\n    time.sleep(60)\n")
    (hung,) = own_tests(folder, timeout_seconds=2)
    assert hung.outcome == "fail" and "2 s" in hung.because


def test_the_command_prints_the_rows_of_a_failure_and_ends_with_its_exit_code(
    make_project: Callable[..., Path],
    command: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    monkeypatch.setenv("FLYBALL_HOME", str(tmp_path / "home"))
    falls = '[[tests]]\nkind = "direction"\nfeature = "x"\neffect = "not higher"\n'
    folder = make_project(more=falls)
    (folder / "tests").mkdir()
    (folder / "tests" / "test_line.py").write_text("def test_it():\n    assert 1 + 1 == 2\n")
    said = command("test", cwd=folder)
    assert said.code == 1, said
    line = 1 + (folder / "flyball.toml").read_text().splitlines().index("[[tests]]")
    assert f"flyball.toml:{line}: test direction x: fail (80 of 80 rows" in said.out
    shown = next(text for text in said.out.splitlines() if text.startswith("    x "))
    assert " → " in shown and "answer " in shown and "c=" in shown
    assert "test test_it: pass" in said.out and "1 of 2 tests of line@1 passed" in said.out
    shown_version = command("show", "line@1", cwd=folder)
    assert "0 of 1 passed; direction x fail" in shown_version.out
    with open_app(folder) as app:
        page = version_page(app, "line", "1").content
    assert f"flyball.toml:{line}" in page and "Rows that show it: direction x" in page
    assert "This version failed a gate or a model test" in page


@pytest.mark.long
def test_a_program_reads_the_results_and_the_exit_code_tells_yes_no_and_not_enough(
    make_project: Callable[..., Path],
    command: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    monkeypatch.setenv("FLYBALL_HOME", str(tmp_path / "home"))
    falls = '[[tests]]\nkind = "direction"\nfeature = "x"\neffect = "not higher"\n'
    folder = make_project(more=falls)
    file = folder / "flyball.toml"
    report = command("test", "--json", cwd=folder)
    assert report.code == 1 and [test["outcome"] for test in report.json()["tests"]] == ["fail"]
    file.write_text(file.read_text().replace("not higher", "not lower"))
    assert command("test", cwd=folder).code == 0
    file.write_text(file.read_text() + "[data.split]\ntest = 0.05\n")
    assert command("test", cwd=folder).code == 4  # 20 rows show nothing
