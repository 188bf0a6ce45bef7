"""Candidates that `[retrain] deliver = "pull-request"` leaves to a pull request."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from flyball_tests_loop import a_retraining

from flyball.core.clock import FixedClock, isoformat
from flyball.core.values import Actor
from flyball.delivery import candidates
from flyball.delivery.left import VERDICT, find_left
from flyball.delivery.rollouts import find_unfinished, list_rollouts
from flyball.governance.journal import Change, record
from flyball.monitoring.incidents import list_entries
from flyball.registry.evidence import list_evidence
from flyball.retraining import retrainings
from flyball.retraining.triggers import end

MODEL = "bikes"
DECIDED = datetime(2012, 3, 9, tzinfo=UTC)


def finish(home: Any, number: int, incident: str | None) -> None:
    """A retraining of the champion ends with a version that passed its gates, and its news are acted on."""
    become_ready(home, number, incident)
    assert consume(home) == 1


def become_ready(home: Any, number: int, incident: str | None) -> None:
    retraining = a_retraining(
        DECIDED, id=f"rtn_{number}", incident_id=incident, rollout_id=f"rol_{number}", created_at=home.now
    )
    with home.database.write() as conn:
        retrainings.save_new(conn, retraining)
        end(conn, retraining, "ready", f"version {number} passed its gates", home.now, version=number)


def consume(home: Any) -> int:
    return candidates.consume(home.database, home.blobs, FixedClock(home.now))


def test_under_the_policy_in_force_a_candidate_begins_no_rollout_and_the_incident_says_which_command_does(
    loop_home: Any, loop_project: Any
):
    loop_home.deploy(loop_home.register(loop_project(retrain={"deliver": "pull-request", "approvals": 2})))
    incident = loop_home.open_change(DECIDED)
    finish(loop_home, loop_home.register(), incident)
    with loop_home.database.read() as conn:
        assert list_rollouts(conn, MODEL) == []
        [told] = [entry.text for entry in list_entries(conn, incident) if "pull request" in entry.text]
        left = find_left(conn, MODEL, 2)
        assert left is not None
    assert told.startswith("version 2 waits for a pull request") and "`flyball ci propose FILE…`" in told
    assert (left["incident_id"], left["approvals"], left["retraining_id"]) == (incident, 2, "rtn_2")


def test_the_settings_with_the_champion_decide_and_not_those_of_the_candidate(
    quick_loop_home: Any, loop_project: Any
):
    home = quick_loop_home
    home.deploy(home.register())
    finish(home, home.register(loop_project(retrain={"deliver": "pull-request"})), None)
    with home.database.read() as conn:
        assert [rollout.state for rollout in list_rollouts(conn, MODEL)] == ["running"]
        assert find_left(conn, MODEL, 2) is None


def test_the_same_news_twice_are_kept_once(quick_loop_home: Any, loop_project: Any):
    home = quick_loop_home
    home.deploy(home.register(loop_project(retrain={"deliver": "pull-request"})))
    incident = home.open_change(DECIDED)
    finish(home, home.register(), incident)
    with home.database.write() as conn:
        facts = {
            "model": MODEL,
            "version": 2,
            "retraining_id": "rtn_2",
            "decided_at": isoformat(DECIDED),
            "deliver": "pull-request",
        }
        event = "candidate.ready"
        change = Change(actor=Actor("p", "automation"), action=event, subject="x", facts=facts, event=event)
        record(conn, change, home.now)
    assert consume(home) == 1
    with home.database.read() as conn:
        assert [fact.facts["verdict"] for fact in list_evidence(conn, MODEL, 2, "rollout")] == [VERDICT]


@pytest.mark.parametrize("asked", [0, 2])
def test_its_deployment_by_hand_goes_on_with_the_incident_and_the_approvals_that_were_asked_for(
    quick_loop_home: Any, loop_project: Any, asked: int
):
    home = quick_loop_home
    home.deploy(home.register(loop_project(retrain={"deliver": "pull-request", "approvals": asked})))
    incident = home.open_change(DECIDED)
    finish(home, home.register(), incident)
    started = home.deploy(2)
    assert started.waiting_for == asked
    with home.database.read() as conn:
        rollout = find_unfinished(conn, MODEL)
        assert rollout is not None and rollout.incident_id == incident
        texts = [entry.text for entry in list_entries(conn, incident)]
    assert asked or any("rollout of version 2 started" in text for text in texts)


def test_who_deploys_it_before_its_news_were_acted_on_waits_for_the_same_approvals(
    quick_loop_home: Any, loop_project: Any
):
    home = quick_loop_home
    home.deploy(home.register(loop_project(retrain={"deliver": "pull-request", "approvals": 2})))
    incident = home.open_change(DECIDED)
    become_ready(home, home.register(), incident)
    assert home.deploy(2).waiting_for == 2
    with home.database.read() as conn:
        rollout = find_unfinished(conn, MODEL)
    assert rollout is not None and rollout.incident_id == incident
