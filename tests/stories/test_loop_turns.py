"""Spring 2012: rentals double, the model trained over the winter decays, and the loop closes by itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from flyball.core.clock import isoformat, parse_moment
from flyball.data.snapshots import read_manifest, read_snapshot
from flyball.delivery.rollouts import list_rollouts
from flyball.governance.events import list_events
from flyball.governance.verify import verify
from flyball.monitoring.incidents import list_entries, list_incidents
from flyball.monitoring.signals import get_signal, list_signals
from flyball.monitoring.windows import list_windows
from flyball.registry.aliases import list_history
from flyball.registry.evidence import list_evidence
from flyball.registry.versions import get_version
from flyball.retraining.retrainings import list_retrainings

MODEL = "bike-sharing"
WINTER = ("2011-09-01", "2012-03-15")
SPRING = ("2012-03-15", "2012-04-28")


def decisions(loop: Any) -> dict[str, Any]:
    """Everything the loop decided, on the model's clock, without ids and wall times."""
    with loop.backends.database.read() as conn:
        return {
            "windows": [
                (isoformat(w.start), w.version, w.row_count, w.labelled_count, w.loss, w.healthy)
                for w in list_windows(conn, MODEL)
            ],
            "signals": sorted(
                (isoformat(s.at), s.kind, s.cause, s.sentence) for s in list_signals(conn, MODEL)
            ),
            "retrainings": [
                (isoformat(r.decided_at), r.state, r.data_choice["choice"]["name"], r.snapshot)
                for r in reversed(list_retrainings(conn, MODEL))
            ],
            "rollouts": [
                (isoformat(r.started_model_at), isoformat(r.ended_model_at), r.state, r.because)
                for r in reversed(list_rollouts(conn, MODEL))
                if r.ended_model_at is not None
            ],
            "bundles": [get_version(conn, MODEL, r.candidate).digest for r in list_rollouts(conn, MODEL)],
        }


def smaller(text: str) -> str:
    """The example's project with a smaller model, for the sake of time."""
    return text.replace("trees = 120", "trees = 40")


@pytest.fixture(scope="module")
def spring(loop_opener, bikes, tmp_path_factory) -> Iterator[Any]:
    """A loop after six weeks of spring, resting at each moment that may decide something only.

    `hasty`: what another one decided before, that folded and looked more often and at other moments.
    """
    with loop_opener(tmp_path_factory.mktemp("hasty"), smaller) as loop:
        loop.train(bikes(*WINTER))
        loop.replay(bikes(*SPRING), chunk=timedelta(hours=31))
        hasty = decisions(loop)
    with loop_opener(tmp_path_factory.mktemp("spring"), smaller) as loop:
        loop.train(bikes(*WINTER))
        loop.replay(bikes(*SPRING))
        loop.hasty = hasty
        yield loop


def read(loop: Any, work: Any) -> Any:
    with loop.backends.database.read() as conn:
        return work(conn)


def test_the_decay_is_confirmed_named_and_answered_by_one_retraining(spring):
    (retraining,) = read(spring, lambda conn: list_retrainings(conn, MODEL, states=("ready",)))
    signal = read(spring, lambda conn: get_signal(conn, retraining.signal_id))
    assert signal.kind == "performance"
    assert signal.confirmed
    assert signal.cause == "concept-drift"
    assert "too low" in signal.sentence
    assert retraining.decided_at == signal.at


def test_the_candidate_is_compared_as_a_shadow_and_promoted_on_its_evidence(spring):
    (rollout,) = read(spring, lambda conn: list_rollouts(conn, MODEL))
    assert (rollout.strategy, rollout.state, rollout.champion, rollout.candidate) == (
        "shadow",
        "promoted",
        1,
        2,
    )
    assert "shown not worse" in rollout.because
    days = (rollout.ended_model_at - rollout.started_model_at) / timedelta(days=1)
    assert 7 < days <= 29
    evidence = read(spring, lambda conn: list_evidence(conn, MODEL, 2, kind="rollout"))
    assert evidence[-1].facts["verdict"] == "promoted"
    assert evidence[-1].facts["guards"][0]["estimate"] < 0


