"""Four eyes: a rollout that asks for an approval waits for a person who is not the author."""

from __future__ import annotations

import pytest

from flyball.app import open_app
from flyball.core.errors import OwnApproval
from flyball.core.values import Actor
from flyball.delivery import candidates

GRACE = Actor("grace", "person", "local:4711")


def test_a_candidate_waits_for_another_persons_approval(whole, monkeypatch):
    whole.flyball("run")
    whole.flyball("deploy", "plant", "--why", "first version")
    project = whole.folder / "flyball.toml"
    project.write_text(project.read_text() + '[rollout]\napprovals = 1\nstrategy = "canary"\n')
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
    whole.flyball("run")
    whole.flyball("deploy", "plant", "--why", "first version")
    project = whole.folder / "flyball.toml"
    project.write_text(project.read_text() + "[rollout]\napprovals = 1\n")
    whole.flyball("run", "--set", "train.params.trees=12")
    whole.flyball("deploy", "plant@2", "--why", "more trees")
    whole.flyball("reject", "plant@2", "--why", "wrong unit")
    monkeypatch.setenv("FLYBALL_HOME", str(whole.home))
    with open_app(whole.folder) as app:
        candidates.consume(app.backends.database, app.backends.blobs, app.backends.clock)
    status = whole.json("rollout", "status", "plant")
    assert status["state"] == "aborted"
    assert "wrong unit" in status["because"]


def test_a_rejection_is_about_one_version_holds_and_can_be_taken_back(whole):
    whole.flyball("run")
    whole.flyball("deploy", "plant", "--why", "first version")
    same = whole.json("run", "--set", "train.params.treees=12")
    assert (same["version"], same["digest"]) == (2, whole.json("show", "plant@1")["version"]["digest"])
    assert "differs from that of plant@1 in treees" in same["warnings"][-1]
    whole.flyball("reject", "plant@2", "--why", "a typo in a parameter")

    listed = {found["number"]: found["rejection"] for found in whole.json("versions", "plant")}
    assert listed[1] is None and "a typo in a parameter" in listed[2]
    assert "rejected" in whole.flyball("versions", "plant")
    assert [step for step in whole.json("lineage", "plant@1") if step["what"] == "approval"] == []
    assert whole.json("show", "plant@2")["rejection"] == listed[2]
    code, _, told = whole.command("deploy", "plant@2", "--why", "never mind")
    assert code == 1 and "a typo in a parameter" in told and "flyball approve plant@2" in told

    assert whole.json("approve", "plant@2", "--why", "harmless")["answer"] == "withdrawn"
    assert whole.json("versions", "plant")[0]["rejection"] is None
    whole.flyball("deploy", "plant@2", "--why", "a trial")
    whole.flyball("rollout", "promote", "plant", "--why", "it looks right")
    (proof,) = [e for e in whole.json("show", "plant@2")["evidence"] if e["kind"] == "rollout"]
    assert "it looks right" in proof["facts"]["because"] and proof["facts"]["verdict"] == "promoted"
