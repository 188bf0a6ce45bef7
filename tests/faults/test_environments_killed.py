"""A deployment to an environment that is killed half way leaves nothing half there, and a repeat finishes it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from flyball.registry.bundle import check_objects

# Kills itself before the given number of a kind of act: a file of the target getting its name, or a statement there.
DEPLOY = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from sqlalchemy.engine import Engine
from flyball.cli.main import main

kind, left, target = sys.argv[1], int(sys.argv[2]), sys.argv[3]

def act(is_meant):
    global left
    left -= is_meant
    if is_meant and left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

def audited(name, given):
    if kind == "object" and name in ("os.rename", "os.link"):
        act(target + "/objects/" in str(given[1]))

sys.addaudithook(audited)

@event.listens_for(Engine, "before_cursor_execute")
def executed(conn, cursor, statement, *_):
    if kind != "object" and target in str(conn.engine.url):
        act(statement.startswith(kind))

sys.argv = ["flyball", "deploy", "plant@1", "--env", "staging", "--why", "a test"]
main()
"""
SHORT = (
    ("object", 1),
    ("object", 5),
    ("INSERT INTO versions", 1),
    ("INSERT INTO evidence", 2),
    ("INSERT INTO deployments", 1),
)
LONG = (
    *(("object", number) for number in range(1, 13)),
    *(
        (f"INSERT INTO {table}", 1)
        for table in ("models", "versions", "snapshots", "audit_entries", "events")
    ),
    *(("INSERT INTO evidence", number) for number in (1, 2, 3)),
    ("INSERT INTO deployments", 1),
    ("INSERT INTO alias", 1),
    ("UPDATE deployments", 1),
)


def deploy(staged: Any, environment: dict[str, str], kind: str, number: int) -> int:
    """Exit code of a deployment that is killed at a point, if it comes there."""
    target = str(staged.path_of("staging"))
    arguments = [sys.executable, "-c", DEPLOY, kind, str(number), target]
    return subprocess.run(
        arguments, cwd=staged.folder, env=environment, capture_output=True, timeout=60, check=False
    ).returncode


def check_nothing_is_half_there(staged: Any) -> None:
    """Either nobody knows of the version, or all that belongs to it is there."""
    if not (staged.path_of("staging") / "flyball.db").is_file():
        return
    known = staged.json("models", "--env", "staging")
    for version in staged.json("versions", "plant", "--env", "staging") if known else []:
        with staged.opened("staging") as app:
            check_objects(version["digest"], app.backends.blobs)
        shown = staged.json("show", f"plant@{version['number']}", "--env", "staging")
        assert [found["kind"] for found in shown["evidence"]][:2] == ["origin", "evaluation"]
    assert staged.json("audit", "verify", "--env", "staging")["ok"]


def check_finished(staged: Any, tested: str) -> None:
    """A repeat ends with the version in service, once."""
    done = staged.json("deploy", "plant@1", "--env", "staging", "--why", "a test")
    assert (done["state"], done["digest"]) == ("promoted", tested)
    assert [found["number"] for found in staged.json("versions", "plant", "--env", "staging")] == [1]
    assert staged.champion("staging") == 1 and staged.digest("plant@champion", "--env", "staging") == tested
    check_nothing_is_half_there(staged)


def test_a_deployment_killed_again_and_again_gets_further_each_time(staged, child_environment):
    tested = staged.digest("plant@1")
    for kind, number in SHORT:
        assert deploy(staged, {**os.environ, **child_environment}, kind, number) == -signal.SIGKILL, kind
        check_nothing_is_half_there(staged)
    check_finished(staged, tested)


@pytest.mark.long
@pytest.mark.parametrize(("kind", "number"), LONG)
def test_a_deployment_killed_anywhere_is_finished_by_the_next_one(staged, child_environment, kind, number):
    assert deploy(staged, {**os.environ, **child_environment}, kind, number) == -signal.SIGKILL
    check_nothing_is_half_there(staged)
    check_finished(staged, staged.digest("plant@1"))
