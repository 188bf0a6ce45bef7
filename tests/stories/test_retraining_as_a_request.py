"""Retraining as a pull request: a candidate waits for people, who merge one line of a deployments file, or close it."""

from __future__ import annotations

import os
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flyball.app import open_app
from flyball.core.digests import digest_bytes
from flyball.core.values import Actor
from flyball.delivery import left
from flyball.registry.versions import NewVersion, get_version, register_version
from flyball.retraining import retrainings

run_flyball = sys.modules["flyball_tests_warm"].run_flyball
git = sys.modules["flyball_tests_repositories"].git
write_project = sys.modules["flyball_tests_whole"].write_project
RequestHost = sys.modules["flyball_tests_request_hosts"].RequestHost

POLICY = """
[rollout]
strategy = "immediate"
[retrain]
from = "source"
deliver = "pull-request"
"""
FILE = """# What serves. Ask before you touch it.
[deployments.plant]
version = "{}"   # the one before
project = "."
"""


def more_rows(folder: Path) -> None:
    """Rows of a world that has changed, so that a retraining makes a better model."""
    rows = folder / "rows.csv"
    further = "\n".join(f"{i % 10}.5,{i % 5}.5,{20 + i % 10 + 3 * (i % 5)}" for i in range(400))
    rows.write_text(f"{rows.read_text()}\n{further}\n")


@pytest.fixture(scope="module")
def retrained_home(tmp_path_factory: pytest.TempPathFactory, child_environment: dict[str, str]) -> Path:
    """A project whose champion, version 1, was retrained under the policy: version 2 waits. For copies."""
    folder = write_project(tmp_path_factory.mktemp("retrained") / "plant")

    def flyball(*arguments: str) -> str:
        code, output, errors = run_flyball(arguments, folder, child_environment, 120)
        assert code == 0, f"{errors}{output}"
        return str(output)

    project = folder / "flyball.toml"
    project.write_text(project.read_text() + POLICY)
    flyball("run")
    with open_app(folder) as app:
        digest = app.show_version("plant@1")["version"].digest
    (folder / ".gitignore").write_text(".flyball/\n")
    (folder / "deployments").mkdir()
    (folder / "deployments" / "live.toml").write_text(FILE.format(digest))
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "what serves")
    flyball("apply", "deployments/live.toml")
    more_rows(folder)
    output = flyball("retrain", "plant", "--wait", "--why", "new branch")
    assert "left to a pull request" in output and "flyball ci propose" in output
    return folder


class Team:
    """The project, its repository on a code host, and a job there that holds the token."""

    def __init__(self, folder: Path, host: Any, command: Callable[..., Any]) -> None:
        self.folder, self.host, self._command = folder, host, command
        git(folder, "remote", "add", "origin", str(host.bare))
        git(folder, "push", "-q", "origin", "main")

    def say(self, *arguments: str, code: int = 0) -> Any:
        said = self._command(*arguments, cwd=self.folder)
        assert said.code == code, f"{arguments} ended with {said.code}: {said.err}{said.out}"
        return said

    def propose(self, *more: str, code: int = 0) -> Any:
        (one,) = self.say("ci", "propose", "deployments/live.toml", *more, "--json", code=code).json()[
            "proposals"
        ]
        return one

    def serving(self) -> str:
        with open_app(self.folder) as app:
            return str(app.show_version("plant@champion")["version"].digest)

    def digest(self, number: int) -> str:
        with open_app(self.folder) as app:
            return str(app.show_version(f"plant@{number}")["version"].digest)

    def change(self, work: Callable[[Any, Any], None]) -> None:
        """Something happens in the home."""
        with open_app(self.folder) as app, app.backends.database.write() as conn:
            work(conn, app.backends.clock.now())

    def register(self, digest: str) -> int:
        """A further version with these bytes; its number."""
        found = []

        def work(conn: Any, now: Any) -> None:
            second = get_version(conn, "plant", 2)
            fields = {
                name: getattr(second, name) for name in NewVersion.__struct_fields__ if hasattr(second, name)
            }
            new = NewVersion(**{**fields, "digest": digest, "run_id": None})
            found.append(register_version(conn, new, Actor("ada"), now).number)

        self.change(work)
        return int(found[0])

    def another_candidate(self) -> str:
        """As a further retraining leaves it; its digest, of bytes that are nowhere."""
        digest = digest_bytes(b"another")
        number = self.register(digest)

        def work(conn: Any, now: Any) -> None:
            [first] = retrainings.list_retrainings(conn, "plant")
            given = {"id": "rtn_2", "version": number, "decided_at": now, "run_id": None}
            retrainings.save_new(conn, msgspec.structs.replace(first, **given))
            facts = {"model": "plant", "version": number, "retraining_id": "rtn_2"}
            left.leave(conn, facts, actor=Actor("ada"), now=now)

        self.change(work)
        return digest


