"""What `flyball ci` writes about a change that stops early names files as the repository does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

OWN_TEST = """
from pathlib import Path


def test_that_says_where_it_is():
    raise AssertionError(f"nothing at {Path(__file__).resolve()}")
"""


def _break_settings(folder: Path) -> str:
    settings = folder / "flyball.toml"
    settings.write_text(settings.read_text().replace("timeout", "time_out"))
    return "flyball.toml:"


def _lose_rows(folder: Path) -> str:
    (folder / "rows.csv").unlink()
    return "rows.csv"


def _add_failing_test(folder: Path) -> str:
    (folder / "tests").mkdir()
    (folder / "tests" / "test_place.py").write_text(OWN_TEST)
    return "nothing at tests/test_place.py"


@pytest.mark.parametrize("harm", [_break_settings, _lose_rows, _add_failing_test])
def test_a_check_that_stops_early_names_files_from_the_repository_and_no_folder_of_the_machine(
    harm: Callable[[Path], str],
    make_project: Callable[..., Path],
    command: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("FLYBALL_HOME", str(tmp_path / "home"))
    folder = make_project()
    named = harm(folder)
    said = command("ci", "--json", "--report", str(tmp_path / "out"), cwd=folder)
    report = said.json()
    assert (said.code, report["outcome"]) == (1, "fail"), said.err
    assert named in report["because"][0]
    forms = {path.name: path.read_text() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert len(forms) >= 5
    for name, text in {**forms, "printed": said.out}.items():
        assert str(tmp_path) not in text, name
