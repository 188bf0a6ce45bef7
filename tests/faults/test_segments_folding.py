from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flyball.core.contract import Contract, FeatureRule
from flyball.data.fold_memory import FoldMemory
from flyball.data.ingest import LogSchema, fold
from flyball.data.log_counts import get_counts
from flyball.data.predictions import read_labelled, read_predictions

SCHEMA = LogSchema(task="regression", contract=Contract(features={"temp": FeatureRule(type="float")}))

FOLDER = """
import os, signal, sys
from datetime import UTC, datetime
from flyball.backends.blobs.store import open_blobs
from flyball.backends.db.database import open_database
from flyball.core.contract import Contract, FeatureRule
from flyball.data import ingest

database_url, objects_url, point, after = sys.argv[1:]
schema = ingest.LogSchema(task="regression", contract=Contract(features={"temp": FeatureRule(type="float")}))


def die_after(name, calls):
    act = getattr(ingest, name)
    left = [calls]

    def acting(*arguments, **options):
        value = act(*arguments, **options)
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return value

    setattr(ingest, name, acting)


if point != "none":
    die_after(point, int(after))
database, blobs = open_database(database_url), open_blobs(objects_url)
print("ready", flush=True)
while True:
    ingest.fold(database, blobs, objects_url + "/tables", {"bike": schema}, datetime.now(UTC), limit=2)
"""


def start(
    database: Any, blobs: Any, environment: dict[str, str], point: str, after: int = 1
) -> subprocess.Popen[bytes]:
    arguments = [f"sqlite:///{database.path}", blobs.url, point, str(after)]
    return subprocess.Popen(
        [sys.executable, "-c", FOLDER, *arguments], env=environment, stdout=subprocess.PIPE
    )


def finish(database: Any, blobs: Any) -> None:
    while fold(database, blobs, blobs.url + "/tables", {"bike": SCHEMA}, datetime.now(UTC)).segments:
        pass


def check(database: Any, blobs: Any, book: Any, count: int) -> None:
    """Every record is in the tables once, outcomes fit, counts agree, no segment is left."""
    tables, end = blobs.url + "/tables", book.start + timedelta(days=365)
    predictions = read_predictions(tables, "bike", book.start, end)
    assert sorted(predictions["id"].to_list()) == sorted(f"prd_{number}" for number in range(count))
    labelled = read_labelled(tables, "bike", book.start, end, end)
    assert labelled["outcome"].to_list() == labelled["prediction"].to_list()
    with database.read() as conn:
        counts = get_counts(conn, "bike")
    assert (counts.predictions, counts.outcomes, counts.pending, counts.duplicates) == (count, count, 0, 0)
    assert blobs.list("segments") == []


def raw_ids(blobs: Any) -> list[str]:
    """Ids in the table itself, as no reader's deduplication has touched them."""
    from flyball.backends.tables.delta import scan

    return [
        str(name) for name in scan(blobs.url + "/tables/predictions/bike/g1").select("id").collect()["id"]
    ]


@pytest.mark.parametrize(
    ("point", "after"),
    [
        ("plan_batch", 1),
        ("predictions_frame", 1),
        ("_commit", 1),
        ("_commit", 2),
        ("settle_batch", 1),
        ("_settle", 1),
        ("_delete", 1),
        ("_delete", 2),
        ("_commit", 3),
        ("_settle", 2),
    ],
)
def test_killed_at_a_step_and_started_again_each_record_is_folded_once(
    point: str,
    after: int,
    sqlite_database: Any,
    file_blobs: Any,
    log_book: Any,
    child_environment: dict[str, str],
):
    for segment in range(5):
        numbers = range(segment * 4, segment * 4 + 4)
        log_book.ship(
            file_blobs,
            [log_book.prediction(number) for number in numbers]
            + [log_book.outcome(number, float(number)) for number in numbers],
        )
    child = start(sqlite_database, file_blobs, child_environment, point, after)
    assert child.wait(timeout=60) == -signal.SIGKILL

    finish(sqlite_database, file_blobs)

    check(sqlite_database, file_blobs, log_book, 20)
    assert len(raw_ids(file_blobs)) == 20


