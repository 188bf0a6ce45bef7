"""Which rows to train on is tried on recent weeks with the project's own code, and nothing is trained twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from flyball_tests_runs import LINE
from flyball_tests_serving import is_running
from flyball_tests_stores import open_with_tables
from sqlalchemy import text

from flyball.backends.blobs.store import open_blobs
from flyball.core.clock import SystemClock
from flyball.core.contract import Contract, FeatureRule
from flyball.core.digests import digest_bytes
from flyball.core.errors import RunOutOfMemory, StepCrashed
from flyball.core.ids import derived_id
from flyball.core.project import Project
from flyball.core.settings import Settings
from flyball.data.snapshots import take_snapshot
from flyball.judge.choosing import progressive_folds
from flyball.pipelines.source_tree import collect_tree, store_tree
from flyball.pipelines.workshop import Workshop
from flyball.retraining.plan import RetrainPlan, plain
from flyball.retraining.trials import gather, try_windows

START = datetime(2026, 1, 5, tzinfo=UTC)
WEEK = timedelta(days=7)
NAMES = ["expanding", "28d", "14d"]
RESULTS = ("losses", "champion", "row_counts")
MARK = "def train(X, y, params):\n"
# Each training writes a line before it begins: what it was given, as a text.
DIARY = (
    MARK
    + """    with open(params["diary"], "a") as file:
        file.write(f"{len(y)} {y.sum()!r}\\n")
"""
)
KILLED_ONCE = """    marker = Path(params["diary"] + ".killed")
    if len(Path(params["diary"]).read_text().splitlines()) >= 4 and not marker.exists():
        marker.touch()
        import os
        os.kill(os.getpid(), 9)
"""
HELD = """    import time
    while Path(params["diary"] + ".hold").exists() and len(Path(params["diary"]).read_text().splitlines()) > 6:
        time.sleep(0.02)
"""
# A process that tries a plan's windows, to be killed.
DRIVER = """
import sys
from pathlib import Path
import msgspec
from flyball.backends.blobs.store import open_blobs
from flyball.backends.db.database import open_database
from flyball.core.clock import SystemClock
from flyball.core.settings import Settings
from flyball.pipelines.workshop import Workshop
from flyball.retraining.plan import read_plan
from flyball.retraining.trials import try_windows