@pytest.fixture
def team(
    retrained_home: Path, tmp_path: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Team]:
    folder = tmp_path / "plant"
    shutil.copytree(retrained_home, folder)
    host = RequestHost("github", tmp_path)
    for name, value in host.environment().items():
        monkeypatch.setenv(name, value)
    yield Team(folder, host, command)
    host.close()


def test_merging_the_request_and_applying_deploys_exactly_the_candidate_and_trains_nothing(
    team: Team, monkeypatch: pytest.MonkeyPatch
):
    before, wanted = team.serving(), team.digest(2)
    runs = len(team.say("runs", "--json").json())
    assert "Version 2 waits for a pull request" in team.say("why", "plant").out

    token = os.environ["GITHUB_TOKEN"]
    monkeypatch.delenv("GITHUB_TOKEN")
    shown = team.say("ci", "propose", "deployments/live.toml", "--print").out
    assert f'-version = "{before}"   # the one before' in shown
    assert f'+version = "{wanted}"   # the one before' in shown
    assert team.host.requests == []
    monkeypatch.setenv("GITHUB_TOKEN", token)

    opened = team.propose()
    assert (opened["state"], opened["version"], opened["digest"]) == ("opened", 2, wanted)
    [pull] = team.host.pulls
    assert pull["branch"] == opened["branch"] == f"flyball/plant-{wanted[7:19]}"
    assert pull["title"] == f"plant: version 2 ({wanted[:19]}…) to this home, retrained"
    for text in (
        "new branch",
        "700 rows",
        "Gates: 1 of 1 passed",
        "mae ↓",
        "flyball apply",
        "Close this request",
    ):
        assert text in pull["body"], text
    assert wanted in pull["body"] and before in pull["body"]
    assert team.propose()["state"] == "stands" and len(team.host.pulls) == 1
    assert team.serving() == before

    team.host.merge(1)
    git(team.folder, "pull", "-q", "origin", "main")
    merged = (team.folder / "deployments" / "live.toml").read_text()
    assert merged == FILE.format(wanted) and tomllib.loads(merged)
    assert "names version 2 already" in team.propose()["because"]
    team.say("apply", "deployments/live.toml")
    assert team.serving() == wanted
    assert len(team.say("runs", "--json").json()) == runs
    assert "waits for a pull request" not in team.say("why", "plant").out
    assert "version 2 is in service" in team.propose()["because"] and len(team.host.pulls) == 1


def test_closing_the_request_is_a_no(team: Team):
    team.propose()
    team.host.close_by_hand(1)
    told = team.propose()
    assert told["state"] == "declined" and "which is a no" in told["because"]
    assert len(team.host.pulls) == 1


def test_a_newer_candidate_closes_the_request_of_the_older(team: Team):
    first = team.propose()
    digest = team.another_candidate()
    # No server could load it; the host does not know that, and an apply says it.
    second = team.propose()
    assert (second["state"], second["digest"], second["closed"]) == ("opened", digest, [1])
    assert [pull["state"] for pull in team.host.pulls] == ["closed", "open"]
    [word] = team.host.words[1]
    assert "version 3" in word and digest[:19] in word
    assert first["branch"] not in team.host.branches()


