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


def a_retraining(at: datetime, **fields: Any) -> Any:
    """A retraining of version 1 that a signal asked for at a moment, and that has done nothing yet but for `fields`."""
    from flyball.retraining.retrainings import Retraining

    given: dict[str, Any] = {
        "id": "rtn_1",
        "model": MODEL,
        "signal_id": None,
        "incident_id": None,
        "state": "running",
        "decided_at": at,
        "rows_until": at,
        "champion": 1,
        "data_choice": {},
        "root_snapshot": None,
        "snapshot": None,
        "run_id": None,
        "version": None,
        "rollout_id": None,
        "because": "a confirmed performance signal; cause: concept-drift",
        "result": None,
        "actor": "retraining policy",
        "created_at": at,
        "finished_at": None,
    }
    return Retraining(**{**given, **fields})


class LoopHome:
    """A database with versions of one model in it, and their files."""

    def __init__(self, database: Any, blobs: Any) -> None:
        self.database = database
        self.blobs = blobs
        self.now = datetime(2026, 11, 21, 12, tzinfo=UTC)

    def tick(self, **duration: float) -> datetime:
        """Let wall time pass; the new moment."""
        self.now += timedelta(**duration)
        return self.now

    def register(
        self, project: Project | None = None, *, state: str = "registered", digest: str | None = None
    ) -> int:
        """A further version; its number."""
        from flyball_tests_control import store_bundle

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
                    digest=digest or store_bundle(self.blobs, MODEL, count),
                    state=state,
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

    def open_change(self, at: datetime) -> str:
        """Open an incident of a change at a moment of model time; its id."""
        from flyball.core.clock import isoformat
        from flyball.monitoring.incidents import open_incident

        with self.database.write() as conn:
            return open_incident(
                conn,
                model=MODEL,
                problem="change",
                cause="concept-drift",
                title="error grew",
                hold=False,
                facts={"since": isoformat(at)},
                at=at,
                now=self.now,
            ).id


@pytest.fixture
def loop_home(database: Any, file_blobs: Any) -> LoopHome:
    """A home on each database, with a model's tables and no version yet."""
    return LoopHome(database, file_blobs)


@pytest.fixture
def quick_loop_home(sqlite_database: Any, file_blobs: Any) -> LoopHome:
    """The same on SQLite only."""
    return LoopHome(sqlite_database, file_blobs)


@pytest.fixture
def loop_project() -> Callable[..., Project]:
    """Makes projects: `loop_project(retrain={"cooldown": "7d"})`."""
    return make_project