home, database_url, objects_url, plan = sys.argv[1:]
settings = Settings(home=Path(home), database_url=database_url, objects_url=objects_url)
shop = Workshop(open_database(database_url), open_blobs(objects_url), settings, SystemClock())
try_windows(shop, read_plan(msgspec.json.decode(Path(plan).read_bytes())))
"""


class Trials:
    """A project whose windows are tried at the end of a week; the diary holds what was trained."""

    def __init__(self, shop: Workshop, folder: Path) -> None:
        # Beside the home, which the project's code does not reach.
        self.shop, self.diary = shop, folder.parent / f"{folder.name}-diary" / "diary.txt"
        self.diary.parent.mkdir(exist_ok=True)
        self.folder = folder / "project"
        self.folder.mkdir(parents=True)
        self.write(LINE.replace(MARK, DIARY))

    def write(self, train: str) -> None:
        (self.folder / "train.py").write_text(train)

    def plan(self, weeks: int = 9, attempt: str = "", rows: pl.DataFrame | None = None) -> RetrainPlan:
        """A retraining decided after so many weeks."""
        until = START + weeks * WEEK
        project = msgspec.convert(
            {
                "model": {"name": "line", "task": "regression", "target": "y", "time": "at"},
                "data": {"source": "rows.csv", "outcome_delay": "1d"},
                "train": {"entry": "train:train", "frames": "numpy", "params": {"diary": str(self.diary)}},
                "monitor": {"window": "7d"},
            },
            Project,
        )
        frame = hours() if rows is None else rows
        first = take_snapshot(frame, source="rows.csv", blobs=self.shop.blobs, now=START)
        return RetrainPlan(
            retraining_id=derived_id("rtn", f"{weeks}{attempt}"),
            champion=1,
            bundle=digest_bytes(b"bundle"),
            tree=store_tree(collect_tree(self.folder), self.shop.blobs),
            root_snapshot=first.digest,
            folder=None,
            project=project,
            contract=Contract(features={"x": FeatureRule(type="float")}),
            classes=None,
            positive=None,
            features=["x"],
            decided_at=until + timedelta(days=1),
            rows_until=until,
            names=NAMES,
            folds=progressive_folds(
                until.timestamp(), window_seconds=WEEK.total_seconds(), outcome_delay_seconds=86_400, count=4
            ),
            held=[],
            is_forced=False,
            because="a test",
            signal_id=None,
            incident_id=None,
        )

    def attempt(self, plan: RetrainPlan) -> dict[str, Any]:
        """What the trial gives, its wall time left out."""
        gather(self.shop, plan)
        tried = try_windows(self.shop, plan)
        return {name: value for name, value in tried.items() if name != "seconds"}

    def trained(self) -> list[str]:
        """What was trained so far."""
        return self.diary.read_text().splitlines() if self.diary.exists() else []


def hours(weeks: int = 12) -> pl.DataFrame:
    """Hourly rows whose line changes its shift over the weeks."""
    import numpy as np

    chance = np.random.default_rng(5)
    count = weeks * 168
    x = chance.random(count) * 10
    y = 2 * x + np.arange(count) / 300 + chance.normal(0, 0.5, count)
    at = [START + timedelta(hours=hour) for hour in range(count)]
    return pl.DataFrame({"at": at, "x": x, "y": y}, schema_overrides={"at": pl.Datetime("us", "UTC")})


@pytest.fixture
def make_trials(tmp_path: Path) -> Iterator[Callable[..., Trials]]:
    """Makes a project with stores of its own, which remember nothing."""
    with ExitStack() as stack:

        def make(name: str) -> Trials:
            home = tmp_path / name
            home.mkdir()
            url, objects_url = f"sqlite:///{home / 'flyball.db'}", f"file://{home / 'objects'}"
            database = stack.enter_context(closing(open_with_tables(url)))
            settings = Settings(home=home, database_url=url, objects_url=objects_url)
            return Trials(Workshop(database, open_blobs(objects_url), settings, SystemClock()), home)

        yield make


@pytest.fixture
def trials(make_trials: Callable[..., Trials]) -> Trials:
    return make_trials("one")


def test_a_week_later_only_the_newest_fold_is_trained_and_the_losses_are_the_same(
    trials: Trials, make_trials: Callable[..., Trials]
):
    first = trials.attempt(trials.plan(weeks=9))
    assert (first["trainings"], first["known"], len(trials.trained())) == (12, 0, 12)
    later = trials.attempt(trials.plan(weeks=10))
    assert (later["trainings"], later["known"], len(trials.trained())) == (3, 9, 15)
    assert later["losses"]["14d"][:3] == first["losses"]["14d"][1:]
    elsewhere = make_trials("elsewhere")
    anew = elsewhere.attempt(elsewhere.plan(weeks=10))
    assert anew["trainings"] == 12
    assert {name: anew[name] for name in RESULTS} == {name: later[name] for name in RESULTS}


def test_what_is_known_needs_no_child_and_another_code_is_trained_anew(trials: Trials):
    plan = trials.plan()
    first = trials.attempt(plan)
    again = trials.plan(attempt="again")
    assert trials.attempt(again) == {**first, "trainings": 0, "known": 12}
    assert not list(trials.shop.bench(again.retraining_id).folder.glob("trial-*"))
    trials.write(LINE.replace(MARK, DIARY) + "# a remark\n")
    assert trials.attempt(trials.plan(attempt="code"))["trainings"] == 12
    assert len(trials.trained()) == 24


def test_windows_with_too_few_rows_have_no_loss_and_need_no_training(trials: Trials):
    tried = trials.attempt(trials.plan(weeks=3))
    assert tried["losses"]["28d"][:2] == [None, None]
    assert None not in [tried["losses"]["28d"][3], tried["losses"]["expanding"][3]]
    assert tried["trainings"] == len(trials.trained()) == len(set(trials.trained()))
    assert trials.attempt(trials.plan(weeks=1))["trainings"] == 0


def test_a_kept_loss_that_cant_be_read_is_made_again(trials: Trials):
    first = trials.attempt(trials.plan())
    with trials.shop.database.write() as conn:
        keys = conn.execute(text("select key from step_cache order by key")).scalars().all()
        assert len(keys) == 12
        damages = ["not JSON", "{}", '{"loss": "low"}', "null", f'{{"key": "{keys[0]}", "loss": 0.1}}']
        for key, damage in zip(keys[1:], damages, strict=False):
            conn.execute(text("update step_cache set outputs = :o where key = :k"), {"o": damage, "k": key})
    again = trials.attempt(trials.plan(attempt="again"))
    assert again == {**first, "trainings": len(damages), "known": 12 - len(damages)}


def test_a_training_that_kills_its_process_loses_no_other_one(
    trials: Trials, make_trials: Callable[..., Trials]
):
    trials.write(LINE.replace(MARK, DIARY + KILLED_ONCE))
    plan = trials.plan()
    with pytest.raises(RunOutOfMemory):  # a SIGKILL that nobody here sent
        trials.attempt(plan)
    tried = try_windows(trials.shop, plan)
    assert tried["known"] >= 3
    assert tried["known"] + tried["trainings"] == 12
    assert sorted(Counter(trials.trained()).values()) == [1] * 11 + [2]
    elsewhere = make_trials("elsewhere")
    anew = elsewhere.attempt(elsewhere.plan())
    assert {name: anew[name] for name in RESULTS} == {name: tried[name] for name in RESULTS}


def test_losses_that_training_deletes_are_missed_and_what_is_left_stays_known(trials: Trials):
    # The folder of another child's share is out of reach; its own is not.
    deleting = """    for file in (Path("../trial-0/losses.jsonl"), Path("../trial-1/losses.jsonl")):
        try:
            file.write_bytes(b"")
        except OSError:
            pass
