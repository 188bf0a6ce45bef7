"""The whole loop in one process for stories: bundles answer by the published route table, the log is the real one.

Rows are answered in the order of their event times up to the next moment at which something may be decided; then the
loop turns until it rests. Model servers, HTTP and the controller's thread are left out, everything else is real.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "bike_sharing"
STREAM_START = datetime(2011, 7, 1, tzinfo=UTC)
FEATURES = (
    "season", "mnth", "hr", "holiday", "weekday", "workingday", "weathersit", "temp", "atemp", "hum", "windspeed",
)  # fmt: skip


def bike_rows() -> Any:
    """All rows of the example in time order."""
    import polars as pl

    frame = pl.read_parquet(EXAMPLE / "data" / "bike_sharing_hourly.parquet").sort("ts")
    return frame.with_columns(pl.col("ts").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))


class Loop:
    """A home with one model, its log, and a clock of events."""

    def __init__(
        self, folder: Path, settings: Any, project: Callable[[str], str] = lambda text: text
    ) -> None:
        from flyball.operations.control import open_workshop
        from flyball.operations.opening import open_backends

        self.folder = folder / "project"
        (self.folder / "data").mkdir(parents=True)
        shutil.copy(EXAMPLE / "train.py", self.folder)
        (self.folder / "flyball.toml").write_text(project((EXAMPLE / "flyball.toml").read_text()))
        self.backends = open_backends(settings)
        self.heartbeat, self.engine, self.workshop = open_workshop(self.backends, "test")
        self.heartbeat.start()
        self.engine.launch()
        self.model = "bike-sharing"
        self.served: list[tuple[datetime, float, float, int]] = []
        self._predictors: dict[str, Any] = {}
        self._sequence = 0
        self.seconds: dict[str, float] = {}
        self._untold: Any = None
        self._told = 0

    def close(self) -> None:
        self.engine.shutdown()
        self.heartbeat.stop()
        self.backends.close()

    def train(self, rows: Any) -> int:
        """The first version, from these rows, put into service; its number."""
        from flyball.delivery.start import deploy
        from flyball.governance.actors import local_actor
        from flyball.pipelines.project_file import read_project
        from flyball.pipelines.request import RunRequest
        from flyball.pipelines.run import follow_run, start_run
        from flyball.registry.routes import publish_wanted

        rows.write_parquet(self.folder / "data" / "bike_sharing_hourly.parquet")
        project = read_project(self.folder).project
        request = RunRequest(
            model=self.model, project=project, folder=str(self.folder), actor=local_actor(), why="first"
        )
        result = follow_run(self.workshop, start_run(self.engine, self.workshop, request))
        assert result.state == "registered", result.error
        now = self.backends.clock.now()
        with self.backends.database.write() as conn:
            deploy(
                conn, self.model, result.version, actor=local_actor(), why="first", now=now, model_time=None
            )
        publish_wanted(self.backends.database, self.backends.blobs, now)
        return int(result.version)

    def replay(self, rows: Any, *, chunk: timedelta | None = None) -> None:
        """Answer rows in order, outcomes following a day later; rest at each moment that may decide something.

        chunk: fold at least that often, which must change nothing.
        """
        import polars as pl

        rows = pl.concat([self._untold, rows]) if self._untold is not None else rows
        times = rows["ts"].to_list()
        place, told = (0 if self._untold is None else self._untold.height), 0
        while place < len(times):
            stop = self.next_moment() or times[place] + timedelta(hours=1)
            if chunk is not None:
                stop = min(stop, times[place] + chunk)
            until = max(stop, times[place] + timedelta(microseconds=1))
            part = rows[place:].filter(pl.col("ts") < until)
            if part.height == 0:  # nothing before the moment: the event behind it lets time pass it
                part = rows[place : place + 1]
            self._answer(part)
            place += part.height
            reached = times[place] if place < len(times) else times[-1] + timedelta(hours=1)
            while told < place and times[told] + timedelta(days=1) <= reached:
                told += 1
            self._tell(rows[self._told : told])
            self._told = told
            self.turn(reached)
        self._untold, self._told = rows[told:], 0

    def turn(self, model_now: datetime) -> None:
        """Fold, judge what is due at a model time, and let everything that follows come to rest."""
        from flyball.data.ingest import LogSchema, fold
        from flyball.delivery import candidates
        from flyball.delivery.look import look_all
        from flyball.monitoring.watch import analyse_due
        from flyball.registry.routes import current, publish_wanted
        from flyball.retraining import start, triggers
        from flyball.retraining.due import busy

        database, blobs, url = self.backends.database, self.backends.blobs, self.backends.tables_url
        clock = self.backends.clock
        with database.read() as conn:
            contract = current(conn, self.model).contract
        schema = LogSchema(task="regression", contract=contract)
        self._timed("fold", lambda: fold(database, blobs, url, {self.model: schema}, clock.now()))
        self._timed("watch", lambda: analyse_due(database, blobs, url, self.model, model_now, clock.now()))
        self._timed("look", lambda: look_all(database, blobs, url, {self.model: model_now}, clock.now()))
        began = time.perf_counter()
        while True:
            count = triggers.consume(database, clock)
            count += len(start.start_wanted(database, self.engine, clock))
            count += candidates.consume(database, blobs, clock)
            publish_wanted(database, blobs, clock.now())
            with database.read() as conn:
                if not count and not busy(conn, self.model):
                    break
            if not count:
                time.sleep(0.1)  # a run is under way; asking costs more than the wait
        self.seconds["rest"] = self.seconds.get("rest", 0.0) + time.perf_counter() - began

    def next_moment(self) -> datetime | None:
        """The next moment of model time at which something may be decided."""
        from flyball.delivery import due as delivery_due
        from flyball.monitoring import due as monitoring_due

        with self.backends.database.read() as conn:
            moments = [monitoring_due.next_due(conn, self.model), delivery_due.next_due(conn, self.model)]
        return min((moment for moment in moments if moment is not None), default=None)

    def _timed(self, name: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        try:
            return work()
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

    def _table(self) -> Any:
        from flyball.registry.route_table import find_next

        return find_next(self.backends.blobs, self.model, 0)

    def _predictor(self, bundle: str) -> Any:
        from flyball.registry.bundle import fetch
        from flyball.registry.formats.loading import load_predictor

        if bundle not in self._predictors:
            folder = fetch(bundle, self.backends.blobs, self.backends.settings.cache_folder)
            self._predictors[bundle] = load_predictor(folder)
        return self._predictors[bundle]

    def _answer(self, rows: Any) -> None:
        from flyball.registry.route_table import choose

        table = self._table()
        canary = table.candidate is not None and table.candidate_role == "canary"
        records = []
        for row, at, truth in zip(rows.select(FEATURES).to_dicts(), rows["ts"], rows["cnt"], strict=True):
            key = f"prd_{int(at.timestamp()):032x}"
            role = choose(table, key) if canary else "champion"
            asked = table.champion if role == "champion" else table.candidate
            records.append(self._record(table, key, at, row, role, asked))
            self.served.append((at, records[-1].output, float(truth), asked.number))
            if table.candidate is not None and not canary:
                records.append(self._record(table, key, at, row, "shadow", table.candidate))
        self._log(records)

    def _record(self, table: Any, key: str, at: datetime, row: dict[str, Any], role: str, asked: Any) -> Any:
        from flyball.core.records import PredictionRecord

        (answer,) = self._predictor(asked.bundle).predict_rows([row]).predictions
        return PredictionRecord(
            format=1,
            id=key,
            model=self.model,
            at=at,
            received_at=at,
            role=role,
            asked=asked.number,
            answered=asked.number,
            revision=table.revision,
            input=row,
            output=float(answer),
            latency_us=900,
        )

    def _tell(self, rows: Any) -> None:
        from flyball.core.records import OutcomeRecord

        self._log(
            [
                OutcomeRecord(
                    format=1,
                    id=f"out_{int(at.timestamp()):032x}",
                    model=self.model,
                    value=float(truth),
                    at=at + timedelta(days=1),
                    received_at=self.backends.clock.now(),
                    prediction_id=f"prd_{int(at.timestamp()):032x}",
                )
                for at, truth in zip(rows["ts"], rows["cnt"], strict=True)
            ]
        )

    def _log(self, records: list[Any]) -> None:
        from flyball.data.spool import SpoolWriter, ship

        if not records:
            return
        self._sequence += 1
        spool = self.backends.settings.spool_folder
        writer = SpoolWriter(spool, f"test-{self._sequence:06d}")
        writer.append(records)
        writer.close()
        ship(spool, self.backends.blobs)

    def error(self, start: datetime | None = None) -> float:
        """Mean absolute error of what was served."""
        chosen = [abs(answer - truth) for at, answer, truth, _ in self.served if start is None or at >= start]
        return sum(chosen) / len(chosen)


@contextmanager
def open_loop(folder: Path, project: Callable[[str], str] = lambda text: text) -> Iterator[Loop]:
    """One loop in a home of its own; a function may change the example's project file. One at a time in a process."""
    import flyball
    from flyball.core.settings import read_settings

    source = str(Path(flyball.__file__).parents[1])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = source  # children import the same tree
    loop = Loop(folder, read_settings(folder, {"FLYBALL_HOME": str(folder / "home")}), project)
    try:
        yield loop
    finally:
        loop.close()
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


@pytest.fixture
def make_loop(tmp_path: Path) -> Iterator[Callable[..., Loop]]:
    """Makes one loop: `make_loop()`."""
    with ExitStack() as stack:
        yield lambda project=lambda text: text: stack.enter_context(open_loop(tmp_path, project))


@pytest.fixture(scope="session")
def loop_opener() -> Callable[..., Any]:
    """`with loop_opener(folder) as loop`, for stories that share a replay."""
    return open_loop


@pytest.fixture(scope="session")
def bikes() -> Any:
    """All rows of the example, and a function that cuts out days: `bikes("2012-01-01", "2012-02-01")`."""
    import polars as pl

    frame = bike_rows()

    def cut(start: str, end: str) -> Any:
        begin, until = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (start, end))
        return frame.filter((pl.col("ts") >= begin) & (pl.col("ts") < until))

    return cut
