from __future__ import annotations

from typing import Any

import pytest

from flyball.core.errors import VersionNotFound
from flyball.governance.events import list_events
from flyball.registry.aliases import (
    drop_alias,
    find_alias,
    list_aliases,
    list_history,
    move_alias,
)
from flyball.registry.evidence import add_evidence, list_evidence


def test_an_alias_moves_and_every_move_is_kept_with_both_times(
    database: Any, anna: Any, now: Any, later: Any
) -> None:
    with database.write() as conn:
        move_alias(conn, "bike", "champion", 1, actor=anna, why="first", now=now, model_time=later(-900))
        move_alias(
            conn, "bike", "champion", 2, actor=anna, why="better", now=later(5), model_time=later(-800)
        )
        move_alias(conn, "bike", "previous", 1, actor=anna, why="better", now=later(5))
    with database.read() as conn:
        assert [(a.name, a.number, a.moved_at) for a in list_aliases(conn, "bike")] == [
            ("champion", 2, later(5)),
            ("previous", 1, later(5)),
        ]
        history = list_history(conn, "bike")
    assert [(m.seq, m.name, m.from_number, m.to_number, m.why) for m in history] == [
        (1, "champion", None, 1, "first"),
        (2, "champion", 1, 2, "better"),
        (3, "previous", None, 1, "better"),
    ]
    assert history[0].model_time == later(-900)
    assert history[2].model_time is None
    assert history[1].actor == "anna"


def test_moving_an_alias_to_where_it_is_changes_nothing(
    database: Any, anna: Any, now: Any, later: Any
) -> None:
    with database.write() as conn:
        assert move_alias(conn, "bike", "champion", 1, actor=anna, why="first", now=now) is not None
        assert move_alias(conn, "bike", "champion", 1, actor=anna, why="again", now=later(5)) is None
    with database.read() as conn:
        assert len(list_history(conn, "bike")) == 1
        assert len(list_events(conn, kinds=["alias.moved"])) == 1


def test_a_dropped_alias_is_gone_and_its_drop_is_history(database: Any, anna: Any, now: Any) -> None:
    with database.write() as conn:
        assert drop_alias(conn, "bike", "candidate", actor=anna, why="none", now=now) is None
        move_alias(conn, "bike", "candidate", 3, actor=anna, why="try", now=now)
        drop_alias(conn, "bike", "candidate", actor=anna, why="aborted", now=now)
    with database.read() as conn:
        assert find_alias(conn, "bike", "candidate") is None
        assert [(m.from_number, m.to_number) for m in list_history(conn, "bike")] == [(None, 3), (3, None)]
        assert list_events(conn, kinds=["alias.moved"])[-1].facts["to"] is None


def test_a_limit_keeps_the_newest_moves(database: Any, anna: Any, now: Any) -> None:
    with database.write() as conn:
        for number in (1, 2, 3):
            move_alias(conn, "bike", "champion", number, actor=anna, why="next", now=now)
    with database.read() as conn:
        assert [move.to_number for move in list_history(conn, "bike", limit=2)] == [2, 3]


def test_evidence_is_appended_in_order_and_found_by_kind(
    database: Any, register: Any, anna: Any, now: Any, later: Any
) -> None:
    register(database, run_id="run_1")
    with database.write() as conn:
        add_evidence(conn, "bike", 1, "gate", {"verdict": "pass", "because": "fine"}, actor=anna, now=now)
        add_evidence(conn, "bike", 1, "rollout", {"verdict": "promoted"}, actor=anna, now=later(9))
    with database.read() as conn:
        found = list_evidence(conn, "bike", 1)
        assert [(e.seq, e.kind, e.facts["verdict"]) for e in found] == [
            (1, "gate", "pass"),
            (2, "rollout", "promoted"),
        ]
        assert list_evidence(conn, "bike", 1, kind="rollout") == [found[1]]
        event = list_events(conn, kinds=["evidence.added"])[0]
        assert event.facts["evidence_id"] == found[0].id
        assert event.subject == "version:bike@1"


def test_there_is_no_evidence_on_a_version_that_there_is_not(
    database: Any, register: Any, anna: Any, now: Any
) -> None:
    register(database, run_id="run_1")
    with database.write() as conn, pytest.raises(VersionNotFound):
        add_evidence(conn, "bike", 2, "gate", {}, actor=anna, now=now)
