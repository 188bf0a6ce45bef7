"""`flyball run --key`: one key is one run, however often and from wherever it is asked for, and however it ended."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyball.backends.db.database import open_database
from flyball.core.ids import keyed_id
from flyball.governance.journal import list_entries
from flyball.pipelines.runs import list_runs

RAISES = "\n\ndef train(X, y, params):\n    raise ValueError('no such luck')\n"


class Machines:
    """Machines with a home each, that share a database and an object store."""

    def __init__(self, shared: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Any]) -> None:
        self.shared, self.command, self._monkeypatch = shared, command, monkeypatch
        self.database_url = f"sqlite:///{shared / 'flyball.db'}"
        monkeypatch.setenv("FLYBALL_DATABASE", self.database_url)
        monkeypatch.setenv("FLYBALL_OBJECTS", f"file://{shared / 'objects'}")

    def run(self, folder: Path, *arguments: str, machine: str = "first") -> Any:
        """`flyball run` in a folder, on a machine."""
        self._monkeypatch.setenv("FLYBALL_HOME", str(self.shared / machine))
        return self.command("run", *arguments, cwd=folder)

    def counts(self) -> tuple[int, int]:
        """Runs and audit entries so far."""
        database = open_database(self.database_url)
        with database.read() as conn:
            counted = len(list_runs(conn)), len(list_entries(conn, limit=10_000))
        database.close()
        return counted


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Any]) -> Machines:
    shared = tmp_path / "shared"
    shared.mkdir()
    return Machines(shared, monkeypatch, command)


def test_a_repeat_on_another_machine_gives_the_same_and_does_nothing_again(
    machines: Machines, make_project: Callable[..., Path]
):
    folder = make_project()
    first = machines.run(folder, "--key", "nightly 2026-11-21", "--wait", "--json")
    assert first.code == 0 and first.json()["version"] == 1
    counted = machines.counts()
    elsewhere = folder.parent / "elsewhere"
    shutil.copytree(folder, elsewhere)
    # The rows are those of the first time: a scheduler that repeats a task asks for the result, not for new work.
    (elsewhere / "rows.csv").write_text((elsewhere / "rows.csv").read_text() + "2026-01-01T00:00:00Z,1,a,3\n")
    again = machines.run(elsewhere, "--key", "nightly 2026-11-21", "--json", machine="second")
    assert (again.code, again.out) == (0, first.out)
    assert machines.counts() == counted
    other = machines.run(folder, "--key", "nightly 2026-11-22", "--json")
    assert other.json()["run_id"] != first.json()["run_id"] and other.json()["cached"]


def test_something_else_under_a_key_is_refused_with_what_differs_and_makes_nothing(
    machines: Machines, make_project: Callable[..., Path]
):
    folder, other = make_project(), make_project("curve")
    assert machines.run(folder, "--key", "k").code == 0
    counted = machines.counts()
    flagged = machines.run(folder, "--key", "k", "--set", "train.params.slope=1.5")
    assert flagged.code == 2
    assert "the key 'k' made run" in flagged.err
    assert "train.params.slope was not set, is 1.5" in flagged.err
    renamed = machines.run(other, "--key", "k")
    assert renamed.code == 2 and "model was line, is curve" in renamed.err
    (folder / "train.py").write_text((folder / "train.py").read_text() + "\n# changed\n")
    changed = machines.run(folder, "--key", "k")
    assert changed.code == 2 and "files differ: train.py. Choose another key" in changed.err
    assert machines.counts() == counted


def test_a_key_whose_run_failed_or_was_refused_stands_for_that_end_and_another_tries_again(
    machines: Machines, make_project: Callable[..., Path]
):
    folder = make_project(train=RAISES)
    first = machines.run(folder, "--key", "r1")
    assert first.code == 2 and "no such luck" in first.err
    assert "to try again choose another, such as 'r1-2'" in first.err
    counted = machines.counts()
    again = machines.run(folder, "--key", "r1", machine="second")
    assert again.code == 2 and "no such luck" in again.err
    assert machines.counts() == counted
    assert machines.run(folder, "--key", "r1-2").code == 2
    assert machines.counts()[0] == 2
    refused = make_project("flat", more='[[gates]]\nmetric = "mae"\nmax = 0.0001\n')
    codes = [machines.run(refused, "--key", "g1").code for _ in range(2)]
    assert codes == [1, 1] and machines.counts()[0] == 3


@pytest.mark.parametrize("key", ["", "x" * 201, "two\nlines"])
def test_a_key_that_nobody_could_read_is_refused_before_anything_is_made(
    machines: Machines, make_project: Callable[..., Path], key: str
):
    said = machines.run(make_project(), "--key", key)
    assert said.code == 2 and "a key has 1 to 200 printable characters" in said.err
    assert machines.counts() == (0, 0)


def test_equal_runs_of_two_keys_are_two_runs_even_when_they_are_started_together(
    run_home: Any, make_project: Callable[..., Path]
):
    folder = make_project()
    ids = [run_home.start(folder, run_id=keyed_id("run", key), key=key) for key in ("a", "b", "a")]
    assert ids == [keyed_id("run", key) for key in ("a", "b", "a")]
    assert {run_home.follow(run_id).version for run_id in ids} == {1}
