"""Deployments kept as files beside people and the loop: what they decided is told and stands until it is taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from flyball_tests_deployments import GRACE, Repository, deployment

from flyball.core.values import Actor
from flyball.operations.planning import applying
from flyball.registry.bundle import read_manifest


def test_a_rollback_by_hand_is_told_with_its_author_and_stands_until_it_is_taken_back(
    repository: Repository,
):
    staged = repository.staged
    repository.commit("the second", staging=deployment("staging", repository.first))
    repository.apply("staging")
    repository.commit("the second", staging=deployment("staging", repository.second))
    repository.apply("staging")
    with staged.opened("staging") as app:
        app.rollback("plant", to=None, why="complaints", actor=GRACE)
    said = staged.say("plan", "deployments/staging.toml", "--check", code=1)
    assert "differs from the file since " in said.out
    assert ", by grace: `rollback --why complaints`" in said.out
    assert "write it into the file, or apply with --take-back" in said.out

    (held,) = repository.apply("staging", code=1)
    assert (held["change"]["kind"], held["done"], repository.serving("staging")) == (
        "held",
        "",
        repository.first,
    )
    (taken,) = repository.apply("staging", more=("--take-back", "--why", "they were wrong"))
    assert (taken["change"]["kind"], repository.serving("staging")) == ("deploy", repository.second)

    with staged.opened("staging") as app:
        app.rollback("plant", to=None, why="complaints", actor=GRACE)
    repository.commit("as it is", staging=deployment("staging", repository.first))
    assert staged.say("plan", "deployments/staging.toml", "--check").out.startswith(
        "= staging/plant: nothing"
    )
    repository.apply("staging")
    repository.commit("once more", staging=deployment("staging", repository.second))
    assert repository.kinds("staging") == ["held"], "what a person took out comes back by no commit alone"


def test_what_was_written_into_the_file_is_what_it_is_held_against_from_then_on(repository: Repository):
    staged = repository.staged
    for version in (repository.first, repository.second):
        repository.commit("on", staging=deployment("staging", version))
        repository.apply("staging")
    with staged.opened("staging") as app:
        app.rollback("plant", to=None, why="complaints", actor=GRACE)
    written = repository.commit("as it is", staging=deployment("staging", repository.first))
    (found,) = repository.apply("staging")
    assert (found["change"]["kind"], found["done"]) == ("nothing", "")
    newest = staged.json("audit", "log", "--env", "staging")[0]
    assert (newest["action"], newest["facts"]["commit"]) == ("deployments.applied", written)

    staged.say("deploy", "plant@2", "--env", "staging", "--why", "mended")
    (held,) = repository.apply("staging", code=1)
    assert (held["change"]["kind"], repository.serving("staging")) == ("held", repository.second)
    assert "`deploy --why mended`" in held["change"]["because"]


def test_a_rollout_towards_the_file_is_no_difference_until_it_waits_for_people(repository: Repository):
    repository.two_steps()
    staged = repository.staged
    said = staged.say("plan", "deployments/staging.toml", "--check")
    assert "wait" in said.out and "is at step 1" in said.out
    staged.say("rollout", "pause", "plant", "--env", "staging", "--why", "let me look")
    said = staged.say("plan", "deployments/staging.toml", "--check", code=1)
    assert "at step 1 and paused" in said.out


def damage(repository: Repository, digest: str) -> None:
    """Change a byte of a version in staging."""
    with repository.staged.opened("staging") as app:
        manifest = read_manifest(digest, app.backends.blobs)
        folder = app.settings.objects_url.removeprefix("file://")
        path = Path(folder, app.backends.blobs.object_key(manifest.files[0].digest))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def test_a_rejection_that_comes_while_files_are_read_stops_the_apply(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
):
    staged = repository.staged
    repository.commit("the first", staging=deployment("staging", repository.first))
    repository.apply("staging")
    read = applying.check_files

    def read_long(backends: Any, version: Any) -> None:
        with staged.opened("staging") as app:
            app.reject("plant@2", why="wrong unit", actor=GRACE)
        read(backends, version)

    monkeypatch.setattr(applying, "check_files", read_long)
    repository.commit("the second", staging=deployment("staging", repository.second))
    (blocked,) = repository.apply("staging", code=1)
    assert (blocked["change"]["kind"], blocked["unlike_plan"], blocked["done"]) == ("blocked", True, "")
    assert "rejected by grace: wrong unit" in blocked["change"]["because"]
    assert repository.serving("staging") == repository.first


def test_what_a_rollback_meanwhile_makes_a_deployment_is_read_before_it_is_deployed(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
):
    staged, project = repository.staged, repository.folder / "flyball.toml"
    for version in (repository.first, repository.second):
        repository.commit("a version", staging=deployment("staging", version))
        repository.apply("staging")
    project.write_text(project.read_text().replace('window = "1h"', 'window = "2h"'))
    find, meanwhile = applying.Sites.site, ["rollback"]

    def find_late(sites: Any, asked: Any, *, make: bool = False) -> Any:
        if make and meanwhile:
            meanwhile.clear()
            with staged.opened("staging") as app:
                app.rollback("plant", to=None, why="complaints", actor=GRACE)
            damage(repository, repository.second)
        return find(sites, asked, make=make)

    monkeypatch.setattr(applying.Sites, "site", find_late)
    (failed,) = repository.apply("staging", code=1, more=("--take-back",))
    assert (failed["planned"]["change"]["kind"], failed["code"]) == ("settings", "corrupt_object")
    assert repository.serving("staging") == repository.first


def test_a_version_whose_files_are_damaged_is_put_into_service_by_no_apply(repository: Repository):
    for version in (repository.first, repository.second):
        repository.commit("a version", staging=deployment("staging", version))
        repository.apply("staging")
    damage(repository, repository.first)
    repository.git("revert", "--no-edit", "HEAD")
    (failed,) = repository.apply("staging", code=1)
    assert (failed["change"]["kind"], failed["code"], failed["done"]) == ("roll back", "corrupt_object", "")
    assert repository.serving("staging") == repository.second


def test_what_a_person_put_into_service_is_not_replaced_by_the_same_file(repository: Repository):
    staged = repository.staged
    repository.commit("the first", staging=deployment("staging", repository.first))
    repository.apply("staging")
    staged.say("deploy", "plant@2", "--env", "staging", "--why", "a quick trial")
    (held,) = repository.apply("staging", code=1)
    assert (
        "`rollout promote --why" in held["change"]["because"] or "`deploy --why" in held["change"]["because"]
    )
    assert "a quick trial" in held["change"]["because"]
    assert repository.serving("staging") == repository.second
    (back,) = repository.apply("staging", more=("--take-back",))
    assert (back["change"]["kind"], repository.serving("staging")) == ("roll back", repository.first)


def test_a_rollout_that_others_began_is_told_and_left_alone_until_it_is_taken_back(repository: Repository):
    repository.two_steps()
    staged, there = repository.staged, ("--env", "staging")
    repository.git("revert", "--no-edit", "HEAD")
    repository.apply("staging")
    staged.say("deploy", "plant@2", *there, "--why", "a try")
    said = staged.say("plan", "deployments/staging.toml", "--check", code=1)
    assert "= staging/plant: nothing: in service, as the file says" in said.out
    assert "is being rolled out since " in said.out and '`deploy --why "a try"`' in said.out
    repository.apply("staging")
    assert staged.json("rollout", "status", "plant", *there)["state"] == "running"
    repository.apply("staging", more=("--take-back",))
    assert staged.json("rollout", "status", "plant", *there)["state"] == "aborted"
    staged.say("plan", "deployments/staging.toml", "--check")


def test_an_abort_by_hand_holds_up_the_file_and_a_rejection_blocks_it(repository: Repository):
    repository.two_steps()
    staged, there = repository.staged, ("--env", "staging")
    staged.say("rollout", "abort", "plant", *there, "--why", "smells")
    (held,) = repository.apply("staging", code=1)
    assert "`rollout abort --why smells`" in held["change"]["because"]
    (again,) = repository.plan("staging", more=("--take-back",))
    assert (again["change"]["kind"], again["change"]["notes"]) == (
        "deploy",
        [],
    )  # the champion is the file's own
    staged.say("reject", "plant@2", *there, "--why", "wrong unit")
    assert repository.kinds("staging") == ["blocked"]
    (blocked,) = repository.apply("staging", code=1, more=("--take-back",))
    assert (blocked["change"]["kind"], "wrong unit" in blocked["change"]["because"]) == ("blocked", True)
    assert repository.serving("staging") == repository.first


def test_what_is_in_service_and_in_no_file_is_told_and_left_alone(repository: Repository):
    text = f'[deployments.other]\nversion = "{repository.first}"\n'
    repository.commit("another model", here=text)
    said = repository.staged.say("plan", "deployments/here.toml")
    assert f"plant: not in the files, left alone ({repository.second[:19]})" in said.out
    repository.apply("here", code=1)
    assert repository.staged.json("models")[0]["champion"] == 2


def test_what_the_loop_promoted_is_told_and_not_undone_by_the_same_file(repository: Repository):
    from flyball.delivery.start import deploy
    from flyball.registry.versions import get_version

    repository.commit("the first", staging=deployment("staging", repository.first))
    repository.apply("staging")
    repository.commit("the second", staging=deployment("staging", repository.second))
    repository.apply("staging")
    repository.commit("the first", staging=deployment("staging", repository.first))
    repository.apply("staging")
    policy = Actor("retraining policy", "automation")
    with repository.staged.opened("staging") as app, app.backends.database.write() as conn:
        from flyball.core.project import Project

        project = msgspec.convert(get_version(conn, "plant", 2).project, Project)
        at_once = msgspec.structs.replace(project.rollout, strategy="immediate")
        deploy(
            conn,
            "plant",
            2,
            actor=policy,
            why="a confirmed change",
            now=app.backends.clock.now(),
            model_time=None,
            project=msgspec.structs.replace(project, rollout=at_once),
        )
    (held,) = repository.apply("staging", code=1)
    assert held["change"]["kind"] == "held"
    assert "by retraining policy: deploy (a confirmed change)" in held["change"]["because"]