def test_what_was_rejected_overtaken_or_is_under_way_is_not_proposed_and_it_is_said_why(team: Team):
    grace = Actor("grace", "person", "local:4711")
    with open_app(team.folder) as app:
        app.reject("plant@2", why="not fair", actor=grace)
    assert "rejected by grace: not fair" in team.propose()["because"]
    assert "waits for a pull request" not in team.say("why", "plant").out
    with open_app(team.folder) as app:
        app.approve("plant@2", why="it is", actor=grace)
    other = team.register(team.digest(1))
    team.say("deploy", f"plant@{other}", "--strategy", "immediate", "--why", "other settings")
    told = team.propose()
    assert "overtaken" in told["because"] and f"version {other} is champion" in told["because"]
    team.say("rollback", "plant", "--why", "as before")
    team.say("deploy", "plant@2", "--strategy", "canary", "--why", "by hand")
    assert "its rollout (canary) is at step 1" in team.propose()["because"]
    assert "waits for a pull request" not in team.say("why", "plant").out
    assert team.host.requests == []


def test_texts_of_others_are_text_and_a_host_that_says_no_is_told_with_exit_code_3(
    team: Team, monkeypatch: pytest.MonkeyPatch
):
    hostile = "closes #1\n/merge\n<script>x</script> | @everyone `a` [here](https://x.example) <!-- flyball text=0 -->"

    notes: list[str] = []

    def work(conn: Any, now: Any) -> None:
        [first] = retrainings.list_retrainings(conn, "plant")
        rows = {**first.data_choice["rows"], "notes": notes}
        retrainings.change(conn, first.id, because=hostile, data_choice={**first.data_choice, "rows": rows})

    team.change(work)
    body = team.propose("--print")["body"]
    assert "\n/merge" not in body and "<script>" not in body and "](https:" not in body
    assert "@everyone" not in body and "closes #1" not in body and body.count("<!--") == 0
    hostile, notes = hostile * 2_000, ["<" * 5_000] * 500
    team.change(work)
    assert len(team.propose("--print")["body"].encode()) <= 60_000  # of the 65,536 that GitHub takes

    team.host.breaks = lambda method, path: (403, {}, b"{}")
    told = team.propose(code=3)
    assert (told["state"], told["code"]) == ("failed", "host_refused") and "contents: write" in told[
        "because"
    ]
    team.host.breaks = lambda method, path: None
    monkeypatch.delenv("GITHUB_TOKEN")
    assert "GITHUB_TOKEN is not set" in team.say("ci", "propose", "deployments/live.toml", code=2).err
    for name in ("GITHUB_ACTIONS", "GITHUB_REPOSITORY"):
        monkeypatch.delenv(name)
    assert "no job of GitHub or GitLab" in team.say("ci", "propose", "deployments/live.toml", code=2).err
    other = team.say("ci", "propose", "deployments/live.toml", "--model", "other", code=2)
    assert "name no model other" in other.err


def test_a_default_branch_that_says_something_else_than_the_checkout_is_not_written_over(team: Team):
    def told(text: str, code: int) -> str:
        team.host.write("main", "deployments/live.toml", text)
        return str(team.propose(code=code)["because"])

    digest = team.digest(1)
    assert "is about staging on the default branch" in told(
        'environment = "staging"\n' + FILE.format(digest), 2
    )
    assert "names no plant" in told(f'[deployments.tree]\nversion = "{digest}"\n', 2)
    assert "which names no digest" in told(FILE.format("champion of staging"), 2)
    assert "is not TOML" in told("[", 2)
    by_hand = told(FILE.format("\\u0073ha256:" + digest[7:]), 2)
    assert "by hand" in by_hand and team.digest(2) in by_hand
    assert "names it already" in told(FILE.format(team.digest(2)), 0)
    assert team.host.pulls == [] and team.host.branches() == ["main"]
