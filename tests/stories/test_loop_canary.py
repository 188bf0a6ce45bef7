"""A canary gets its share step by step, and goes at once when its breaker trips."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from flyball.core.clock import isoformat
from flyball.delivery.look import look
from flyball.delivery.rollouts import find_running, get_rollout
from flyball.delivery.start import deploy
from flyball.governance.actors import local_actor
from flyball.registry.evidence import list_evidence
from flyball.registry.routes import current, publish_wanted

MODEL = "bike-sharing"
CANARY = """
[rollout]
strategy = "canary"
steps = [0.25, 0.5, 1.0]
min_requests = 10
bake = "0s"
max_duration = "60d"
[[rollout.guards]]
metric = "error_rate"
max_increase = 0.3
"""


def as_canary(text: str) -> str:
    begin, end = text.index("[rollout]"), text.index("[monitor]")
    return (text[:begin] + CANARY + text[end:]).replace("trees = 120", "trees = 20")


@pytest.fixture
def loop(make_loop, bikes) -> Any:
    """A champion and an equal candidate as a canary at its first step."""
    from flyball.pipelines.project_file import read_project
    from flyball.pipelines.request import RunRequest
    from flyball.pipelines.run import follow_run, start_run

    loop = make_loop(as_canary)
    loop.train(bikes("2011-12-01", "2012-03-01"))
    project = read_project(loop.folder, flags={"train.seed": "8"}).project
    request = RunRequest(
        model=MODEL,
        project=msgspec.structs.replace(project, gates=[]),
        folder=str(loop.folder),
        actor=local_actor(),
        why="the same with another seed",
    )
    result = follow_run(loop.workshop, start_run(loop.engine, loop.workshop, request))
    loop.replay(bikes("2012-03-01", "2012-03-02"))
    begin(loop, result.version, bikes("2012-03-01", "2012-03-02")["ts"].max())
    return loop


def begin(loop: Any, version: int, moment: Any) -> None:
    now = loop.backends.clock.now()
    with loop.backends.database.write() as conn:
        started = deploy(conn, MODEL, version, actor=local_actor(), why="try", now=now, model_time=moment)
    publish_wanted(loop.backends.database, loop.backends.blobs, now)
    loop.rollout_id = started.rollout_id


def rollout_of(loop: Any) -> Any:
    with loop.backends.database.read() as conn:
        return get_rollout(conn, loop.rollout_id)


def test_an_equal_canary_advances_by_its_steps_and_is_promoted(loop, bikes):
    loop.replay(bikes("2012-03-02", "2012-04-01"), chunk=timedelta(days=1))
    ended = rollout_of(loop)
    assert [step.share for step in ended.steps] == [0.25, 0.5]
    assert ended.state == "promoted"
    assert "error_rate" in ended.because and ended.evidence["requests"] >= 10
    answered = {
        version for at, _, _, version in loop.served if ended.started_model_at < at < ended.ended_model_at
    }
    assert answered == {1, 2}
    assert loop.served[-1][3] == 2
    with loop.backends.database.read() as conn:
        assert find_running(conn, MODEL) is None
        assert current(conn, MODEL).share == 0.0


def test_a_tripped_breaker_takes_the_candidate_out_at_once_and_is_evidence(loop):
    now = loop.backends.clock.now()
    rollout = rollout_of(loop)
    fault = {
        "reason": "exit: the process ended with code 3",
        "count": 3,
        "tripped": True,
        "kinds": {"exit": 3},
    }

    def publish(fault_at: Any, status_at: Any) -> None:
        status = {
            "format": 1,
            "worker": "w1",
            "pid": 1,
            "host": "h",
            "at": isoformat(status_at),
            "revisions": {},
        }
        status["faults"] = {MODEL: {"2": {**fault, "at": isoformat(fault_at)}}}
        loop.backends.blobs.put_latest("serving/w1.json", msgspec.json.encode(status))

    def look_now() -> Any:
        backends = loop.backends
        moment = rollout.started_model_at + timedelta(hours=1)
        return look(backends.database, backends.blobs, backends.tables_url, rollout.id, moment, now)

    publish(now - timedelta(days=1), now)  # of an earlier rollout of the same version
    look_now()
    publish(now, now - timedelta(minutes=1))  # of a worker that is gone
    look_now()
    assert rollout_of(loop).state == "running"

    publish(now, now)
    applied = look_now()
    assert applied.state == "aborted"
    assert "exit: the process ended with code 3 (3 times)" in applied.because
    with loop.backends.database.read() as conn:
        assert current(conn, MODEL).candidate is None
        facts = list_evidence(conn, MODEL, 2, kind="rollout")[-1].facts
    assert facts["faults"][0]["kinds"] == {"exit": 3}
    assert look_now() is None
