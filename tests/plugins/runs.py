"""Runs for tests: projects in a folder, and a home whose runs this process makes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

TOML = """[model]
name = "{name}"
task = "regression"
target = "y"
time = "at"
[data]
source = "rows.csv"
[train]
entry = "train:train"
frames = "numpy"
timeout = "60s"
{more}
"""

# A model of its own class: a straight line through one feature. Loads no learner, so a test takes a second.
LINE = """
import json
from pathlib import Path


class Line:
    def __init__(self, slope, shift):
        self.slope, self.shift = slope, shift

    def predict(self, rows):
        return [self.shift + self.slope * (x if x is not None else 0.0) for x in rows["x"].to_list()]

    def save(self, folder):
        (Path(folder) / "line.json").write_text(json.dumps([self.slope, self.shift]))

    @classmethod
    def load(cls, folder):
        return cls(*json.loads((Path(folder) / "line.json").read_text()))


def train(X, y, params):
    x = X[:, 0]
    slope = params.get("slope", 2.0)
    print("trained on", len(x), "rows")
    return Line(slope, float((y - slope * x).mean()))
"""


# The other half of a class that has nothing to keep.
STATELESS = """
    def save(self, folder):
        (folder / "empty").write_text("")

    @classmethod
    def load(cls, folder):
        return cls()
"""


def make_rows(count: int = 400, seed: int = 1, slope: float = 2.0, shift: float = 1.0, start: int = 0) -> str:
    """A CSV table with one row an hour: y = slope * x + shift + noise. start: the first hour of 2025."""
    rng = random.Random(seed)
    lines = ["at,x,c,y"]
    for hour in range(start, start + count):
        x = rng.random() * 10
        day, rest = divmod(hour, 24)
        moment = f"2025-{1 + day // 28:02d}-{1 + day % 28:02d}T{rest:02d}:00:00Z"
        lines.append(f"{moment},{x:.4f},{rng.choice('ab')},{slope * x + shift + rng.gauss(0, 0.5):.4f}")
    return "\n".join(lines) + "\n"


class Home:
    """One home: its workshop, an engine that makes its runs, and a shortcut to run a project's folder."""

    def __init__(self, shop: Any, engine: Any) -> None:
        self.shop = shop
        self.engine = engine

    def start(self, folder: Path, flags: dict[str, str] | None = None, **request: Any) -> str:
        """Start a run of a folder; its id."""
        from flyball.governance.actors import local_actor
        from flyball.pipelines.project_file import read_project
        from flyball.pipelines.request import RunRequest
        from flyball.pipelines.run import start_run

        file = read_project(folder, flags=flags)
        asked = {"folder": str(file.folder), "why": "a test", **request}
        made = RunRequest(model=file.project.model.name, project=file.project, actor=local_actor(), **asked)
        return start_run(self.engine, self.shop, made)

    def run(self, folder: Path, flags: dict[str, str] | None = None, **request: Any) -> Any:
        """The result of a folder's run."""
        return self.follow(self.start(folder, flags, **request))

    def follow(self, run_id: str) -> Any:
        """The result of a run."""
        from flyball.pipelines.run import follow_run

        return follow_run(self.shop, run_id, timeout_seconds=120)

    def log(self, run_id: str) -> str:
        """What a run printed."""
        from flyball.pipelines.runs import run_log

        return "\n".join(run_log(self.shop.settings, run_id).page(limit=10_000).lines)

    def steps(self, run_id: str) -> dict[str, str]:
        """Name and state of a run's steps: done, cached or failed."""
        from flyball.pipelines.runs import list_run_steps

        with self.shop.database.read() as conn:
            return {
                step.name: "cached" if step.cached else step.state for step in list_run_steps(conn, run_id)
            }


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small project (a straight line over 400 hours) and returns its folder; parts can be replaced."""

    def make(
        name: str = "line",
        *,
        train: str = LINE,
        rows: str | None = None,
        more: str = "",
        toml: str | None = None,
    ) -> Path:
        folder = tmp_path / "projects" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "train.py").write_text(train)
        (folder / "rows.csv").write_text(make_rows() if rows is None else rows)
        (folder / "flyball.toml").write_text(toml or TOML.format(name=name, more=more))
        return folder

    return make


@contextmanager
def open_home(home: Path, database_url: str, objects_url: str, cache: Any = "read-write") -> Iterator[Home]:
    """A home with an engine at work."""
    from flyball.backends.blobs.store import open_blobs
    from flyball.backends.db.database import open_database
    from flyball.backends.db.heartbeats import Heartbeat, new_executor_id
    from flyball.backends.db.metadata import metadata
    from flyball.backends.workflows.engine import WorkflowEngine
    from flyball.core.clock import SystemClock
    from flyball.core.settings import Settings
    from flyball.pipelines.workflow import Workshop, register_run

    settings = Settings(home=home, database_url=database_url, objects_url=objects_url, cache=cache)
    database, clock, executor_id = open_database(database_url), SystemClock(), new_executor_id()
    with database.write() as conn:
        metadata.create_all(conn)
    heartbeat = Heartbeat(database, executor_id, kind="run", clock=clock)
    heartbeat.start()
    engine = WorkflowEngine(database.open_workflow_engine(), executor_id)
    shop = Workshop(database, open_blobs(objects_url), settings, clock, executor_id)
    register_run(engine, shop)
    engine.launch()
    try:
        yield Home(shop, engine)
    finally:
        engine.shutdown()
        heartbeat.stop()
        database.close()


@pytest.fixture
def fresh_home(tmp_path: Path) -> Callable[..., Any]:
    """Opens a home of its own on SQLite, as another machine has that shares the objects."""

    def open_fresh(name: str, objects_url: str, cache: Any = "read-write") -> Any:
        home = tmp_path / name
        return open_home(home, f"sqlite:///{home / 'flyball.db'}", objects_url, cache)

    return open_fresh


@pytest.fixture
def run_home(tmp_path: Path) -> Iterator[Home]:
    """A home on SQLite and files with an engine at work."""
    home = tmp_path / "home"
    with open_home(home, f"sqlite:///{home / 'flyball.db'}", f"file://{home / 'objects'}") as opened:
        yield opened


@pytest.fixture
def remote_run_home(tmp_path: Path, postgres_url: str, s3_bucket: str) -> Iterator[Home]:
    """A home on PostgreSQL and S3 with an engine at work."""
    with open_home(tmp_path / "home", postgres_url, f"s3://{s3_bucket}/flyball") as opened:
        yield opened