def test_killed_at_random_moments_under_load_each_record_is_folded_once(
    sqlite_database: Any, file_blobs: Any, log_book: Any, child_environment: dict[str, str]
):
    seed = random.Random(5)
    count = 0
    for _ in range(5):
        child = start(sqlite_database, file_blobs, child_environment, "none")
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        until = time.monotonic() + seed.uniform(0.05, 0.7)
        while time.monotonic() < until:
            records = [log_book.prediction(count), log_book.outcome(count, float(count))]
            log_book.ship(file_blobs, records, worker=f"w{count % 3}")
            count += 1
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
    finish(sqlite_database, file_blobs)

    assert count > 50
    check(sqlite_database, file_blobs, log_book, count)
    assert len(raw_ids(file_blobs)) == count


def test_two_folders_at_once_fold_each_segment_once(
    sqlite_database: Any, file_blobs: Any, log_book: Any, child_environment: dict[str, str]
):
    children = [start(sqlite_database, file_blobs, child_environment, "none") for _ in range(2)]
    for child in children:
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
    for number in range(60):
        log_book.ship(file_blobs, [log_book.prediction(number), log_book.outcome(number, float(number))])
        time.sleep(0.01)
    deadline = time.monotonic() + 60
    while file_blobs.list("segments") and time.monotonic() < deadline:
        time.sleep(0.05)
    ended = [child.poll() for child in children]
    for child in children:
        child.kill()
        child.wait()
    finish(sqlite_database, file_blobs)

    assert ended == [None, None]
    check(sqlite_database, file_blobs, log_book, 60)
    assert len(raw_ids(file_blobs)) == 60


def test_a_folder_that_is_overtaken_while_it_reads_folds_nothing_twice(
    sqlite_database: Any, file_blobs: Any, log_book: Any
):
    tables, now = file_blobs.url + "/tables", datetime.now(UTC)
    for number in range(3):
        log_book.ship(file_blobs, [log_book.prediction(number), log_book.outcome(number, float(number))])
    file_blobs.create("segments/s-9-0000000000009.seg", b"no segment")
    quicker, slower = FoldMemory(tables), FoldMemory(tables)

    class Overtaken:
        """The same store, except that another folder does all its work while a segment is being read."""

        def __getattr__(self, name: str) -> Any:
            return getattr(file_blobs, name)

        def find(self, key: str) -> Any:
            data = file_blobs.find(key)
            fold(sqlite_database, file_blobs, tables, {"bike": SCHEMA}, now, memory=quicker)
            return data

    report = fold(sqlite_database, Overtaken(), tables, {"bike": SCHEMA}, now, memory=slower)

    assert (report.segments, report.unreadable) == (0, ["s-9-0000000000009"])
    file_blobs.delete("segments/s-9-0000000000009.seg")
    log_book.ship(file_blobs, [log_book.prediction(3), log_book.outcome(3, 3.0)])
    fold(sqlite_database, file_blobs, tables, {"bike": SCHEMA}, now, memory=slower)
    check(sqlite_database, file_blobs, log_book, 4)
    assert len(raw_ids(file_blobs)) == 4


def test_a_segment_that_vanished_before_it_was_folded_is_told(
    sqlite_database: Any, file_blobs: Any, log_book: Any, child_environment: dict[str, str]
):
    from flyball.data.segment_book import list_unreadable

    keys = [log_book.ship(file_blobs, [log_book.prediction(number)]) for number in range(2)]
    assert (
        start(sqlite_database, file_blobs, child_environment, "plan_batch").wait(timeout=60)
        == -signal.SIGKILL
    )
    # The plan died with its transaction: nothing was lost by it. Now one that was planned and then removed.
    assert (
        start(sqlite_database, file_blobs, child_environment, "predictions_frame").wait(timeout=60)
        == -signal.SIGKILL
    )
    file_blobs.delete(keys[1])

    report = fold(
        sqlite_database, file_blobs, file_blobs.url + "/tables", {"bike": SCHEMA}, datetime.now(UTC)
    )

    name = keys[1].removeprefix("segments/").removesuffix(".seg")
    assert (report.segments, report.missing) == (1, [name])
    with sqlite_database.read() as conn:
        assert list_unreadable(conn) == [name]
