"""Four eyes: a rollout that asks for an approval waits for a person who is not the author."""

from __future__ import annotations

import pytest

from flyball.app import open_app
from flyball.core.errors import OwnApproval
from flyball.core.values import Actor
from flyball.delivery import candidates

GRACE = Actor("grace", "person", "local:4711")


def test_a_candidate_waits_for_another_persons_approval(whole, monkeypatch):
    project = whole.folder / "flyball.toml"
    project.write_text(project.read_text() + '[rollout]\napprovals = 1\nstrategy = "canary"\n')
    whole.flyball("run")
    whole.flyball("deploy", "plant", "--why", "first version")
    assert whole.json("run", "--set", "train.params.trees=12")["version"] == 2
    whole.flyball("deploy", "plant@2", "--why", "more trees")
    assert whole.json("rollout", "status", "plant")["state"] == "waiting"

    own = whole.flyball("approve", "plant@2", "--why", "mine is fine", allow=(1,))
    assert own == ""
    monkeypatch.setenv("FLYBALL_HOME", str(whole.home))
    with open_app(whole.folder) as app:
        with pytest.raises(OwnApproval):
            app.approve("plant@2", why="still mine")
        app.approve("plant@2", why="looked at the slices", actor=GRACE)
        candidates.consume(app.backends.database, app.backends.blobs, app.backends.clock)
    assert whole.json("rollout", "status", "plant")["state"] == "running"
    steps = whole.json("lineage", "plant@2")
    assert any("grace" in step["name"] for step in steps if step["what"] == "approval")


def test_a_rejected_candidate_never_rolls_out(whole, monkeypatch):
    project = whole.folder / "flyball.toml"
    project.write_text(project.read_text() + "[rollout]\napprovals = 1\n")
    whole.flyball("run")
    whole.flyball("deploy", "plant", "--why", "first version")
    whole.flyball("run", "--set", "train.params.trees=12")
    whole.flyball("deploy", "plant@2", "--why", "more trees")
    whole.flyball("reject", "plant@2", "--why", "wrong unit")
    monkeypatch.setenv("FLYBALL_HOME", str(whole.home))
    with open_app(whole.folder) as app:
        candidates.consume(app.backends.database, app.backends.blobs, app.backends.clock)
    status = whole.json("rollout", "status", "plant")
    assert status["state"] == "aborted"
    assert "wrong unit" in status["because"]
