"""What steps gave, shared through the object store: a laptop, a fresh runner, a stranger, and entries gone bad."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flyball.backends.blobs.store import open_blobs
from flyball.data.catalogue import get_snapshot
from flyball.pipelines.runs import list_run_steps
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
            assert get_snapshot(conn, again.snapshot).row_count == 400
        # Noted in its own database: what the store holds is not read a second time.
        for key in runner.shop.blobs.list(FOLDER):
            runner.shop.blobs.delete(key)
        assert _steps(runner, runner.run(folder).run_id) == REUSED


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
