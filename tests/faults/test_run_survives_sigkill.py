from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flyball_tests_runs import LINE

from flyball.backends.db.database import Database
from flyball.governance.journal import list_entries
from flyball.governance.verify import verify
from flyball.pipelines.runs import list_run_steps, list_runs
from flyball.pipelines.stages.job import STEPS
from flyball.registry.evidence import list_evidence
from flyball.registry.versions import list_versions

# A process that makes a project's run, and kills itself at the moment it is told.
DRIVER = """
import json, os, signal, sys
from pathlib import Path

from flyball.backends.blobs.store import open_blobs
from flyball.backends.db.database import open_database
from flyball.backends.db.heartbeats import Heartbeat, new_executor_id
from flyball.backends.db.metadata import metadata
from flyball.backends.workflows.engine import WorkflowEngine
from flyball.core.clock import SystemClock
from flyball.core.settings import Settings
from flyball.governance.actors import local_actor
from flyball.pipelines.project_file import read_project
from flyball.pipelines.request import RunRequest
from flyball.pipelines.run import follow_run, resume_abandoned, start_run
from flyball.pipelines.workflow import Workshop, register_run

home, database_url, folder, moment, *sets = sys.argv[1:]


def observe(run_id, step, what):
    if f"{step}:{what}" == moment:
        os.kill(os.getpid(), signal.SIGKILL)


settings = Settings(home=Path(home), database_url=database_url, objects_url=f"file://{home}/objects")
database, clock, executor = open_database(database_url), SystemClock(), new_executor_id()
with database.write() as conn:
    metadata.create_all(conn)
heartbeat = Heartbeat(database, executor, kind="run", clock=clock)
heartbeat.start()
engine = WorkflowEngine(database.open_workflow_engine(), executor)
shop = Workshop(database, open_blobs(settings.objects_url), settings, clock, executor, observe)
register_run(engine, shop)
engine.launch()
resumed = resume_abandoned(engine, shop)
file = read_project(Path(folder), flags=dict(item.split("=", 1) for item in sets))
request = RunRequest(model="line", project=file.project, actor=local_actor(), folder=str(file.folder))
run_id = start_run(engine, shop, request)
for other in resumed:
    engine.wait(other, 120)
result = follow_run(shop, run_id, engine=engine, timeout_seconds=120)
print(json.dumps([resumed, run_id, result.state, result.version, result.cached, result.error]), flush=True)
engine.shutdown()
heartbeat.stop()
database.close()
"""
COUNTED = """
with open({path!r}, "a") as file:
    file.write("trained\\n")
"""


