"""Two environments: what was tested here is deployed there, promoted from one to the next, and taken back."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from flyball.core.errors import OwnApproval
from flyball.core.refs import parse_ref
from flyball.core.values import Actor
from flyball.operations.environments import deploying
from flyball.operations.environments.places import choose_environment
from flyball.pipelines.project_file import read_project
from flyball.registry.bundle import read_manifest
from flyball.registry.evidence import list_evidence
from flyball.registry.versions import get_version

whole_plugin = sys.modules["flyball_tests_whole"]


def test_a_version_goes_to_staging_then_by_an_approval_to_production_and_back(staged):
    tested = staged.digest("plant@1")
    first = staged.json("deploy", "plant@1", "--env", "staging", "--why", "the tested one")
    assert (first["digest"], first["taken_from"], first["taken_version"]) == (tested, None, 1)
    assert (first["first"], first["state"], staged.champion("staging")) == (True, "promoted", 1)
    assert staged.digest("plant@champion", "--env", "staging") == tested
    assert staged.json("runs", "--env", "staging") == []  # nothing was trained there

    waiting = staged.json("deploy", "plant", "--env", "production", "--why", "a week in staging")
    assert (waiting["state"], waiting["waiting_for"], waiting["taken_from"]) == ("waiting", 1, "staging")
    assert waiting["digest"] == tested and staged.champion("production") is None
    assert "waiting for 1 more approval(s)" in staged.json("why", "plant", "--env", "production")["text"]
    own = staged.say("approve", "plant@1", "--env", "production", "--why", "mine is fine", code=1)
    assert "somebody else" in own.err
    staged.approve("production", "plant@1")
    staged.turn("production")
    assert (
        staged.champion("production") == 1
        and staged.digest("plant@champion", "--env", "production") == tested
    )

    better = staged.digest("plant@2")
    staged.say("deploy", "plant@2", "--env", "staging", "--strategy", "immediate", "--why", "more trees")
    assert staged.champion("staging") == 2 and staged.champion("production") == 1
    staged.say("deploy", "plant", "--env", "production", "--why", "better in staging")
    staged.approve("production", "plant@2")
    staged.turn("production")
    assert staged.json("rollout", "status", "plant", "--env", "production")["state"] == "running"
    staged.say("rollout", "promote", "plant", "--env", "production", "--why", "enough seen")
    assert staged.digest("plant@champion", "--env", "production") == better

    back = staged.json("rollback", "plant", "--env", "production", "--why", "complaints")
    assert (back["champion"], back["was"]) == (1, 2)
    assert staged.digest("plant@champion", "--env", "production") == tested
    assert staged.champion("staging") == 2 and staged.json("models")[0]["champion"] == 2
    for name in ("staging", "production"):
        assert staged.json("audit", "verify", "--env", name)["ok"]
    moves = {name: len(staged.json("history", "plant", "--env", name)) for name in ("staging", "production")}
    assert moves["production"] > moves["staging"]
    refused = staged.say("deploy", "plant@1", "--env", "production", "--why", "again", code=1)
    assert "takes only what is champion in staging" in refused.err and "version 2 there" in refused.err
    # What an error tells to type next is about the home that the error is about.
    there = staged.say("show", "plant@9", "--env", "staging", code=2)
    assert "`flyball versions plant --env staging` lists them" in there.err
    before = staged.say("deploy", "plant@9", "--env", "production", code=2)
    assert "`flyball versions plant --env staging` lists them" in before.err
    here = staged.say("deploy", "plant@9", "--env", "staging", code=2)
    assert "`flyball versions plant` lists them" in here.err


def test_what_was_found_out_about_a_version_goes_with_it_and_so_does_its_author(staged):
    staged.say("deploy", "plant@2", "--env", "staging", "--why", "a")
    staged.say("deploy", "plant", "--env", "production", "--why", "b")
    here = staged.json("show", "plant@2")
    there = staged.json("show", "plant@1", "--env", "production")
    for key in ("digest", "snapshot", "source_tree", "environment", "metrics", "params", "project", "author"):
        assert there["version"][key] == here["version"][key], key
    found = {item["kind"]: item["facts"] for item in there["evidence"]}
    (evaluation,) = [item["facts"] for item in here["evidence"] if item["kind"] == "evaluation"]
    assert found["evaluation"] == evaluation
    origin = found["origin"]
    assert (origin["environment"], origin["number"]) == ("staging", 1)
    assert origin["registered_at"][:19] == here["version"]["created_at"][:19]
    steps = {step["what"]: step["name"] for step in staged.json("lineage", "plant@1", "--env", "production")}
    assert steps["carried over from"] == "staging, version 1 there"
    assert here["version"]["run_id"] in steps["made by"] and "run" not in steps
    with staged.opened("production") as app, pytest.raises(OwnApproval):
        app.approve("plant@1", why="it is mine, by my number, from another home")


def test_what_is_repeated_changes_nothing(staged):
    first = staged.json("deploy", "plant@1", "--env", "staging", "--why", "a")
    again = staged.json("deploy", "plant@1", "--env", "staging", "--why", "a")
    assert (again["version"], again["state"], again["copied"]) == (first["version"], "promoted", 0)
    assert "nothing was changed" in again["because"]
    begun = staged.json("deploy", "plant@2", "--env", "staging", "--why", "b")
    again = staged.json("deploy", "plant@2", "--env", "staging", "--why", "b")
    assert (again["rollout_id"], again["state"]) == (begun["rollout_id"], "running")


def test_a_repeat_begins_what_was_approved_meanwhile(staged):
    staged.say("deploy", "plant@1", "--env", "staging", "--why", "a")
    for _ in range(2):
        assert staged.json("deploy", "plant", "--env", "production", "--why", "b")["waiting_for"] == 1
    staged.approve("production", "plant@1")
    assert staged.champion("production") is None  # no server of production runs
    done = staged.json("deploy", "plant", "--env", "production", "--why", "b")
    assert (done["state"], done["first"], staged.champion("production")) == ("promoted", True, 1)
    assert (staged.path_of("production") / "objects" / "routes" / "plant").is_dir()


def test_two_deployments_at_once_end_with_one_rollout(staged, monkeypatch):
    staged.say("deploy", "plant@1", "--env", "staging", "--why", "a")
    file = read_project(staged.folder)
    both, ended = threading.Barrier(2), list[Any]()
    begin = deploying.start_rollout

    def begin_together(*given: Any, **named: Any) -> Any:
        both.wait(30)  # neither has begun a rollout when the other looks
        return begin(*given, **named)

    def deploy() -> None:
        given: dict[str, Any] = {"why": "both at once", "strategy": None, "actor": Actor("ada")}
        staging = choose_environment(file, "staging", {})
        ended.append(deploying.deploy_to(file, parse_ref("plant@2"), staging, {}, **given))

    monkeypatch.setattr(deploying, "start_rollout", begin_together)
    threads = [threading.Thread(target=deploy) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(ended) == 2 and len({done.rollout_id for done in ended}) == 1
    assert {done.state for done in ended} == {"running"}
    assert [found["number"] for found in staged.json("versions", "plant", "--env", "staging")] == [2, 1]


def test_an_environment_that_there_is_not_is_told_with_those_there_are(staged):
    said = staged.say("versions", "plant", "--env", "prodution", code=2)
    assert "staging, production" in said.err and "did you mean production" in said.err
    nothing = staged.say("models", "--env", "staging", code=2)
    assert "nothing was deployed to staging yet" in nothing.err
    assert not staged.path_of("staging").exists()
    early = staged.say("deploy", "plant", "--env", "production", "--why", "x", code=2)
    assert "nothing was deployed to staging yet" in early.err
    assert not (staged.home / "environments").exists()


def test_an_environment_does_not_share_its_database_with_another(staged, monkeypatch):
    shared = f"sqlite:///{staged.folder / 'shared.db'}"
    monkeypatch.setenv("FLYBALL_STAGING_DATABASE", shared)
    monkeypatch.setenv("FLYBALL_PRODUCTION_DATABASE", shared)
    said = staged.say("deploy", "plant@1", "--env", "staging", "--why", "x", code=2)
    assert "staging have the same database" in said.err and "FLYBALL_PRODUCTION_DATABASE" in said.err
    monkeypatch.setenv("FLYBALL_PRODUCTION_HOME", str(staged.home))
    monkeypatch.delenv("FLYBALL_PRODUCTION_DATABASE")
    assert "this home have the same home" in staged.say("models", "--env", "staging", code=2).err
    monkeypatch.delenv("FLYBALL_PRODUCTION_HOME")
    monkeypatch.setenv("FLYBALL_STAGING_DATABASE", "mysql://me:secret@host/name")
    bad = staged.say("models", "--env", "staging", code=2).err
    assert "FLYBALL_STAGING_DATABASE" in bad and "secret" not in bad


def test_a_check_of_strangers_deploys_nothing(staged, monkeypatch):
    monkeypatch.setenv("FLYBALL_CACHE", "read")
    said = staged.say("deploy", "plant@1", "--env", "staging", "--why", "x", code=1)
    assert "FLYBALL_CACHE=read" in said.err and not staged.path_of("staging").exists()


def test_what_is_elsewhere_is_not_taken_for_this_home(staged, monkeypatch):
    monkeypatch.setenv("FLYBALL_URL", "http://127.0.0.1:9")
    said = staged.say("deploy", "plant@1", "--env", "staging", "--why", "x", code=2)
    assert "FLYBALL_URL names a control plane elsewhere" in said.err
    assert not staged.path_of("staging").exists()


def test_gates_of_an_environment_are_judged_on_what_is_recorded(staged):
    project = staged.folder / "flyball.toml"
    plain = project.read_text()
    for rule, code, word in (
        ('metric = "mae"\nmax = 0.001', 1, "fails what staging asks for"),
        ('metric = "mae"\nmax = 100.0\nconfidence = 0.9', 4, "leaves undecided what staging asks for"),
        ('metric = "mae"\nmax = 100.0', 0, ""),
    ):
        project.write_text(f"{plain}\n[[environments.staging.gates]]\n{rule}\n")
        said = staged.say("deploy", "plant@1", "--env", "staging", "--why", "x", code=code)
        assert word in said.err
        assert (staged.path_of("staging") / "objects" / "routes").exists() == (code == 0)
    (gate,) = staged.json("show", "plant@1", "--env", "staging")["gates"]
    assert (gate["environment"], gate["outcome"]) == ("staging", "pass")
    # Version 2 was compared with version 1, and that is what serves in staging: by its digest, whatever its number.
    versus = 'metric = "mae"\nversus = "champion"\nmax_increase = 50.0'
    project.write_text(f"{plain}\n[[environments.staging.gates]]\n{versus}\n")
    staged.say("deploy", "plant@2", "--env", "staging", "--why", "x", code=0)


def test_a_damaged_object_of_the_source_is_refused_and_nothing_is_registered(staged):
    with_files = staged.json("show", "plant@1")["version"]
    from flyball.app import open_app

    with open_app(staged.folder) as app:
        file = read_manifest(with_files["digest"], app.backends.blobs).files[0]
        path = Path(staged.home, "objects", app.backends.blobs.object_key(file.digest))
    whole = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(b"x" + whole[1:])
    said = staged.say("deploy", "plant@1", "--env", "staging", "--why", "x", code=3)
    assert file.digest in said.err and "other bytes" in said.err
    assert staged.json("models", "--env", "staging") == []
    path.write_bytes(whole)
    assert staged.json("deploy", "plant@1", "--env", "staging", "--why", "x")["state"] == "promoted"


def test_an_environment_that_a_later_release_wrote_is_left_alone(staged):
    import sqlite3

    staged.say("deploy", "plant@1", "--env", "staging", "--why", "a")
    with sqlite3.connect(staged.path_of("staging") / "flyball.db") as conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")
    said = staged.say("deploy", "plant@2", "--env", "staging", "--why", "b", code=2)
    assert "environment staging:" in said.err and "newer Flyball" in said.err


def test_objects_into_which_another_home_deploys_are_refused(staged, monkeypatch):
    monkeypatch.setenv("FLYBALL_STAGING_OBJECTS", f"file://{staged.home / 'objects'}")
    said = staged.say("deploy", "plant@1", "--env", "staging", "--why", "x", code=2)
    assert "another home deploys into them" in said.err


def test_the_same_on_postgresql_and_s3_with_all_that_monitoring_and_retraining_need(
    staged, new_postgres_url, s3_bucket, monkeypatch
):
    monkeypatch.setenv("FLYBALL_STAGING_DATABASE", new_postgres_url())
    monkeypatch.setenv("FLYBALL_STAGING_OBJECTS", f"s3://{s3_bucket}/staging")
    monkeypatch.setenv("FLYBALL_PRODUCTION_DATABASE", new_postgres_url())
    monkeypatch.setenv("FLYBALL_PRODUCTION_OBJECTS", f"s3://{s3_bucket}/production")
    tested = staged.digest("plant@1")
    assert staged.json("deploy", "plant@1", "--env", "staging", "--why", "a")["copied"] > 5
    assert staged.json("deploy", "plant@1", "--env", "staging", "--why", "a")["copied"] == 0
    staged.say("deploy", "plant", "--env", "production", "--why", "b")
    staged.approve("production", "plant@1")
    staged.turn("production")
    assert staged.digest("plant@champion", "--env", "production") == tested
    staged.say("monitor", "plant", "--env", "production")
    with staged.opened("production") as app:
        from flyball.data.snapshots import read_snapshot
        from flyball.monitoring.reference import load_standard
        from flyball.pipelines.source_tree import read_tree
        from flyball.registry.known_champion import find_known_champion
        from flyball.retraining.plan import plan_retraining

        with app.backends.database.read() as conn:
            version = get_version(conn, "plant", 1)
            assert {found.kind for found in list_evidence(conn, "plant", 1)} >= {
                "evaluation",
                "origin",
                "rollout",
            }
        assert load_standard(tested, app.backends.blobs).reference is not None
        assert read_snapshot(version.snapshot, app.backends.blobs).height == 300
        assert read_tree(version.source_tree, app.backends.blobs).files
        assert app.backends.blobs.has_object(version.lineage["trained_rows"])
        known = find_known_champion(app.backends.blobs, "plant")
        assert known is not None and known.digest == tested and known.source_tree == version.source_tree
        asked = app.retrain("plant", why="new rows")
        with app.backends.database.read() as conn:
            plan = plan_retraining(conn, app.backends.blobs, asked["retraining"])
        assert (plan.bundle, plan.tree, plan.root_snapshot) == (tested, version.source_tree, version.snapshot)
        assert plan.folder is not None
    assert staged.say("rollback", "plant", "--env", "production", "--why", "x", code=2).err


def test_an_environments_own_servers_answer_with_the_deployed_digest_and_replay_it(
    whole, staged, monkeypatch
):
    monkeypatch.setenv("FLYBALL_SEGMENT_SECONDS", "0.1")
    monkeypatch.setenv("FLYBALL_ROUTE_POLL_SECONDS", "0.05")
    tested, better = staged.digest("plant@1"), staged.digest("plant@2")
    staged.say("deploy", "plant@1", "--env", "staging", "--why", "a")
    whole.seen = staged.path_of("staging")
    whole.up_process = whole.start(
        "up", "--env", "staging", "--port", str(whole.port), "--serve-port", str(whole.serve_port)
    )
    whole.wait_ready()
    staged.say("deploy", "plant@2", "--env", "staging", "--strategy", "immediate", "--why", "b")
    whole.wait(lambda: whole.predict()[0] == 2, "the version that was deployed", 10)
    row = json.dumps({"heat": 4.0, "water": 2.0})
    answer = staged.json("predict", "plant", row, "--env", "staging")
    assert answer["version"] == 2
    whole.settle()
    again = staged.json("replay", answer["prediction_ids"][0], "--env", "staging")
    assert (again["bundle"], again["identical"]) == (better, True)
    staged.say("monitor", "plant", "--env", "staging")
    processes = staged.json("status", "--env", "staging")["processes"]
    assert processes["control plane"] != "not running"
    staged.say("rollback", "plant", "--env", "staging", "--why", "complaints")
    whole.wait(lambda: whole.predict()[0] == 1, "the version before", 10)
    assert staged.digest("plant@champion", "--env", "staging") == tested


def test_a_fresh_runner_beside_shared_objects_deploys_the_version_that_another_made(staged, monkeypatch):
    objects = f"file://{staged.home / 'objects'}"
    monkeypatch.setenv("FLYBALL_STAGING_HOME", str(staged.folder.parent / "staging"))
    first = staged.json("deploy", "plant@1", "--env", "staging", "--why", "a")
    monkeypatch.setenv("FLYBALL_HOME", str(staged.folder.parent / "fresh"))
    monkeypatch.setenv("FLYBALL_OBJECTS", objects)
    ran = staged.say("run")
    assert "train       … unchanged" in ran.err and staged.digest("plant@1") == first["digest"]
    again = staged.json("deploy", "plant@1", "--env", "staging", "--why", "by the runner")
    assert (again["version"], again["digest"]) == (first["version"], first["digest"])
    assert "nothing was changed" in again["because"]


def test_nothing_is_copied_where_a_home_that_deploys_nothing_shares_its_objects(staged, monkeypatch):
    objects = staged.folder.parent / "objects"
    shutil.copytree(staged.home / "objects", objects, ignore=shutil.ignore_patterns("routes", "segments"))
    monkeypatch.setenv("FLYBALL_HOME", str(staged.folder.parent / "fresh"))
    for name in ("FLYBALL_OBJECTS", "FLYBALL_STAGING_OBJECTS"):
        monkeypatch.setenv(name, f"file://{objects}")
    staged.say("run")
    done = staged.json("deploy", "plant", "--env", "staging", "--why", "x")
    assert (done["copied"], done["first"]) == (0, True)
    assert staged.champion("staging") == 1 and staged.json("models")[0]["champion"] is None


def test_a_version_that_a_person_rejected_goes_no_further(staged):
    staged.say("reject", "plant@2", "--why", "wrong unit")
    said = staged.say("deploy", "plant@2", "--env", "staging", "--why", "x", code=1)
    assert "plant@2 of this home was rejected" in said.err and "wrong unit" in said.err
    staged.say("deploy", "plant@1", "--env", "staging", "--why", "x")
    staged.say("reject", "plant@1", "--env", "staging", "--why", "fails for new customers")
    said = staged.say("deploy", "plant", "--env", "production", "--why", "x", code=1)
    assert "plant@1 of staging was rejected" in said.err
    assert not staged.path_of("production").exists()


def test_a_rejection_goes_with_the_package_to_the_number_that_other_settings_give_it_there(staged):
    staged.say("deploy", "plant@2", "--env", "staging", "--why", "first")
    staged.say("deploy", "plant@1", "--env", "staging", "--why", "fewer trees")
    staged.say("reject", "plant@2", "--env", "staging", "--why", "fails for new customers")
    again = staged.json("run", "--set", "train.params.treees=12")
    assert again["digest"] == staged.digest("plant@2", "--env", "staging") and again["version"] == 3
    said = staged.say("deploy", "plant@3", "--env", "staging", "--why", "once more", code=1)
    assert "plant@3 was rejected" in said.err and "fails for new customers" in said.err
    assert "as plant@2, which is the same package" in said.err and "flyball approve plant@2" in said.err
    listed = {
        found["number"]: found["rejection"] for found in staged.json("versions", "plant", "--env", "staging")
    }
    assert listed[1] is None and "fails for new customers" in listed[2] and "(as plant@2" in listed[3]

    staged.say("approve", "plant@2", "--env", "staging", "--why", "they are fine")
    assert staged.json("show", "plant@3", "--env", "staging")["rejection"] is None


@pytest.mark.long
def test_a_model_is_trained_again_in_its_environment_from_what_was_carried_there(staged):
    tested = staged.digest("plant@1")
    staged.say("deploy", "plant@1", "--env", "staging", "--why", "a")
    # From the carried source and rows come the very same bytes, which are no gain over themselves.
    ended = staged.json("retrain", "plant", "--env", "staging", "--why", "new rows", "--wait", code=1)
    assert (ended["state"], ended["version"]) == ("refused", 2)
    assert staged.digest("plant@2", "--env", "staging") == tested
    assert staged.champion("staging") == 1 and len(staged.json("versions", "plant")) == 2
    (run,) = staged.json("runs", "--env", "staging")
    assert run["id"] == ended["run"] and staged.json("runs", "show", run["id"], "--env", "staging")["steps"]
    assert "train" in staged.say("runs", "logs", run["id"], "--env", "staging").out


def test_bytes_that_the_run_did_not_test_are_not_deployed(staged):
    import sqlite3

    other = staged.digest("plant@2")
    with sqlite3.connect(staged.home / "flyball.db") as conn:
        conn.execute("UPDATE runs SET result = json_set(result, '$.digest', ?) WHERE version = 1", (other,))
    said = staged.say("deploy", "plant@1", "--env", "staging", "--why", "x", code=3)
    assert "what was not tested is not deployed" in said.err and other in said.err
    assert staged.json("models", "--env", "staging") == []