def test_the_incident_ties_it_together_and_ends_with_the_recovered_loss(spring):
    incident = read(spring, lambda conn: list_incidents(conn, MODEL))[-1]
    texts = [entry.text for entry in read(spring, lambda conn: list_entries(conn, incident.id))]
    told = [
        next(index for index, text in enumerate(texts) if words in text)
        for words in (
            "asks for a retraining",
            "retrained: version 2 passed its gates",
            "rollout of version 2 started",
            "rollout of version 2 promoted",
            "the loss recovered",
        )
    ]
    assert told == sorted(told)
    promoted = next(r for r in read(spring, lambda conn: list_rollouts(conn, MODEL)))
    assert incident.state == "resolved"
    assert incident.resolved_at > promoted.ended_model_at


def test_the_served_error_is_better_for_it(spring):
    (rollout,) = read(spring, lambda conn: list_rollouts(conn, MODEL))
    before = [w.loss for w in list_of_windows(spring) if w.version == 1 and w.loss][-2:]
    after = [w.loss for w in list_of_windows(spring) if w.version == 2 and w.loss]
    assert after
    assert sum(after) / len(after) < 0.85 * sum(before) / len(before)
    assert rollout.state == "promoted"


def list_of_windows(loop: Any) -> list[Any]:
    return read(loop, lambda conn: list_windows(conn, MODEL))


def test_no_row_trained_whose_outcome_was_not_known_then(spring):
    (retraining,) = read(spring, lambda conn: list_retrainings(conn, MODEL, states=("ready",)))
    version = read(spring, lambda conn: get_version(conn, MODEL, 2))
    assert parse_moment(retraining.data_choice["rows"]["latest_outcome_known_at"]) <= retraining.decided_at
    rows = read_snapshot(retraining.snapshot, spring.backends.blobs)
    newest = rows["ts"].max()
    assert newest + timedelta(days=1) <= retraining.decided_at
    assert newest < retraining.rows_until
    assert rows["ts"].n_unique() == rows.height
    assert retraining.id in read_manifest(retraining.snapshot, spring.backends.blobs).source
    assert version.snapshot == retraining.snapshot
    first = read(spring, lambda conn: get_version(conn, MODEL, 1))
    assert version.source_tree == first.source_tree


def test_the_choice_of_rows_is_kept_with_the_losses_that_led_to_it(spring):
    (retraining,) = read(spring, lambda conn: list_retrainings(conn, MODEL, states=("ready",)))
    choice, tried = retraining.data_choice["choice"], retraining.data_choice["tried"]
    assert choice["act"]
    assert choice["losses"][choice["name"]] == min(choice["losses"].values())
    assert choice["gain"] == pytest.approx(choice["champion_loss"] - choice["loss"])
    assert len(tried["champion"]) == len(retraining.data_choice["folds"]) == 4
    assert all(count > 100 for count in tried["row_counts"])
    judged = [loss for losses in tried["losses"].values() for loss in losses if loss is not None]
    assert len(set(judged)) == tried["trainings"] + tried["known"]
    assert tried["known"] == 0  # it is the first; a later one trains its newest week only


def test_every_move_is_in_the_chained_audit_trail_and_the_alias_history(spring):
    moves = read(spring, lambda conn: list_history(conn, MODEL))
    champions = [(move.from_number, move.to_number) for move in moves if move.name == "champion"]
    assert champions == [(None, 1), (1, 2)]
    assert moves[-1].model_time is not None
    assert read(spring, verify).ok
    kinds = [event.kind for event in read(spring, lambda conn: list_events(conn, model=MODEL, limit=1000))]
    order = ["signal.raised", "retraining.decided", "run.finished", "candidate.ready", "rollout.promoted"]
    places = [
        len(kinds) - 1 - kinds[::-1].index(kind) if kind == "run.finished" else kinds.index(kind)
        for kind in order
    ]
    assert places == sorted(places)


def test_every_answer_was_logged_once(spring):
    from flyball.data.predictions import read_predictions

    start, end = parse_moment(SPRING[0]), parse_moment(SPRING[1])
    logged = read_predictions(spring.backends.tables_url, MODEL, start, end)
    champion = logged.filter(pl.col("role") == "champion")
    assert champion.height == len(spring.served)
    assert champion["id"].n_unique() == champion.height
    assert set(logged["role"].unique()) == {"champion", "shadow"}


def test_the_same_history_at_another_speed_decides_the_same(spring):
    assert spring.hasty["retrainings"]
    assert decisions(spring) == spring.hasty