class Runs:
    """Starts drivers on one home and project."""

    def __init__(self, folder: Path, home: Path, database_url: str, environment: dict[str, str]) -> None:
        self.folder, self.home, self.database_url = folder, home, database_url
        self.environment = environment
        self.script = home / "driver.py"
        home.mkdir(parents=True, exist_ok=True)
        self.script.write_text(DRIVER)

    def begin(self, moment: str = "never", *sets: str) -> subprocess.Popen[str]:
        arguments = [str(self.home), self.database_url, str(self.folder), moment, *sets]
        return subprocess.Popen(
            [sys.executable, str(self.script), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
        )

    def end(self, *sets: str) -> list[Any]:
        process = self.begin("never", *sets)
        output, _ = process.communicate(timeout=180)
        assert process.returncode == 0, output
        answer: list[Any] = json.loads(output.strip().splitlines()[-1])
        return answer

    def killed_at(self, moment: str, *sets: str) -> None:
        process = self.begin(moment, *sets)
        output, _ = process.communicate(timeout=180)
        assert process.returncode == -signal.SIGKILL, output


@pytest.fixture
def counter(tmp_path: Path) -> Path:
    path = tmp_path / "trained.txt"
    path.write_text("")
    return path


@pytest.fixture
def counted_project(make_project: Callable[..., Path], counter: Path) -> Path:
    """A project whose trainings are counted in a file; without a time column there is one training a run."""
    note = COUNTED.replace("\n", "\n    ").format(path=str(counter))
    folder = make_project(train=LINE.replace("    x = X[:, 0]\n", note + "\n    x = X[:, 0]\n"))
    text = (folder / "flyball.toml").read_text().replace('time = "at"\n', "")
    (folder / "flyball.toml").write_text(text.replace("[train]", 'exclude = ["at"]\n[train]'))
    return folder


@pytest.fixture
def runs(counted_project: Path, database_url: str, tmp_path: Path, child_environment: dict[str, str]) -> Runs:
    """On each kind of database."""
    return Runs(counted_project, tmp_path / "home", database_url, child_environment)


@pytest.fixture
def sqlite_runs(counted_project: Path, tmp_path: Path, child_environment: dict[str, str]) -> Runs:
    """On SQLite only."""
    home = tmp_path / "home"
    return Runs(counted_project, home, f"sqlite:///{home / 'flyball.db'}", child_environment)


def check_history(database: Database, versions: int) -> None:
    """Dense version numbers, one event and entry per change, nothing doubled, nothing left running."""
    with database.read() as conn:
        found = list_versions(conn, "line")
        entries = list_entries(conn, limit=10_000)
        assert [version.number for version in found] == list(range(versions, 0, -1))
        assert verify(conn).ok
        actions = [entry.action for entry in entries]
        assert actions.count("version.registered") == versions
        made = list_runs(conn, limit=1000)
        assert {run.state for run in made} == {"registered"}
        assert actions.count("run.started") == actions.count("run.finished") == len(made)
        for version in found:
            assert [item.kind for item in list_evidence(conn, "line", version.number)] == ["evaluation"]


def test_a_run_killed_at_every_boundary_goes_on_and_repeats_no_finished_step(
    runs: Runs, database: Database, counter: Path
):
    for step in STEPS:
        if step != "test":  # there is no such step where nothing is declared to be tested
            runs.killed_at(f"{step}:begun")
    runs.killed_at("register:done")
    resumed, again, state, version, cached, error = runs.end()
    # The killed run had ended its row, so an equal request is a new run, for which everything is there.
    assert (state, version, cached, error) == ("registered", 1, True, None)
    with database.read() as conn:
        first = list_runs(conn)[-1]
        steps = {step.name: step for step in list_run_steps(conn, first.id)}
    assert resumed == [first.id] and again != first.id
    assert (first.version, first.cached) == (1, False)
    # Each step was begun once by the process that died in it and once by the next; the last one died again, having
    # ended its step but not the workflow.
    assert {name: step.attempts for name, step in steps.items()} == {
        "source": 2,
        "environment": 2,
        "prepare": 2,
        "train": 2,
        "evaluate": 2,
        "register": 3,
    }
    assert counter.read_text().count("trained") == 1
    check_history(database, 1)


def test_a_training_whose_step_ended_unrecorded_is_not_trained_again(
    sqlite_runs: Runs, sqlite_database: Database, counter: Path
):
    sqlite_runs.killed_at("train:done")
    assert counter.read_text().count("trained") == 1
    assert sqlite_runs.end()[2:4] == ["registered", 1]
    assert counter.read_text().count("trained") == 1
    check_history(sqlite_database, 1)


def test_a_killed_run_takes_its_training_process_along_and_is_trained_by_the_next(
    sqlite_runs: Runs, sqlite_database: Database, counter: Path, tmp_path: Path
):
    marker = tmp_path / "told" / "pid"
    marker.parent.mkdir()
    code = (sqlite_runs.folder / "train.py").read_text()
    hang = (
        f"    import os, time\n    if not os.path.exists({str(marker)!r}):\n"
        f"        open({str(marker)!r}, 'w').write(str(os.getpid()))\n        time.sleep(120)\n"
    )
    (sqlite_runs.folder / "train.py").write_text(
        code.replace("def train(X, y, params):\n", "def train(X, y, params):\n" + hang)
    )
    process = sqlite_runs.begin()
    deadline = time.monotonic() + 60
    while (
        not (marker.exists() and marker.read_text())
        and process.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    child = int(marker.read_text())
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{child}") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{child}")
    assert sqlite_runs.end()[2:4] == ["registered", 1]
    assert counter.read_text().count("trained") == 1
    check_history(sqlite_database, 1)


def check_kills_at_random_moments(runs: Runs, database: Database, count: int, seed: int) -> None:
    """Runs with other parameters each, killed at random moments, and one that finishes them."""
    rng = random.Random(seed)
    for number in range(count):
        flag = f"train.params.slope={1.5 + number / 100}"
        process = runs.begin("never", flag)
        time.sleep(rng.uniform(0.3, 5.0))
        process.kill()
        process.communicate()
        assert runs.end(flag)[2:4] == ["registered", number + 1]
    check_history(database, count)


def test_a_run_killed_at_a_few_random_moments_is_finished_by_the_next(
    sqlite_runs: Runs, sqlite_database: Database
):
    check_kills_at_random_moments(sqlite_runs, sqlite_database, count=2, seed=1)


@pytest.mark.long
def test_a_run_killed_at_twenty_random_moments_is_finished_by_the_next(
    sqlite_runs: Runs, sqlite_database: Database
):
    check_kills_at_random_moments(sqlite_runs, sqlite_database, count=20, seed=2)


def test_a_run_whose_process_died_before_its_workflow_began_is_begun_by_the_next(
    run_home: Any, make_project: Callable[..., Path]
):
    from flyball.governance.actors import local_actor
    from flyball.pipelines.project_file import read_project
    from flyball.pipelines.request import RunRequest
    from flyball.pipelines.run import new_run, resume_abandoned
    from flyball.pipelines.runs import insert_run
    from flyball.pipelines.source_tree import collect_tree, store_tree

    folder, shop = make_project(), run_home.shop
    tree = store_tree(collect_tree(folder), shop.blobs)
    project = read_project(folder).project
    request = RunRequest(model="line", project=project, actor=local_actor(), folder=str(folder), tree=tree)
    row = new_run("run_" + "0" * 32, request, shop.clock.now())
    with shop.database.write() as conn:
        insert_run(conn, row)
    assert resume_abandoned(run_home.engine, shop) == [row.id]
    assert run_home.follow(row.id).version == 1


def test_equal_runs_started_together_are_one_run(run_home: Any, make_project: Callable[..., Path]):
    folder = make_project()
    first, second = run_home.start(folder), run_home.start(folder)
    assert first == second
    assert run_home.follow(first).version == 1
    assert run_home.start(folder) != first
