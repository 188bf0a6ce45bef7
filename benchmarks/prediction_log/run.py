"""The prediction log: appending a record beside a bare write, folding and reading a week, digesting a snapshot.

Prints wall time and CPU time (median); on a busy machine the CPU time is the one to compare.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from flyball.backends.blobs.store import open_blobs
from flyball.backends.db.database import open_database
from flyball.backends.db.metadata import metadata
from flyball.core.contract import Contract, FeatureRule
from flyball.core.records import LogRecord, OutcomeRecord, PredictionRecord
from flyball.data import ingest
from flyball.data.content import digest_content
from flyball.data.predictions import read_labelled
from flyball.data.segments import SegmentHeader, encode_records, frame, segment_start
from flyball.data.spool import SpoolWriter

WEEKS = 300
HOURS = 168
START = datetime(2020, 1, 1, tzinfo=UTC)
SCHEMA = ingest.LogSchema(
    task="regression", contract=Contract(features={f"f{n}": FeatureRule(type="float") for n in range(12)})
)


def measure(work: Callable[[], Any]) -> tuple[float, float]:
    """Wall and CPU milliseconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3


def show(name: str, times: list[tuple[float, float]]) -> None:
    wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"{name:<58} {wall:8.1f} ms   {cpu:8.1f} ms CPU")


def week_of(number: int, random: Random) -> list[LogRecord]:
    records: list[LogRecord] = []
    for hour in range(HOURS):
        at, now = START + timedelta(hours=number * HOURS + hour), datetime.now(UTC)
        name = f"prd_{random.getrandbits(128):032x}"
        values = {f"f{n}": random.random() for n in range(12)}
        answer = {
            "role": "champion",
            "asked": 1,
            "answered": 1,
            "input": values,
            "output": 1.0,
            "latency_us": 300,
        }
        records.append(PredictionRecord(format=1, id=name, model="bike", at=at, received_at=now, **answer))
        known = {"prediction_id": name, "value": 2.0, "at": at + timedelta(days=1)}
        records.append(OutcomeRecord(format=1, id="o" + name, model="bike", received_at=now, **known))
    return records


def append_beside_write(folder: Path) -> None:
    record, rounds = week_of(0, Random(1))[0], 50_000
    writer = SpoolWriter(folder / "spool", "w")
    descriptor = os.open(folder / "plain", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    data = frame(encode_records([record]))
    appended, written = [], []
    for _ in range(5):
        appended.append(measure(lambda: [writer.append([record]) for _ in range(rounds)])[0] / rounds * 1e3)
        written.append(measure(lambda: [os.write(descriptor, data) for _ in range(rounds)])[0] / rounds * 1e3)
    writer.close()
    print(
        f"append a record of {len(data)} bytes: {min(appended):.2f} µs; a bare write of them: {min(written):.2f} µs"
    )


def fold_and_read(folder: Path, compacting: bool) -> None:
    import flyball.data.log_counts
    import flyball.data.model_time  # noqa: F401 - defines the table that the database fixture makes

    ingest.COMPACT_EVERY = 50 if compacting else 10**9
    database = open_database(f"sqlite:///{folder / 'flyball.db'}")
    with database.write() as conn:
        metadata.create_all(conn)
    blobs, random = open_blobs(f"file://{folder / 'objects'}"), Random(2)
    tables = f"{blobs.url}/tables"
    folds = []
    for number in range(WEEKS):
        header = SegmentHeader(worker="w", sequence=number, created_at=datetime.now(UTC))
        frames = b"".join(frame(encode_records([record])) for record in week_of(number, random))
        blobs.create(f"segments/w-{number:013d}.seg", segment_start(header) + frames)
        work = lambda: ingest.fold(database, blobs, tables, {"bike": SCHEMA}, datetime.now(UTC))  # noqa: E731 - timed as it stands
        folds.append(measure(work))
    start = START + timedelta(weeks=WEEKS // 2)
    week, known_by = timedelta(days=7), start + timedelta(days=9)
    reads = [measure(lambda: read_labelled(tables, "bike", start, start + week, known_by)) for _ in range(20)]
    name = "compacted every 50 commits" if compacting else f"{WEEKS} small files a table"
    show(f"fold a week of predictions and outcomes, {name}", folds[1:])
    show(f"read that week with its outcomes, {name}", reads[1:])
    database.close()


def digest() -> None:
    import numpy as np
    import polars as pl

    random = np.random.default_rng(3)
    columns = {f"c{n}": random.normal(size=20_000) for n in range(14)}
    text = {f"s{n}": random.choice(["north", "south", "east"], 20_000) for n in range(3)}
    rows = pl.DataFrame({**columns, **text})
    show(
        "digest the content of 20,000 rows of 17 columns",
        [measure(lambda: digest_content(rows)) for _ in range(10)],
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        append_beside_write(Path(name))
    for compacting in (True, False):
        with tempfile.TemporaryDirectory() as name:
            fold_and_read(Path(name), compacting)
    digest()
