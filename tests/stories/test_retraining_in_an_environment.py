"""A candidate that an environment retrained itself: another home's file names it, and only there it goes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flyball_tests_control import store_bundle
from flyball_tests_deployments import GRACE, Repository, deployment
from flyball_tests_loop import a_retraining
from flyball_tests_request_hosts import RequestHost

from flyball.core.values import Actor
from flyball.delivery import left
from flyball.registry.routes import current, project_of
from flyball.registry.versions import NewVersion, get_version, register_version
from flyball.retraining import retrainings

git = sys.modules["flyball_tests_repositories"].git
ADA = Actor("ada")


@pytest.fixture
def live(repository: Repository) -> Repository:
    """Version 1 is champion of staging and of production, which comes after it and leaves candidates to people."""
    project = repository.folder / "flyball.toml"
    section = "[environments.production]\n"
    project.write_text(project.read_text().replace(section, f'{section}deliver = "pull-request"\n'))
    first = repository.first
    files = {name: deployment(name, first) for name in ("staging", "production")}
    repository.commit("the first", **files)
    repository.apply("staging")
    repository.apply("production")
    with repository.staged.opened("production") as app:
        app.approve("plant@1", why="looked at it", actor=GRACE)
    repository.apply("production")
    return repository


@pytest.fixture
def project_host(live: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    host = RequestHost("gitlab", tmp_path)
    for name, value in host.environment().items():
        monkeypatch.setenv(name, value)
    git(live.folder, "remote", "add", "origin", str(host.bare))
    git(live.folder, "push", "-q", "origin", "main")
    yield host
    host.close()


def retrain_in(live: Repository, name: str, number: int = 0) -> str:
    """What a retraining in an environment leaves: a version that no other home knows, and that waits; its digest."""
    with live.staged.opened(name) as app:
        backends, now = app.backends, app.backends.clock.now()
        digest = str(store_bundle(backends.blobs, "plant", 900 + number))
        with backends.database.write() as conn:
            first = msgspec.structs.asdict(get_version(conn, "plant", 1))
            fields = {key: value for key, value in first.items() if key in NewVersion.__struct_fields__}
            given = {"digest": digest, "run_id": None, "lineage": {}}
            candidate = register_version(conn, NewVersion(**{**fields, **given}), ADA, now)
            ended = {"state": "ready", "version": candidate.number, "finished_at": now}
            retraining = a_retraining(now, id=f"rtn_{candidate.number}", model="plant", **ended)
            retrainings.save_new(conn, retraining)
            facts = {
                "model": "plant",
                "version": candidate.number,
                "retraining_id": retraining.id,
                "approvals": 2,
            }
            left.leave(conn, facts, actor=ADA, now=now)
    return digest


def test_it_is_proposed_in_the_file_of_its_environment_and_applied_without_the_environment_before(
    live: Repository, project_host: Any
):
    for name, deliver in (("staging", "rollout"), ("production", "pull-request")):
        with live.staged.opened(name) as app, app.backends.database.read() as conn:
            assert project_of(current(conn, "plant")).retrain.deliver == deliver
    digest = retrain_in(live, "production")
    files = [f"deployments/{name}.toml" for name in ("staging", "production")]
    told = live.staged.json("ci", "propose", *files)["proposals"]
    states = {one["environment"]: one["state"] for one in told}
    assert states == {"staging": "nothing", "production": "opened"}
    [pull] = project_host.pulls
    assert pull["branch"] == f"flyball/production/plant-{digest[7:19]}"
    assert pull["title"].endswith("to production, retrained")
    # One approval by the section, two by the retraining's policy: the strictest count holds, and the merge is none.
    assert "waits for 2 approval(s)" in pull["body"]

    project_host.merge(1)
    git(live.folder, "pull", "-q", "origin", "main")
    [applied] = live.apply("production")
    assert "waits for 2 approval(s)" in applied["done"] and live.serving("production") == live.first
    with live.staged.opened("production") as app:
        for person in (GRACE, Actor("lin", "person", "local:4712")):
            app.approve("plant@2", why="looked at it", actor=person)
    live.apply("production")
    assert (live.serving("production"), live.serving("staging")) == (digest, live.first)
    assert live.kinds("staging", "production") == ["nothing", "nothing"]


def test_what_another_environment_retrained_is_still_no_version_of_this_one(live: Repository):
    digest = retrain_in(live, "staging")
    live.commit("not yet", production=deployment("production", digest))
    [change] = [planned["change"] for planned in live.plan("production")]
    assert change["kind"] == "blocked" and "only what is champion in staging" in change["because"]


def test_the_environments_own_gates_stand_in_its_way(live: Repository, project_host: Any):
    project = live.folder / "flyball.toml"
    project.write_text(
        project.read_text() + '\n[[environments.production.gates]]\nmetric = "mae"\nmax = 0.001\n'
    )
    digest = retrain_in(live, "production")
    [told] = live.staged.json("ci", "propose", "deployments/production.toml")["proposals"]
    assert told["state"] == "nothing" and "an apply would not deploy it" in told["because"]
    assert "mae" in told["because"] and project_host.pulls == []
    live.commit("all the same", production=deployment("production", digest))
    assert live.kinds("production") == ["blocked"]


def test_where_the_home_of_an_environment_is_away_the_others_are_proposed_and_the_exit_code_says_it(
    live: Repository, project_host: Any
):
    retrain_in(live, "staging")
    (live.staged.path_of("production") / "flyball.db").write_bytes(b"no database")
    files = [f"deployments/{name}.toml" for name in ("production", "staging")]
    told = live.staged.json("ci", "propose", *files, code=3)["proposals"]
    assert {one["environment"]: one["state"] for one in told} == {"production": "failed", "staging": "opened"}
