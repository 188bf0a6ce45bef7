"""Versions, settings and signals for tests of the loop, written through the registry's own functions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from flyball.core.digests import digest_bytes
from flyball.core.project import Project

MODEL = "bikes"
AUTHOR = "ada"
BEGIN = datetime(2012, 3, 1, tzinfo=UTC)  # a Thursday: 7-day windows begin here


def make_project(**sections: Any) -> Project:
    """A regression project with weekly windows; sections replace the given ones."""
    given: dict[str, Any] = {
        "model": {"name": MODEL, "task": "regression", "target": "cnt", "time": "ts"},
        "data": {"source": "bikes.parquet", "outcome_delay": "1d"},
        "train": {"entry": "train:train"},
        "monitor": {"window": "7d", "min_rows": 100},
        "rollout": {"strategy": "shadow", "min_requests": 100, "bake": "0s", "max_duration": "29d"},
        "retrain": {"on": ["performance"], "cooldown": "28d", "max_per_month": 2},
    }
    for name, section in sections.items():
        given[name] = {**given.get(name, {}), **section}
    return msgspec.convert(given, Project)


class LoopHome:
    """A database with versions of one model in it."""

    def __init__(self, database: Any) -> None:
        self.database = database
        self.now = datetime(2026, 11, 21, 12, tzinfo=UTC)

    def tick(self, **duration: float) -> datetime:
        """Let wall time pass; the new moment."""
        self.now += timedelta(**duration)
        return self.now

    def register(
        self, project: Project | None = None, *, state: str = "registered", digest: str | None = None
    ) -> int:
        """A further version; its number."""
        from flyball.core.values import Actor
        from flyball.registry.versions import NewVersion, list_versions, register_version

        with self.database.write() as conn:
            count = 0
            from flyball.registry.models import find_model

            if find_model(conn, MODEL) is not None:
                count = len(list_versions(conn, MODEL, limit=1000))
            version = register_version(
                conn,
                NewVersion(
                    model=MODEL,
                    task="regression",
                    digest=digest or digest_bytes(f"bundle {count}".encode()),
                    state=state,  # type: ignore[arg-type]
                    author=AUTHOR,
                    snapshot=digest_bytes(b"first rows"),
                    source_tree=digest_bytes(b"tree"),
                    project=msgspec.to_builtins(project or make_project()),
                ),
                Actor(AUTHOR),
                self.now,
            )
        return version.number

    def deploy(self, number: int, **options: Any) -> Any:
        """Deploy a version as a person does."""
        from flyball.core.values import Actor
        from flyball.delivery.start import deploy

        given = {"actor": Actor("grace"), "why": "a test", "now": self.now, "model_time": BEGIN, **options}
        with self.database.write() as conn:
            return deploy(conn, MODEL, number, **given)


@pytest.fixture
def loop_home(database: Any) -> LoopHome:
    """A home on each database, with a model's tables and no version yet."""
    return LoopHome(database)


@pytest.fixture
def quick_loop_home(sqlite_database: Any) -> LoopHome:
    """The same on SQLite only."""
    return LoopHome(sqlite_database)


@pytest.fixture
def loop_project() -> Callable[..., Project]:
    """Makes projects: `loop_project(retrain={"cooldown": "7d"})`."""
    return make_project
