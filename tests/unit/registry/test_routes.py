from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flyball.core.errors import BadInput, NotFound, RouteConflict, VersionNotFound, VersionRefused
from flyball.core.project import CostSection, DecisionSection
from flyball.governance.events import list_events
from flyball.registry.route_table import find_next, list_routed_models, publish, read_table, route_key
from flyball.registry.routes import (
    Wanted,
    build_table,
    current,
    get_deployment,
    list_deployed,
    list_revisions,
    publish_wanted,
    threshold_of,
    want,
)


def _want(database: Any, anna: Any, now: Any, project: Any, **changes: Any) -> int:
    values: dict[str, Any] = {
        "champion": 1,
        "previous": None,
        "salt": "s",
        "rollout_id": None,
        "project": project,
    }
    model = changes.pop("model", "bike")
    with database.write() as conn:
        return want(conn, model, Wanted(**{**values, **changes}), actor=anna, why="because", now=now)


@pytest.fixture
def three(database: Any, register: Any) -> Any:
    """A database with bike@1 and @2 registered, @3 refused, boat@1 registered."""
    register(database, run_id="run_1")
    register(database, run_id="run_2", isolated=True)
    register(database, run_id="run_3", state="refused")
    register(database, model="boat", run_id="run_4")
    return database


def test_each_change_is_the_next_revision_with_event_and_contract(
    three: Any, anna: Any, now: Any, project: Any, contract: Any
) -> None:
    assert _want(three, anna, now, project) == 1
    assert (
        _want(three, anna, now, project, candidate=2, candidate_role="canary", share=0.05, rollout_id="rol_1")
        == 2
    )
    with three.read() as conn:
        deployment = current(conn, "bike")
        events = list_events(conn, kinds=["deployment.changed"])
        assert [d.revision for d in list_revisions(conn, "bike")] == [2, 1]
        assert get_deployment(conn, "bike", 1).candidate is None
        with pytest.raises(NotFound):
            get_deployment(conn, "bike", 9)
    assert deployment is not None
    assert (deployment.champion, deployment.candidate, deployment.share) == (1, 2, 0.05)
    assert deployment.contract == contract
    assert deployment.published_at is None
    assert (events[1].facts["revision"], events[1].facts["role"]) == (2, "canary")


def test_current_is_none_before_the_first_deployment(three: Any) -> None:
    with three.read() as conn:
        assert current(conn, "bike") is None
        assert list_deployed(conn) == []


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"champion": 3}, VersionRefused),
        ({"champion": 9}, VersionNotFound),
        ({"previous": 3}, VersionRefused),
        ({"candidate": 2}, BadInput),
        ({"candidate_role": "canary"}, BadInput),
        ({"candidate": 2, "candidate_role": "main"}, BadInput),
        ({"candidate": 2, "candidate_role": "canary", "share": 1.5}, BadInput),
        ({"candidate": 2, "candidate_role": "canary", "share": float("nan")}, BadInput),
        ({"champion": None, "candidate": 2, "candidate_role": "shadow"}, BadInput),
    ],
)
def test_what_can_not_be_served_is_not_wanted(
    three: Any, anna: Any, now: Any, project: Any, changes: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        _want(three, anna, now, project, **changes)
    with three.read() as conn:
        assert current(conn, "bike") is None
        assert list_events(conn, kinds=["deployment.changed"]) == []


def test_a_table_names_bundles_and_isolates_the_candidate(
    three: Any, anna: Any, now: Any, project: Any, contract: Any
) -> None:
    _want(three, anna, now, project, champion=2, candidate=1, candidate_role="shadow", previous=1)
    with three.read() as conn:
        deployment = current(conn, "bike")
        assert deployment is not None
        table = build_table(conn, deployment)
    assert table.champion is not None and table.champion.isolated
    assert table.candidate is not None and table.candidate.isolated
    assert table.contract == contract
    assert (table.task, table.target, table.time, table.published_at) == ("regression", "cnt", "ts", now)
    assert read_table(msgspec.json.encode(table)) == table


def test_every_wanted_revision_is_published_once_and_in_order(
    three: Any, anna: Any, now: Any, later: Any, project: Any, file_blobs: Any
) -> None:
    _want(three, anna, now, project)
    _want(three, anna, now, project, champion=2, previous=1)
    _want(three, anna, now, project, model="boat")
    assert publish_wanted(three, file_blobs, later(1)) == [("bike", 1), ("bike", 2), ("boat", 1)]
    assert publish_wanted(three, file_blobs, later(2)) == []
    assert list_routed_models(file_blobs) == ["bike", "boat"]
    table = find_next(file_blobs, "bike", 0)
    assert table is not None and table.revision == 2
    with three.read() as conn:
        assert all(d.published_at == later(1) for d in list_deployed(conn))


def test_what_was_published_but_not_noted_before_a_crash_is_noted_by_the_next_pass(
    three: Any, anna: Any, now: Any, later: Any, project: Any, file_blobs: Any
) -> None:
    _want(three, anna, now, project)
    with three.read() as conn:
        deployment = current(conn, "bike")
        assert deployment is not None
        publish(file_blobs, build_table(conn, deployment))
    before = file_blobs.get(route_key("bike", 1))
    assert publish_wanted(three, file_blobs, later(60)) == [("bike", 1)]
    assert file_blobs.get(route_key("bike", 1)) == before


def test_one_models_conflict_does_not_hold_up_the_others(
    three: Any, anna: Any, now: Any, project: Any, file_blobs: Any
) -> None:
    _want(three, anna, now, project)
    _want(three, anna, now, project, champion=2, previous=1)
    _want(three, anna, now, project, model="boat")
    with three.read() as conn:
        deployment = current(conn, "bike")
        assert deployment is not None
        other = msgspec.structs.replace(build_table(conn, deployment), revision=1)
    publish(file_blobs, other)
    with pytest.raises(RouteConflict, match="restored from an older backup"):
        publish_wanted(three, file_blobs, now)
    assert find_next(file_blobs, "boat", 0) is not None
    with three.read() as conn:
        assert [d.published_at for d in list_revisions(conn, "bike")] == [None, None]


def test_the_threshold_comes_from_the_file_or_from_costs() -> None:
    assert threshold_of(DecisionSection()) is None
    assert threshold_of(DecisionSection(threshold=0.3)) == 0.3
    cost = CostSection(false_positive=1, false_negative=9)
    assert threshold_of(DecisionSection(cost=cost)) == pytest.approx(0.1)
    assert threshold_of(DecisionSection(threshold=0.3, cost=cost)) == 0.3
