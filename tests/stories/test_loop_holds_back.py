"""When the loop must not act: broken data are held and never train, a worse candidate never comes into service."""

from __future__ import annotations

from typing import Any

import polars as pl

from flyball.delivery.rollouts import list_rollouts
from flyball.governance.actors import local_actor
from flyball.governance.verify import verify
from flyball.monitoring.incidents import list_entries, list_incidents
from flyball.monitoring.signals import list_signals
from flyball.monitoring.windows import list_held
from flyball.registry.aliases import find_alias
from flyball.registry.evidence import list_evidence
from flyball.retraining.manual import retrain_now
from flyball.retraining.retrainings import list_retrainings

MODEL = "bike-sharing"


def read(loop: Any, work: Any) -> Any:
    with loop.backends.database.read() as conn:
        return work(conn)


def smaller(text: str) -> str:
    """The example's project with a smaller model, for the sake of time."""
    return text.replace("trees = 120", "trees = 40")


def in_fahrenheit(rows: pl.DataFrame) -> pl.DataFrame:
    """`temp` in degrees Fahrenheit in place of the scaled Celsius that the model knows."""
    return rows.with_columns(temp=((pl.col("temp") * 47 - 8) * 1.8 + 32).round(1))


def test_a_wrong_unit_is_held_nothing_is_trained_and_its_rows_never_train(make_loop, bikes):
    loop = make_loop(smaller)
    loop.train(bikes("2011-09-01", "2012-03-01"))
    loop.replay(bikes("2012-03-01", "2012-03-08"))
    loop.replay(in_fahrenheit(bikes("2012-03-08", "2012-03-15")))
    loop.replay(bikes("2012-03-15", "2012-03-17"))
    (incident,) = [i for i in read(loop, lambda conn: list_incidents(conn, MODEL)) if i.problem == "data"]
    assert (incident.cause, incident.hold, incident.state) == ("broken-data", True, "open")
    assert "temp" in incident.title
    raised = read(loop, lambda conn: list_signals(conn, MODEL, incident_id=incident.id))
    assert any(signal.feature == "temp" and signal.kind == "contract" for signal in raised)
    assert read(loop, lambda conn: list_retrainings(conn, MODEL)) == []
    texts = [entry.text for entry in read(loop, lambda conn: list_entries(conn, incident.id))]
    assert any("hold: nothing is trained" in text for text in texts)
    assert any("no retraining: what comes in is broken" in text for text in texts)

    loop.replay(bikes("2012-03-17", "2012-03-24"))
    (incident,) = [i for i in read(loop, lambda conn: list_incidents(conn, MODEL)) if i.problem == "data"]
    assert (incident.state, incident.hold) == ("resolved", False)
    assert len(read(loop, lambda conn: list_held(conn, MODEL))) == 1

    now = loop.backends.clock.now()
    with loop.backends.database.write() as conn:
        moment = bikes("2012-03-23", "2012-03-24")["ts"].max()
        retrain_now(conn, MODEL, actor=local_actor(), why="to see", now=now, model_time=moment)
    loop.turn(moment)
    (retraining,) = read(loop, lambda conn: list_retrainings(conn, MODEL))
    rows = retraining.data_choice["rows"]
    assert rows["held_rows"] > 160
    assert any("broken data" in note for note in rows["notes"])
    assert retraining.state in ("ready", "refused")
    assert read(loop, verify).ok


def test_a_worse_candidate_is_aborted_by_its_shadow_and_the_champion_stays(make_loop, bikes):
    from flyball.delivery.start import deploy
    from flyball.pipelines.project_file import read_project
    from flyball.pipelines.request import RunRequest
    from flyball.pipelines.run import follow_run, start_run
    from flyball.registry.routes import publish_wanted

    loop = make_loop(smaller)
    winter = bikes("2011-09-01", "2012-03-01")
    loop.train(winter)
    project = read_project(loop.folder, flags={"train.params.trees": "4"}).project
    request = RunRequest(
        model=MODEL,
        project=ungated(project),
        folder=str(loop.folder),
        actor=local_actor(),
        why="a worse one",
    )
    result = follow_run(loop.workshop, start_run(loop.engine, loop.workshop, request))
    assert result.state == "registered", result
    loop.replay(bikes("2012-03-01", "2012-03-02"))
    now = loop.backends.clock.now()
    with loop.backends.database.write() as conn:
        deploy(
            conn,
            MODEL,
            result.version,
            actor=local_actor(),
            why="try it",
            now=now,
            model_time=bikes("2012-03-01", "2012-03-02")["ts"].max(),
        )
    publish_wanted(loop.backends.database, loop.backends.blobs, now)
    loop.replay(bikes("2012-03-02", "2012-03-25"))
    (rollout,) = read(loop, lambda conn: list_rollouts(conn, MODEL))
    assert rollout.state == "aborted"
    assert "harm shown" in rollout.because
    assert read(loop, lambda conn: find_alias(conn, MODEL, "champion")).number == 1
    facts = read(loop, lambda conn: list_evidence(conn, MODEL, 2, kind="rollout"))[-1].facts
    assert facts["verdict"] == "aborted"
    assert {version for _, _, _, version in loop.served} == {1}


def ungated(project: Any) -> Any:
    import msgspec

    return msgspec.structs.replace(project, gates=[])