"""
    trials.write(LINE.replace(MARK, DIARY + deleting))
    plan = trials.plan()
    with pytest.raises(StepCrashed, match=r"without the losses of \d+ trainings"):
        trials.attempt(plan)
    with trials.shop.database.read() as conn:
        assert conn.execute(text("select count(*) from step_cache")).scalar() >= 1


def wait_until(reached: Callable[[], bool], what: str) -> None:
    give_up_at = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < give_up_at, f"{what} did not come"
        time.sleep(0.02)


def below(pid: int) -> list[int]:
    """The processes that a process and its children have started."""
    lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    children = [int(child) for child in " ".join(lists).split()]
    return children + [further for child in children for further in below(child)]


def test_killed_between_trainings_a_trial_goes_on_with_what_it_had(
    trials: Trials, make_trials: Callable[..., Trials], child_environment: dict[str, str]
):
    trials.write(LINE.replace(MARK, DIARY + HELD))
    plan, settings = trials.plan(), trials.shop.settings
    hold = Path(f"{trials.diary}.hold")
    hold.touch()
    gather(trials.shop, plan)
    file = settings.home / "plan.json"
    file.write_bytes(msgspec.json.encode(plain(plan)))
    arguments = [str(settings.home), settings.database_url, settings.objects_url, str(file)]
    process = subprocess.Popen([sys.executable, "-c", DRIVER, *arguments], env=child_environment)
    wait_until(lambda: len(trials.trained()) >= 7, "the first trainings")
    processes = [process.pid, *below(process.pid)]
    assert len(processes) > 1
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: not any(map(is_running, processes)), "the end of its children")
    hold.unlink()
    tried = try_windows(trials.shop, plan)
    assert 4 <= tried["known"] < 12
    assert Counter(trials.trained()).most_common(3)[2][1] == 1  # none twice but what was under way
    elsewhere = make_trials("elsewhere")
    anew = elsewhere.attempt(elsewhere.plan())
    assert {name: anew[name] for name in RESULTS} == {name: tried[name] for name in RESULTS}
