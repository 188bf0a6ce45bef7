from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flyball.core.digests import digest_bytes
from flyball.core.errors import (
    BadInput,
    Conflict,
    InvalidReference,
    ModelNotFound,
    NoChampion,
    VersionNotFound,
)
from flyball.core.refs import parse_ref
from flyball.governance.events import list_events
from flyball.governance.journal import list_entries
from flyball.governance.verify import verify
from flyball.registry.aliases import move_alias
from flyball.registry.models import ensure_model, get_model, list_models
from flyball.registry.versions import find_by_digest, find_by_run, get_version, list_versions, resolve


def test_a_version_is_read_back_as_it_was_registered(database: Any, register: Any, contract: Any) -> None:
    made = register(
        database,
        run_id="run_1",
        isolated=True,
        snapshot=digest_bytes(b"rows"),
        params={"rate": 0.1},
        metrics={"mae": {"value": 40.5, "interval": [39.0, 42.0]}},
        lineage={"git": None},
        why="first",
    )
    with database.read() as conn:
        found = get_version(conn, "bike", 1)
    assert found == made
    assert found.contract == contract
    assert found.metrics == {"mae": {"value": 40.5, "interval": [39.0, 42.0]}}
    assert (found.number, found.isolated, found.why, found.author) == (1, True, "first", "anna")


def test_numbers_are_dense_per_model_and_refused_versions_have_one_too(database: Any, register: Any) -> None:
    numbers = [
        register(database, run_id=f"run_{n}", state=state).number
        for n, state in enumerate(["registered", "refused", "registered"])
    ]
    other = register(database, model="boat", run_id="run_9")
    assert numbers == [1, 2, 3]
    assert other.number == 1
    with database.read() as conn:
        assert [(v.number, v.state) for v in list_versions(conn, "bike")] == [
            (3, "registered"),
            (2, "refused"),
            (1, "registered"),
        ]
        assert [v.number for v in list_versions(conn, "bike", limit=1, before=3)] == [2]


def test_numbers_stay_dense_when_many_register_at_once(database: Any, register: Any) -> None:
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda turn: register(database, run_id=f"run_{turn}"), range(30)))
    assert sorted(version.number for version in made) == list(range(1, 31))
    with database.read() as conn:
        assert len(list_versions(conn, "bike")) == 30
        assert verify(conn).ok


def test_a_run_registers_once(database: Any, register: Any) -> None:
    first = register(database, run_id="run_1")
    assert register(database, run_id="run_1") == first
    with database.read() as conn:
        assert len(list_versions(conn, "bike")) == 1
        assert len(list_events(conn, kinds=["version.created"])) == 1
        assert find_by_run(conn, "run_1") == first


def test_a_run_that_comes_back_with_another_model_is_a_conflict(database: Any, register: Any) -> None:
    register(database, run_id="run_1")
    with pytest.raises(Conflict, match="run_1 has registered bike@1"):
        register(database, run_id="run_1", content="something else")


def test_registration_leaves_an_audit_entry_and_an_event_with_the_facts(database: Any, register: Any) -> None:
    made = register(database, run_id="run_1", state="refused", why="gate failed")
    with database.read() as conn:
        entry = list_entries(conn, action="version.refused")[0]
        event = list_events(conn, kinds=["version.created"])[0]
    assert entry.subject == event.subject == "version:bike@1"
    assert entry.why == "gate failed"
    assert event.facts["digest"] == made.digest
    assert (event.facts["state"], event.facts["run_id"], event.facts["version"]) == ("refused", "run_1", 1)


def test_nothing_is_left_of_a_registration_that_failed(
    database: Any, register: Any, anna: Any, now: Any
) -> None:
    with pytest.raises(RuntimeError), database.write() as conn:
        ensure_model(conn, name="bike", task="regression", actor=anna, now=now)
        raise RuntimeError("the disk is full")
    with database.read() as conn:
        assert list_models(conn) == []
        assert list_entries(conn) == []


def test_a_model_keeps_its_task(database: Any, register: Any) -> None:
    register(database, run_id="run_1")
    with pytest.raises(Conflict, match="bike is a regression model"):
        register(database, run_id="run_2", task="binary")


def test_owner_and_description_follow_the_project(database: Any, register: Any) -> None:
    register(database, run_id="run_1", owner="mobility", description="Rentals per hour")
    register(database, run_id="run_2", owner="mobility-ml", description="Rentals per hour")
    with database.read() as conn:
        model = get_model(conn, "bike")
        assert (model.owner, model.description) == ("mobility-ml", "Rentals per hour")
        assert [e.kind for e in list_events(conn, kinds=["model.created", "model.changed"])] == [
            "model.created",
            "model.changed",
        ]


def test_a_name_that_is_none_and_a_digest_that_is_none_are_refused(database: Any, register: Any) -> None:
    with pytest.raises(InvalidReference):
        register(database, model="../bike", run_id="run_1")
    with pytest.raises(BadInput, match="no digest"):
        register(database, digest="latest", run_id="run_1")


def test_a_reference_resolves_by_number_alias_and_digest_prefix(
    database: Any, register: Any, anna: Any, now: Any
) -> None:
    first, second = (register(database, run_id=f"run_{n}") for n in (1, 2))
    with database.write() as conn:
        move_alias(conn, "bike", "champion", 1, actor=anna, why="first", now=now)
    with database.read() as conn:
        assert resolve(conn, parse_ref("bike")) == first
        assert resolve(conn, parse_ref("bike@champion")) == first
        assert resolve(conn, parse_ref("bike@2")) == second
        prefix = second.digest.removeprefix("sha256:")[:20]
        assert resolve(conn, parse_ref(f"bike@sha256:{prefix}")) == second


def test_a_bare_model_without_champion_means_its_newest_registered_version(
    database: Any, register: Any
) -> None:
    register(database, run_id="run_1")
    register(database, run_id="run_2", state="refused")
    with database.read() as conn:
        assert resolve(conn, parse_ref("bike")).number == 1
        with pytest.raises(NoChampion):
            resolve(conn, parse_ref("bike@champion"))


@pytest.mark.parametrize("reference", ["bike@7", "bike@candidate", "bike@deadbeef00"])
def test_a_reference_to_nothing_is_told(database: Any, register: Any, reference: str) -> None:
    register(database, run_id="run_1")
    with database.read() as conn, pytest.raises(VersionNotFound, match="flyball versions bike"):
        resolve(conn, parse_ref(reference))


def test_an_unknown_model_is_told(database: Any) -> None:
    with database.read() as conn, pytest.raises(ModelNotFound):
        resolve(conn, parse_ref("bike"))


def test_a_digest_prefix_of_several_versions_is_ambiguous_unless_they_are_the_same(
    database: Any, register: Any
) -> None:
    seen: dict[str, int] = {}
    for number in range(40):
        made = register(database, run_id=f"run_{number}")
        start = made.digest[7]
        if start in seen:
            break
        seen[start] = made.number
    twin = register(database, content="run_0", run_id="run_twin")
    from flyball.core.refs import ModelRef

    with database.read() as conn:
        with pytest.raises(InvalidReference, match="give more digits"):
            resolve(conn, ModelRef("bike", digest_prefix=start))
        assert resolve(conn, ModelRef("bike", digest_prefix=twin.digest[7:27])).number == twin.number
        assert [v.number for v in find_by_digest(conn, twin.digest)] == [1, twin.number]