class Town:
    """A small world whose rentals follow hour and warmth: training rows, live weeks, and a version's standard.

    The version answers `100 + 5 * warmth + 3 * hour`; the world agrees but for noise, until it is told otherwise.
    """

    def __init__(self, seed: int = 7) -> None:
        import numpy as np

        self.random = np.random.default_rng(seed)

    def week(
        self,
        start: datetime,
        *,
        shift: float = 0.0,
        warmth_factor: float = 1.0,
        warmer: float = 0.0,
        version: int = 1,
        known_after: timedelta = timedelta(days=1),
    ) -> Any:
        """168 hourly rows as `read_labelled` gives them. shift: added to the outcomes only."""
        import numpy as np
        import polars as pl

        hours = np.arange(168)
        warmth = 12 + warmer + 6 * np.sin(2 * np.pi * hours / 24) + self.random.normal(0, 2, 168)
        truth = 100 + 5 * warmth + 3 * (hours % 24) + self.random.normal(0, 10, 168) + shift
        logged = warmth * warmth_factor
        answers = 100 + 5 * logged + 3 * (hours % 24)
        at = [start + timedelta(hours=int(hour)) for hour in hours]
        return pl.DataFrame(
            {
                "id": [f"prd_{start:%Y%m%d}{hour:03d}" for hour in hours],
                "at": at,
                "received_at": at,
                "role": ["champion"] * 168,
                "asked": [version] * 168,
                "answered": [version] * 168,
                "prediction": answers,
                "flags": [[] for _ in hours],
                "error": [None] * 168,
                "latency_us": self.random.integers(500, 2000, 168),
                "x.warmth": logged,
                "x.hour": hours % 24,
                "outcome": truth,
                "known_at": [moment + known_after for moment in at],
            },
            schema_overrides={
                "at": pl.Datetime("us", "UTC"),
                "received_at": pl.Datetime("us", "UTC"),
                "known_at": pl.Datetime("us", "UTC"),
                "flags": pl.List(pl.String),
                "error": pl.String,
            },
        )

    def standard(self, weeks: int = 26, *, warmer: float = 0.0) -> Any:
        """What a version trained on that many weeks before BEGIN is held to."""
        import polars as pl

        from flyball.core.contract import Contract, FeatureRule
        from flyball.data.profiles import columns_of
        from flyball.judge.causes.residuals import fit_expected_loss
        from flyball.judge.drift.performance import performance_reference
        from flyball.judge.drift.profile import fit_reference, summarise
        from flyball.monitoring.answers import row_harms, shape_of
        from flyball.monitoring.reference import (
            MonitorReference,
            ReferenceWindow,
            Standard,
            score_inputs,
            score_predictions,
        )

        starts = [BEGIN - timedelta(days=7 * (weeks - week)) for week in range(weeks)]
        parts = [self.week(start, warmer=warmer) for start in starts]
        rows = pl.concat(parts)
        shape = shape_of("regression", "mae", None, None)
        kinds = dict.fromkeys(("warmth", "hour"), "numeric")
        losses = row_harms(rows, shape)
        inputs = fit_reference(columns_of(rows, kinds, prefix="x."), kinds)
        answers = fit_reference({"prediction": rows["prediction"].to_numpy()}, {"prediction": "numeric"})
        reference = MonitorReference(
            format=1,
            task="regression",
            loss="mae",
            rows=rows.height,
            inputs=inputs,
            predictions=answers,
            performance=performance_reference(losses, rows["at"].dt.truncate("1w").dt.epoch("s").to_numpy()),
            expected=fit_expected_loss(rows["outcome"].to_numpy(), rows["prediction"].to_numpy()),
            windows=[
                ReferenceWindow(
                    start=start,
                    end=start + timedelta(days=7),
                    rows=part.height,
                    loss=float(row_harms(part, shape).mean()),
                    inputs=summarise(inputs, columns_of(part, kinds, prefix="x.")),
                    predictions=summarise(answers, {"prediction": part["prediction"].to_numpy()}),
                )
                for start, part in zip(starts, parts, strict=True)
            ],
        )
        rules = {name: FeatureRule(type="float") for name in kinds}
        return Standard(
            digest=digest_bytes(b"bundle 0"),
            shape=shape,
            contract=Contract(features=rules),
            reference=reference,
            input_scores=[score_inputs(reference, window.inputs) for window in reference.windows],
            prediction_scores=[
                score_predictions(reference, window.predictions) for window in reference.windows
            ],
        )


class Watcher:
    """Judges weeks one after the other and keeps what is found, as the watch does."""

    def __init__(self, home: LoopHome, project: Project, standards: dict[int, Any]) -> None:
        from flyball.monitoring.plan import plan_of

        self.home, self.plan, self.standards = home, plan_of(project), standards
        self.week = 0

    def see(self, frame: Any, parts: tuple[str, ...] = ("whole", "inputs", "outcomes")) -> list[Any]:
        """The signals that the next week raises; with `parts`, what those looks at it do."""
        from flyball.monitoring.plan import list_looks

        start = BEGIN + timedelta(days=7 * self.week)
        self.week += 1
        return [
            signal
            for look in list_looks(self.plan, start)
            if look.part in parts
            for signal in self._look(look, frame)
        ]

    def _look(self, look: Any, frame: Any) -> list[Any]:
        from flyball.monitoring.incidents import find_open_incident
        from flyball.monitoring.judgement import Past, judge_window
        from flyball.monitoring.measure import champion_of, measure_window
        from flyball.monitoring.raising import PROBLEMS, commit_look, since_of
        from flyball.monitoring.windows import list_windows

        if look.part == "inputs":
            frame = frame.drop("outcome", "known_at")
        version = champion_of(frame)
        standard = self.standards.get(version)
        with self.home.database.read() as conn:
            opened = {name: since_of(find_open_incident(conn, MODEL, name)) for name in PROBLEMS}
            past = Past(
                first_inputs=self.standards[1].reference.inputs.summary,
                windows=list_windows(conn, MODEL, before=look.start),
                since={name: since for name, since in opened.items() if since is not None},
            )
        measure = measure_window(frame, version, standard)
        judged = judge_window(look, self.plan, measure, standard, past)
        with self.home.database.write() as conn:
            return commit_look(conn, look, self.plan, measure, judged, self.home.tick(seconds=1))

    @property
    def start(self) -> datetime:
        """Where the next week begins."""
        return BEGIN + timedelta(days=7 * self.week)


@pytest.fixture
def town() -> Town:
    """A small world, always the same."""
    return Town()


@pytest.fixture
def make_watcher(loop_project: Callable[..., Project]) -> Callable[..., Watcher]:
    """Makes watchers: `make_watcher(home, {1: standard})`."""

    def make(home: LoopHome, standards: dict[int, Any], **sections: Any) -> Watcher:
        return Watcher(home, loop_project(**sections), standards)

    return make
