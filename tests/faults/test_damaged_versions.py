"""Files of a version that are damaged or gone: nothing that would put it into service is done, and it is said why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flyball_tests_control import _register, open_home, seed, store_bundle

from flyball.core.errors import CorruptObject, ObjectNotFound
from flyball.governance.actors import local_actor
from flyball.operations import deploying
from flyball.registry.bundle import read_manifest

MODEL = "bike-demand"


@pytest.fixture
def app(tmp_path: Path) -> Any:
    """A home with versions 1 (in service) and 2; a promotion of 2 is one call."""
    seed(tmp_path, MODEL, text="a test")
    with open_home(tmp_path) as opened:
        yield opened


def file_of(app: Any, number: int) -> Path:
    """The stored file of a version."""
    (version,) = [v for v in app.list_versions(MODEL, limit=10) if v.number == number]
    (file,) = read_manifest(version.digest, app.backends.blobs).files
    folder = app.settings.objects_url.removeprefix("file://")
    return Path(folder, app.backends.blobs.object_key(file.digest))


def flip(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")


DAMAGES: list[tuple[Callable[[Path], None], type[Exception]]] = [
    (flip, CorruptObject),
    (Path.unlink, ObjectNotFound),
]


def state_of(app: Any) -> tuple[Any, ...]:
    """All that a decision could have changed."""
    status = app.rollout_status(MODEL)
    summary = app.get_model(MODEL)
    entries = len(app.list_events(limit=1000))
    return summary.champion, summary.candidate, summary.revision, status and status.state, entries


@pytest.mark.parametrize(("damage", "error"), DAMAGES)
def test_a_rollback_to_a_version_without_its_files_is_refused_and_changes_nothing(
    app: Any, damage: Any, error: type[Exception]
) -> None:
    app.deploy(f"{MODEL}@2", why="better", strategy="immediate")
    before = state_of(app)
    path = file_of(app, 1)
    whole = path.read_bytes()
    damage(path)
    for to in (None, "1"):
        with pytest.raises(error, match=path.name[-8:]) as told:
            app.rollback(MODEL, to=to, why="complaints")
    with pytest.raises(error) as same:
        app.deploy(f"{MODEL}@1", why="again")
    assert told.value.args == same.value.args
    assert state_of(app) == before
    path.unlink(missing_ok=True)
    path.write_bytes(whole)
    assert app.rollback(MODEL, to=None, why="complaints")["champion"] == 1


@pytest.mark.parametrize(("damage", "error"), DAMAGES)
def test_a_person_can_not_promote_a_candidate_whose_files_are_damaged(
    app: Any, damage: Any, error: type[Exception]
) -> None:
    app.deploy(f"{MODEL}@2", why="better", strategy="shadow")
    before = state_of(app)
    assert before[:2] == (1, 2)
    damage(file_of(app, 2))
    with pytest.raises(error):
        app.decide_rollout(MODEL, "promote", why="the board decided")
    assert state_of(app) == before


@pytest.mark.parametrize("verb", ["promote", "deploy"])
def test_a_version_that_takes_anothers_place_while_that_one_is_checked_is_checked_as_well(
    app: Any, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    backends, check = app.backends, deploying.check_files
    bundle = store_bundle(backends.blobs, MODEL, 4)
    if verb == "promote":
        app.deploy(f"{MODEL}@2", why="better", strategy="shadow")
    states = []

    def exchanged_meanwhile(of: Any, version: Any) -> None:
        monkeypatch.setattr(deploying, "check_files", check)
        check(of, version)
        with backends.database.write() as conn:
            _register(conn, MODEL, 4, "a test", local_actor(), bundle)
        if verb == "promote":
            app.decide_rollout(MODEL, "abort", why="another one is better")
            app.deploy(f"{MODEL}@4", why="the other one", strategy="shadow")
        flip(file_of(app, 4))
        states.append(state_of(app))

    monkeypatch.setattr(deploying, "check_files", exchanged_meanwhile)
    with pytest.raises(CorruptObject):
        if verb == "promote":
            app.decide_rollout(MODEL, "promote", why="the board decided")
        else:
            app.deploy(MODEL, why="the newest", strategy="immediate")
    assert states == [state_of(app)]


@pytest.mark.parametrize("verb", ["deploy", "promote", "rollback"])
def test_a_store_that_is_not_mounted_says_nothing_about_files_and_stops_no_decision(
    app: Any, verb: str
) -> None:
    app.deploy(f"{MODEL}@2", why="better", strategy="immediate" if verb == "rollback" else "shadow")
    if verb == "deploy":
        app.decide_rollout(MODEL, "abort", why="for now")
    folder = Path(app.settings.objects_url.removeprefix("file://"))
    folder.rename(folder.with_name("elsewhere"))
    folder.mkdir()
    if verb == "deploy":
        app.deploy(f"{MODEL}@2", why="better", strategy="immediate")
    elif verb == "promote":
        app.decide_rollout(MODEL, "promote", why="the board decided")
    else:
        app.rollback(MODEL, to=None, why="complaints")
    assert app.get_model(MODEL).champion == (1 if verb == "rollback" else 2)


def test_a_whole_candidate_is_promoted_and_published(app: Any) -> None:
    app.deploy(f"{MODEL}@2", why="better", strategy="shadow")
    assert app.decide_rollout(MODEL, "promote", why="the board decided").state == "promoted"
    assert state_of(app)[:2] == (2, None)
    assert [finding["state"] for finding in app.doctor() if "route" in finding["check"]] == ["right"]
