"""What steps gave, shared through the object store: a laptop, a fresh runner, a stranger, and entries gone bad."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyball.backends.blobs.store import open_blobs
from flyball.data.catalogue import list_snapshots
from flyball.pipelines.environment import read_environment
from flyball.pipelines.runs import find_cached, keep_cached, list_run_steps
from flyball.pipelines.shared_steps import FOLDER, find_shared

MADE = {"prepare": "done", "train": "done", "evaluate": "done"}
REUSED = dict.fromkeys(MADE, "cached")


def _steps(home: Any, run_id: str) -> dict[str, str]:
    return {name: state for name, state in home.steps(run_id).items() if name in MADE}


def _key(home: Any, run_id: str, step: str) -> str:
    with home.shop.database.read() as conn:
        return next(str(found.key) for found in list_run_steps(conn, run_id) if found.name == step)


def _first(fresh_home: Callable[..., Any], objects: str, folder: Path) -> tuple[Any, dict[str, str]]:
    with fresh_home("laptop", objects) as laptop:
        result = laptop.run(folder)
        assert result.state == "registered" and _steps(laptop, result.run_id) == MADE
        return result, {step: _key(laptop, result.run_id, step) for step in MADE}


def test_a_fresh_machine_with_the_same_objects_trains_nothing_and_registers_the_same_bundle(
    fresh_home: Callable[..., Any], make_project: Callable[..., Path], objects_url: str
):
    folder = make_project()
    first, _ = _first(fresh_home, objects_url, folder)
    with fresh_home("runner", objects_url) as runner:
        again = runner.run(folder)
        assert _steps(runner, again.run_id) == REUSED
        assert (again.state, again.version, again.digest) == ("registered", 1, first.digest)
        assert again.metrics == first.metrics
        with runner.shop.database.read() as conn:
            (entry,) = list_snapshots(conn)
            assert (entry.digest, entry.row_count) == (again.snapshot, 400)
        # Its database alone is not believed: whoever can write there could have made a refused version a good one.
        for key in runner.shop.blobs.list(FOLDER):
            runner.shop.blobs.delete(key)
        assert _steps(runner, runner.run(folder).run_id) == MADE


def test_a_row_of_the_database_that_was_edited_is_refused_with_a_warning(
    fresh_home: Callable[..., Any], make_project: Callable[..., Path], objects_url: str
):
    folder = make_project(more='[[gates]]\nmetric = "mae"\nmax = 0.0001\n')
    with fresh_home("laptop", objects_url) as home:
        first = home.run(folder)
        assert first.state == "refused"
        key = _key(home, first.run_id, "evaluate")
        with home.shop.database.write() as conn:
            outputs = find_cached(conn, key)
            assert outputs is not None
            for gate in outputs["gates"]:
                gate["outcome"] = "pass"
            keep_cached(conn, key, "evaluate", outputs, first.run_id, home.shop.clock.now())
        again = home.run(folder)
        assert again.state == "refused"
        assert "warning: what the database keeps of an earlier run is not used" in home.log(again.run_id)
        with home.shop.database.read() as conn:  # and the row is right again
            kept = find_cached(conn, key)
        assert kept is not None and any(gate["outcome"] != "pass" for gate in kept["gates"])
        assert "is not used" not in home.log(home.run(folder).run_id)


def test_an_entry_whose_object_was_changed_is_refused_and_the_object_is_stored_whole_again(
    fresh_home: Callable[..., Any], make_project: Callable[..., Path], tmp_path: Path
):
    folder, objects = make_project(), f"file://{tmp_path / 'objects'}"
    first, keys = _first(fresh_home, objects, folder)
    blobs = open_blobs(objects)
    trained = find_shared(blobs, keys["train"])
    assert trained is not None
    line = next(file["digest"] for file in trained.outputs["files"] if file["path"].endswith("line.json"))
    good = blobs.get_object(line)
    blobs.put_latest(blobs.object_key(line), bytes(len(good)))  # the same length: only its digest can tell
    with fresh_home("runner", objects) as runner:
        again = runner.run(folder)
        assert _steps(runner, again.run_id)["train"] == "done"
        assert "other bytes than its name says" in runner.log(again.run_id)
        assert (again.state, again.digest) == ("registered", first.digest)
    assert blobs.get_object(line) == good
    with fresh_home("next-runner", objects) as runner:  # what was refused once was replaced
        assert _steps(runner, runner.run(folder).run_id) == REUSED


def test_what_another_python_made_is_not_used(
    fresh_home: Callable[..., Any],
    make_project: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    folder, objects = make_project(), f"file://{tmp_path / 'objects'}"
    monkeypatch.setattr(platform, "python_version", lambda: "3.8.1")
    read_environment.cache_clear()
    try:
        _first(fresh_home, objects, folder)
    finally:
        monkeypatch.undo()
        read_environment.cache_clear()
    with fresh_home("runner", objects) as runner:  # its rows do not depend on Python, what was trained does
        assert _steps(runner, runner.run(folder).run_id)["train"] == "done"


def test_with_read_a_stranger_uses_what_is_there_and_leaves_no_result_to_others(
    fresh_home: Callable[..., Any], make_project: Callable[..., Path], tmp_path: Path
):
    folder, objects = make_project(), f"file://{tmp_path / 'objects'}"
    _first(fresh_home, objects, folder)
    blobs = open_blobs(objects)
    before = blobs.list(FOLDER)
    with fresh_home("stranger", objects, "read") as stranger:
        assert _steps(stranger, stranger.run(folder).run_id) == REUSED
        changed = stranger.run(folder, {"train.params.slope": "7.0"})
        assert _steps(stranger, changed.run_id) == {**MADE, "prepare": "cached"}
    assert blobs.list(FOLDER) == before


def test_with_off_every_step_is_made_anew(
    fresh_home: Callable[..., Any], make_project: Callable[..., Path], tmp_path: Path
):
    folder, objects = make_project(), f"file://{tmp_path / 'objects'}"
    _first(fresh_home, objects, folder)
    with fresh_home("careful", objects, "off") as careful:
        assert _steps(careful, careful.run(folder).run_id) == MADE
        assert _steps(careful, careful.run(folder).run_id) == MADE
