"""What the registry's tests share: a project, a moment, an actor, and versions that are registered in one line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

import flyball.registry.evidence
import flyball.registry.routes  # noqa: F401 - with evidence, all tables of the registry
from flyball.core.contract import Contract, FeatureRule
from flyball.core.digests import digest_bytes
from flyball.core.project import DataSection, ModelSection, Project, TrainSection
from flyball.core.values import Actor
from flyball.registry.versions import ModelVersion, NewVersion, register_version

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def later() -> Callable[[int], datetime]:
    return lambda seconds: NOW + timedelta(seconds=seconds)


@pytest.fixture
def anna() -> Actor:
    return Actor("anna")


@pytest.fixture
def project() -> dict[str, Any]:
    made = Project(
        model=ModelSection(name="bike", task="regression", target="cnt", time="ts"),
        data=DataSection(source="data/bike.parquet"),
        train=TrainSection(entry="train:train"),
    )
    builtins: dict[str, Any] = msgspec.to_builtins(made)
    return builtins


@pytest.fixture
def contract() -> Contract:
    return Contract(
        features={"hr": FeatureRule(type="int", min=0, max=23), "temp": FeatureRule(type="float")}
    )


@pytest.fixture
def register(
    project: dict[str, Any], contract: Contract, anna: Actor, now: datetime
) -> Callable[..., ModelVersion]:
    """Registers a version in a transaction of its own."""

    def make(database: Any, **changes: Any) -> ModelVersion:
        content = str(changes.pop("content", changes.get("run_id", "a model")))
        values: dict[str, Any] = {
            "model": "bike",
            "task": "regression",
            "digest": digest_bytes(content.encode()),
            "state": "registered",
            "author": "anna",
            "project": project,
            "contract": contract,
        }
        with database.write() as conn:
            return register_version(conn, NewVersion(**{**values, **changes}), anna, now)

    return make
