"""Environments kept by files in Git: commits say what is in service, `flyball apply` does it, a revert undoes it."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from flyball_tests_deployments import AT_ONCE, GRACE, Repository, deployment

from flyball.delivery.settings import change_settings, settings_of
from flyball.operations.planning import applying
from flyball.registry.routes import current


def test_promotion_by_commits_with_an_approval_and_rollback_by_a_revert(repository: Repository):
    staged, first, second = repository.staged, repository.first, repository.second
    runs = len(staged.json("runs"))
    repository.commit(
        "the first to staging",
        staging=deployment("staging", first),
        production=deployment("production", "champion of staging"),
    )
    assert repository.kinds("staging", "production") == ["blocked", "first"]
    assert not staged.path_of("staging").exists()  # a plan writes nothing
    repository.apply("staging")
    assert repository.serving("staging") == first

    (waiting,) = repository.apply("production")
    assert "waits for 1 approval" in waiting["done"]
    assert repository.kinds("production") == ["wait"]
    repository.apply("production", code=4, more=("--wait",))
    with staged.opened("production") as app:
        app.approve("plant@1", why="a week in staging", actor=GRACE)
    assert repository.kinds("production") == ["begin"]
    repository.apply("production")
    assert repository.serving("production") == first
    assert repository.kinds("staging", "production") == ["nothing", "nothing"]

    better = repository.commit("more trees", staging=deployment("staging", second, 'why = "more trees"\n'))
    repository.apply("staging", "production")
    assert (repository.serving("staging"), repository.serving("production")) == (second, first)
    repository.apply("production")
    with staged.opened("production") as app:
        app.approve("plant@2", why="better in staging", actor=GRACE)
    (begun,) = repository.apply("production")
    assert (begun["change"]["kind"], repository.serving("production")) == ("begin", second)
    entries = staged.json("audit", "log", "--env", "staging")
    (file,) = [entry for entry in entries if entry["action"] == "deployments.applied"][:1]
    assert (file["facts"]["commit"], file["facts"]["file"]) == (better, "deployments/staging.toml")
    (mark,) = [entry for entry in entries if entry["action"] == "deployment.applied"][:1]
    assert mark["facts"]["digest"] == second
    assert mark["why"] == f"deployments/staging.toml at {better[:12]}: more trees"

    repository.git("revert", "--no-edit", better)
    (back,) = repository.apply("staging")
    assert (back["change"]["kind"], repository.serving("staging")) == ("roll back", first)
    (follows,) = repository.apply("production")
    assert (follows["change"]["kind"], repository.serving("production")) == ("roll back", first)
    assert repository.kinds("staging", "production") == ["nothing", "nothing"]
    assert len(staged.json("runs")) == runs
    for name in ("staging", "production"):
        assert staged.json("audit", "verify", "--env", name)["ok"]
        with staged.opened(name) as app:
            assert app.list_runs() == [], "nothing is trained there"


def test_a_repeat_does_nothing_and_leaves_no_trace(repository: Repository):
    repository.commit("here", here=deployment(None, repository.first))
    (done,) = repository.apply("here")
    assert done["change"]["kind"] == "roll back" and "plant@1 is in service again" in done["done"]
    before = repository.staged.json("audit", "log")
    (again,) = repository.apply("here")
    assert (again["change"]["kind"], again["done"]) == ("nothing", "")
    assert repository.staged.json("audit", "log") == before
    assert repository.staged.json("models")[0]["champion"] == 1


def test_settings_change_without_another_version_and_say_from_what_to_what(repository: Repository):
    repository.commit("the first", staging=deployment("staging", repository.first))
    repository.apply("staging")
    project = repository.folder / "flyball.toml"
    project.write_text(project.read_text().replace('window = "1h"', 'window = "2h"'))
    said = repository.staged.say("plan", "deployments/staging.toml")
    assert "settings: the version is in service, under other settings" in said.out
    assert 'monitor.window: "1h" → "2h"' in said.out
    (done,) = repository.apply("staging")
    assert done["done"] == "settings changed: monitor.window"
    assert repository.kinds("staging") == ["nothing"]
    with repository.staged.opened("staging") as app:
        from flyball.registry.routes import list_revisions

        with app.backends.database.read() as conn:
            now, before = list_revisions(conn, "plant", limit=2)
    assert (now.champion, now.project["monitor"]["window"]) == (before.champion, "2h")
    assert now.published_at is not None


def test_a_repeat_publishes_what_an_apply_that_died_had_decided(repository: Repository):
    repository.commit("the first", staging=deployment("staging", repository.first))
    repository.apply("staging")
    with repository.staged.opened("staging") as app:
        now = app.backends.clock.now()
        with app.backends.database.write() as conn:
            settings = settings_of(current(conn, "plant").project)
            change_settings(conn, "plant", settings, actor=GRACE, why="the same", now=now, model_time=None)
            assert current(conn, "plant").published_at is None
    (again,) = repository.apply("staging")
    assert (again["change"]["kind"], again["done"]) == ("nothing", "")
    with repository.staged.opened("staging") as app, app.backends.database.read() as conn:
        assert current(conn, "plant").published_at is not None


def test_the_settings_of_a_named_folder_hold_here_and_in_an_environment(repository: Repository):
    project = repository.folder / "flyball.toml"
    (repository.folder / "models" / "plant").mkdir(parents=True)
    own = repository.folder / "models" / "plant" / "flyball.toml"
    own.write_text(project.read_text().replace('window = "1h"', 'window = "3h"'))
    project.write_text(project.read_text().replace('"plant"', '"another"', 1))
    more = 'project = "models/plant"\n'
    texts = {
        "here": deployment(None, repository.second, more),
        "staging": deployment("staging", repository.second, more),
    }
    repository.commit("with a folder", **texts)
    changed, first = repository.apply("here", "staging")
    assert changed["done"] == "settings changed: monitor.window, rollout.strategy"
    assert first["change"]["kind"] == "first"
    assert repository.kinds("here", "staging") == ["nothing", "nothing"]
    with repository.staged.opened("staging") as app, app.backends.database.read() as conn:
        deployed = current(conn, "plant")
    assert deployed is not None and deployed.project["monitor"]["window"] == "3h"
    # Where no folder is named, the only project of that model in the repository counts, from wherever one plans.
    repository.commit("without", staging=deployment("staging", repository.second))
    assert repository.kinds("staging") == ["nothing"]
    project.unlink()
    assert repository.kinds("staging") == ["nothing"]
    (repository.folder / "other").mkdir()
    (repository.folder / "other" / "flyball.toml").write_text(own.read_text())
    said = repository.staged.say("plan", "deployments/staging.toml", code=2)
    assert "several project files are about plant (models/plant/flyball.toml, other/flyball.toml)" in said.err
    assert "deployments/staging.toml:2: " in said.err and 'plant by project = "…"' in said.err
    for file in (own, repository.folder / "other" / "flyball.toml"):
        file.write_text(file.read_text().replace('"plant"', '"another"', 1))
    said = repository.staged.say("plan", "deployments/staging.toml", code=2)
    assert "no flyball.toml here, or of this repository, says where environments are" in said.err
    project.write_text(own.read_text())
    said = repository.staged.say("plan", "deployments/staging.toml", code=2)
    assert "is the project of another" in said.err


def test_a_job_that_does_not_know_where_an_environment_is_says_so_and_makes_none(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
):
    repository.commit(
        "the first",
        staging=deployment("staging", repository.first),
        production=deployment("production", "champion of staging"),
    )
    monkeypatch.setenv("CI", "true")
    (planned,) = repository.plan("staging")
    because = "this job does not know where staging is: FLYBALL_STAGING_DATABASE is not set"
    assert (planned["change"]["kind"], planned["change"]["because"]) == ("blocked", because)
    (done,) = repository.apply("staging", code=1)
    assert done["error"] == because and not repository.staged.path_of("staging").exists()
    home = repository.folder.parent / "kept"
    monkeypatch.setenv("FLYBALL_STAGING_HOME", str(home))
    assert repository.kinds("staging") == ["first"]
    repository.apply("staging")
    assert (home / "flyball.db").exists() and repository.kinds("staging") == ["nothing"]
    (planned,) = repository.plan("production")
    assert "FLYBALL_PRODUCTION_DATABASE is not set" in planned["change"]["because"]


def test_a_commit_that_goes_back_ends_the_rollout_that_the_one_before_began(repository: Repository):
    repository.two_steps()
    status = ("rollout", "status", "plant", "--env", "staging")
    assert repository.staged.json(*status)["state"] == "running"
    repository.git("revert", "--no-edit", "HEAD")
    (ended,) = repository.apply("staging")
    assert ended["change"]["kind"] == "end"
    assert repository.staged.json(*status)["state"] == "aborted"
    repository.git("revert", "--no-edit", "HEAD")
    (again,) = repository.apply("staging")
    assert again["change"]["kind"] == "deploy", "an apply's own word is not a person's"


def test_what_is_not_known_or_not_allowed_is_blocked_and_the_others_go_on(repository: Repository):
    staged = repository.staged
    repository.commit(
        "both",
        staging=deployment("staging", repository.second),
        production=deployment("production", repository.first),
        here=deployment(None, "sha256:" + "0" * 12),
    )
    outcomes = repository.apply("here", "staging", "production", code=1)
    told = {one["planned"]["environment"]: one for one in outcomes}
    assert "no version of plant with the digest sha256:000000000000" in told[None]["change"]["because"]
    assert told["staging"]["change"]["kind"] == "first"
    assert "takes what is champion in staging, and no version" in told["production"]["change"]["because"]
    assert repository.serving("staging") == repository.second
    damaged = staged.path_of("staging") / "objects"
    assert damaged.exists() and not staged.path_of("production").exists()


def test_what_an_environment_does_not_take_is_told_by_the_plan_and_exits_as_evidence_says(
    repository: Repository,
):
    project = repository.folder / "flyball.toml"
    plain = project.read_text()
    repository.commit("the first", staging=deployment("staging", repository.first))
    for rule, code, words in (
        ('metric = "mae"\nmax = 0.001', 1, "fails what staging asks for"),
        ('metric = "mae"\nmax = 100.0\nconfidence = 0.9', 4, "leaves undecided what staging asks for"),
    ):
        project.write_text(f"{plain}\n[[environments.staging.gates]]\n{rule}\n")
        (planned,) = repository.plan("staging")
        assert (planned["change"]["kind"], words in planned["change"]["because"]) == ("blocked", True)
        repository.apply("staging", code=code)
    project.write_text(plain)
    repository.apply("staging")
    repository.commit("on", staging=deployment("staging", repository.second))
    repository.apply("staging")
    repository.commit("the old one", production=deployment("production", repository.first))
    (planned,) = repository.plan("production")
    assert "production takes only what is champion in staging" in planned["change"]["because"]
    repository.apply("production", code=1)
    with repository.staged.opened("staging") as app:
        assert [found.number for found in app.list_versions("plant")] == [2, 1]
    assert not repository.staged.path_of("production").exists()


@pytest.mark.parametrize("store", ["sqlite", pytest.param("postgres", marks=pytest.mark.long)])
def test_two_applies_at_once_do_it_once(
    repository: Repository, store: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
):
    from flyball.app import open_app

    if store == "postgres":
        monkeypatch.setenv("FLYBALL_STAGING_DATABASE", request.getfixturevalue("postgres_url"))
    path = repository.folder / "deployments" / "staging.toml"
    repository.commit("the second", staging=deployment("staging", repository.second))
    repository.apply("staging")
    repository.commit("the first", staging=deployment("staging", repository.first))
    both_planned = threading.Barrier(2, timeout=30)
    found: list[Any] = []

    def apply() -> None:
        with open_app(repository.folder) as app:
            found.append(app.apply([path], on_plan=lambda _plan: both_planned.wait()))

    threads = [threading.Thread(target=apply) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    outcomes = [one.outcomes[0] for one in found]
    told = sorted((one.change.kind, one.unlike_plan, one.error) for one in outcomes)
    assert told == [("deploy", False, None), ("nothing", True, None)]
    assert [one.exit_code for one in found] == [0, 0]
    there = repository.staged.json("history", "plant", "--env", "staging")
    assert len([move for move in there if move["name"] == "champion"]) == 2
    assert repository.serving("staging") == repository.first


def test_one_apply_does_what_its_plan_says_however_environments_are_named(repository: Repository):
    project = repository.folder / "flyball.toml"
    sections = '\n[environments.beta]\n[environments.zeta]\nafter = "beta"\n'
    project.write_text(project.read_text() + sections + AT_ONCE.format("beta") + AT_ONCE.format("zeta"))
    texts = {
        "beta": deployment("beta", repository.first),
        "zeta": deployment("zeta", "champion of beta"),
    }
    repository.commit("the first", **texts)
    for names in (("beta", "zeta"), ("zeta", "beta")):
        assert repository.kinds(*names) == ["first", "blocked"]
    outcomes = repository.apply("beta", "zeta", code=1)
    assert [(one["change"]["kind"], one["unlike_plan"]) for one in outcomes] == [
        ("first", False),
        ("blocked", False),
    ]
    repository.commit("the second", beta=deployment("beta", repository.second))
    repository.apply("beta", "zeta")
    assert (repository.serving("beta"), repository.serving("zeta")) == (repository.second, repository.first)
    repository.apply("beta", "zeta")
    assert repository.serving("zeta") == repository.second


def test_a_home_that_is_away_holds_up_no_other(repository: Repository, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLYBALL_STAGING_DATABASE", "postgresql://nobody:secret@127.0.0.1:1/none")
    texts = {
        "here": deployment(None, repository.first),
        "staging": deployment("staging", repository.first),
        "production": deployment("production", "champion of staging"),
    }
    repository.commit("all", **texts)
    outcomes = repository.apply("here", "staging", "production", code=1)
    told = {one["planned"]["environment"]: one for one in outcomes}
    assert told[None]["change"]["kind"] == "roll back"
    for name in ("staging", "production"):
        assert told[name]["code"] in ("database_unavailable", "unavailable")
        assert "environment staging:" in told[name]["error"] and "secret" not in told[name]["error"]


def test_waiting_follows_what_evidence_decides_and_ends_when_it_has(repository: Repository):
    repository.two_steps()

    def promote() -> None:
        with repository.staged.opened("staging") as app:
            app.decide_rollout("plant", "promote", why="seen enough", actor=GRACE)

    later = threading.Timer(1.0, promote)
    later.start()
    said = repository.staged.say("apply", "deployments/staging.toml", "--wait")
    later.join()
    assert "its rollout (canary) is at step 1; it goes on while `flyball up` runs there" in said.err
    assert repository.kinds("staging") == ["nothing"]


def test_a_check_of_strangers_applies_nothing_and_a_control_planes_address_is_no_home(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
):
    staged = repository.staged
    repository.commit("the first", staging=deployment("staging", repository.first))
    monkeypatch.setenv("FLYBALL_CACHE", "read")
    said = staged.say("apply", "deployments/staging.toml", code=1)
    assert "FLYBALL_CACHE=read" in said.err and not staged.path_of("staging").exists()
    monkeypatch.delenv("FLYBALL_CACHE")
    monkeypatch.setenv("FLYBALL_STAGING_URL", "http://127.0.0.1:1")
    said = staged.say("plan", "deployments/staging.toml", code=2)
    assert "staging is the control plane at http://127.0.0.1:1" in said.err
    monkeypatch.setenv("FLYBALL_URL", "http://127.0.0.1:1")
    assert "this is done in place" in staged.say("plan", "deployments/staging.toml", code=2).err


@pytest.mark.parametrize("point", ["before", "after"])
def test_an_apply_killed_in_the_middle_is_finished_by_its_repeat(repository: Repository, point: str):
    """Killed in the transaction, nothing of it is kept; killed behind it, the change stands with its mark."""
    import os
    import sys

    place = "marks, 'record'" if point == "before" else "applying, 'publish_now'"
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from flyball.app import open_app\n"
        "from flyball.operations.planning import applying, marks\n"
        "die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"setattr({place}, die)\n"
        "with open_app(Path.cwd()) as app:\n"
        "    app.apply([Path('deployments/here.toml')])\n"
    )
    repository.commit("here", here=deployment(None, repository.first))
    before = repository.staged.json("audit", "log")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=repository.folder,
        env={**os.environ, "PYTHONPATH": str(Path(applying.__file__).parents[3])},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == -9, done.stderr
    after = repository.staged.json("audit", "log")
    assert (after == before) == (point == "before")
    assert repository.kinds("here") == (["roll back"] if point == "before" else ["nothing"])
    (again,) = repository.apply("here")
    assert again["change"]["kind"] == ("roll back" if point == "before" else "nothing")
    repository.commit("on", here=deployment(None, repository.second))
    assert repository.kinds("here") == ["deploy"], (
        "what the killed apply did is not taken for a person's word"
    )
    assert repository.staged.json("audit", "verify")["ok"]


def test_files_that_can_not_be_used_change_nothing(repository: Repository):
    staged = repository.staged
    before = staged.json("audit", "log")
    repository.commit("bad", here='[deployments.plant]\nversion = 2\n[roles]\nada = "approver"\n')
    said = staged.say("apply", "deployments/here.toml", code=2)
    assert "deployments/here.toml:2: deployments.plant.version is 2, a number" in said.err
    assert "deployments/here.toml:3: roles is not known here" in said.err
    repository.commit("nowhere", here=deployment("prodution", repository.first))
    said = staged.say("plan", "deployments/here.toml", code=2)
    assert "did you mean production" in said.err
    (repository.folder / "other").mkdir()
    own = (repository.folder / "flyball.toml").read_text()
    (repository.folder / "other" / "flyball.toml").write_text(own.replace('"plant"', '"other"', 1))
    repository.commit("another's", here=deployment(None, repository.first, 'project = "other"\n'))
    said = staged.say("apply", "deployments/here.toml", code=2)
    assert "deployments/here.toml:1: other/flyball.toml is the project of other" in said.err
    assert staged.json("audit", "log") == before
