from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from flyball.core.contract import Contract, FeatureRule
from flyball.core.errors import BadInput
from flyball.core.project import DataSection, LogSection, ModelSection
from flyball.data.ingest import LogSchema, fold
from flyball.data.snapshots import take_snapshot
from flyball.retraining.rows import AT, HARM, INNER, KNOWN_AT, RowsTask, gather_rows, snapshot_rows

DAY = timedelta(days=1)
CONTRACT = Contract(features={"temp": FeatureRule(type="float"), "hour": FeatureRule(type="int")})


class Home:
    """A log of one model and a first snapshot, in real stores."""

    def __init__(self, database, blobs, tables_url, book) -> None:
        self.database, self.blobs, self.tables_url, self.book = database, blobs, tables_url, book

    def log(self, *records) -> None:
        self.book.ship(self.blobs, list(records))
        schema = LogSchema(task="regression", contract=CONTRACT)
        fold(self.database, self.blobs, self.tables_url, {"bike": schema}, self.book.start + 500 * DAY)

    def first_rows(self, hours: range, **columns) -> str:
        """A snapshot of source rows whose event times are so many hours after the log's start."""
        frame = pl.DataFrame(
            {
                "ts": [self.book.start + timedelta(hours=hour) for hour in hours],
                "temp": [hour / 10 for hour in hours],
                "hour": [hour % 24 for hour in hours],
                "cnt": [100 + hour for hour in hours],
                "note": ["source"] * len(hours),
                **columns,
            },
            schema_overrides={"temp": pl.Float32, "hour": pl.Int8, "cnt": pl.Int16, "ts": pl.Datetime("us")},
        )
        return take_snapshot(frame, source="rows.parquet", blobs=self.blobs, now=self.book.start).digest

    def gather(self, snapshot: str = "", **changes):
        start = self.book.start
        given = {
            "origin": "both",
            "model": ModelSection(name="bike", task="regression", target="cnt", time="ts"),
            "data": DataSection(source="rows.parquet", exclude=["note"], outcome_delay="1d"),
            "log": LogSection(),
            "features": ["temp", "hour"],
            "has_train_steps": False,
            "root_snapshot": snapshot,
            "folder": None,
            "champion": 1,
            "classes": None,
            "positive": None,
            "decided_at": start + 8 * DAY,
            "rows_until": start + 7 * DAY,
            "outcome_delay_seconds": 86_400.0,
            "held": [],
        }
        return gather_rows(RowsTask(**{**given, **changes}), self.blobs, self.tables_url)


@pytest.fixture
def home(sqlite_database, file_blobs, tmp_path, log_book) -> Home:
    return Home(sqlite_database, file_blobs, f"file://{tmp_path / 'tables'}", log_book)


def test_source_and_log_become_one_table_of_the_sources_types_in_the_order_of_time(home):
    snapshot = home.first_rows(range(-48, 0))
    home.log(
        *[home.book.prediction(n) for n in range(24)], *[home.book.outcome(n, 50.0 + n) for n in range(24)]
    )
    rows, facts = home.gather(snapshot)
    assert (facts["source_rows"], facts["logged_rows"], facts["rows"]) == (48, 24, 72)
    kept = snapshot_rows(rows)
    assert kept.schema["temp"] == pl.Float32
    assert kept.schema["hour"] == pl.Int8
    assert kept.schema["cnt"] == pl.Int16
    assert kept.columns == ["ts", "temp", "hour", "cnt", "note"]
    assert kept["ts"].is_sorted()
    assert kept["cnt"].to_list()[-3:] == [71, 72, 73]
    assert kept["note"].null_count() == 24


def test_only_what_was_known_then_and_only_windows_that_were_judged(home):
    book = home.book
    numbers = range(0, 9 * 24, 6)
    home.log(*[book.prediction(n) for n in numbers], *[book.outcome(n) for n in numbers])
    late = book.prediction(1, at=book.start + timedelta(hours=1))
    home.log(late, book.outcome(1, at=book.start + 8 * DAY + timedelta(seconds=1)))
    rows, facts = home.gather(origin="log")
    assert rows[KNOWN_AT].max() <= book.start + 8 * DAY
    assert rows[AT].max() < book.start + 7 * DAY
    assert rows.height == 28
    assert facts["latest_outcome_known_at"] == "2026-03-08T18:00:00Z"
    later, _ = home.gather(origin="log", decided_at=book.start + 10 * DAY)
    assert later.height == 29


def test_rows_of_broken_windows_are_left_out_and_counted(home):
    book = home.book
    home.log(*[book.prediction(n) for n in range(96)], *[book.outcome(n) for n in range(96)])
    held = [(book.start + DAY, book.start + 2 * DAY)]
    rows, facts = home.gather(origin="log", held=held)
    assert (rows.height, facts["held_rows"]) == (72, 24)
    assert rows.filter((pl.col(AT) >= held[0][0]) & (pl.col(AT) < held[0][1])).height == 0
    assert any("broken data" in note for note in facts["notes"])


def test_a_row_that_the_source_holds_already_is_not_taken_from_the_log_again(home):
    snapshot = home.first_rows(range(-24, 12))
    home.log(*[home.book.prediction(n) for n in range(24)], *[home.book.outcome(n) for n in range(24)])
    rows, facts = home.gather(snapshot)
    assert facts["logged_rows"] == 12
    assert rows[AT].n_unique() == rows.height == 48
    assert any("12 logged rows are in the source already" in note for note in facts["notes"])


def test_entities_at_the_same_moment_are_different_rows(home):
    book = home.book
    home.log(
        *[
            book.prediction(n, at=book.start, entity=f"e{n}", input={"temp": 1.0, "hour": 1})
            for n in range(5)
        ],
        *[book.outcome(n, at=book.start + DAY) for n in range(5)],
    )
    snapshot = home.first_rows(range(1), station=["e0"], temp=[1.0], hour=[1])
    model = ModelSection(name="bike", task="regression", target="cnt", time="ts", entity="station")
    rows, _ = home.gather(snapshot, model=model)
    assert sorted(rows["station"].to_list()) == ["e0", "e1", "e2", "e3", "e4"]


def test_the_champions_own_answers_say_how_well_it_did_in_whatever_role_it_gave_them(home):
    book = home.book
    home.log(
        book.prediction(0, output=90.0),
        book.prediction(1, output=1.0, asked=2, answered=2),
        book.prediction(1, output=80.0, role="shadow"),
        book.prediction(2, output=1.0, asked=2, answered=2),
        *[book.outcome(n, 100.0) for n in range(3)],
    )
    rows, _ = home.gather(origin="log")
    assert rows[HARM].to_list() == [10.0, 20.0, None]


def test_requests_that_were_refused_or_never_got_an_outcome_do_not_train(home):
    book = home.book
    home.log(
        book.prediction(0, error="rejected", answered=None, output=None),
        book.prediction(1, error="timeout: slow", answered=1),
        book.prediction(2),
        book.outcome(0),
        book.outcome(1),
    )
    rows, _ = home.gather(origin="log")
    assert rows.height == 1


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (LogSection(drop=["temp"]), "lacks temp"),
        (LogSection(hash=["hour"]), "lacks hour"),
        (LogSection(sample=0.5), "50%"),
        (LogSection(durability="none"), "nothing is logged"),
    ],
)
def test_a_log_that_is_not_whole_is_refused_where_nothing_else_was_asked_for(home, log, words):
    home.log(home.book.prediction(0), home.book.outcome(0))
    with pytest.raises(BadInput, match=words):
        home.gather(origin="log", log=log)


def test_beside_the_source_a_log_that_lacks_a_feature_is_left_out_and_said_so(home):
    snapshot = home.first_rows(range(-24, 0))
    home.log(home.book.prediction(0), home.book.outcome(0))
    rows, facts = home.gather(snapshot, log=LogSection(drop=["temp"]))
    assert rows.height == 24
    assert any("lacks temp" in note for note in facts["notes"])


def test_the_source_read_again_stops_at_the_models_time(home, tmp_path):
    frame = pl.DataFrame(
        {
            "ts": [home.book.start + timedelta(hours=hour) for hour in range(0, 240, 12)],
            "temp": 1.0,
            "hour": 2,
            "cnt": 3,
            "note": "now",
        }
    )
    frame.write_parquet(tmp_path / "rows.parquet")
    rows, facts = home.gather(origin="source", folder=str(tmp_path))
    assert rows[AT].max() < home.book.start + 7 * DAY
    assert facts["rows"] == 14


def test_nothing_known_is_an_error_that_says_so(home):
    with pytest.raises(BadInput, match="nothing to train bike on"):
        home.gather(origin="log")


def test_rows_without_any_excluded_column_still_have_what_the_project_file_names(home):
    home.log(home.book.prediction(0), home.book.outcome(0))
    rows, _ = home.gather(origin="log")
    assert set(rows.columns) - set(INNER) == {"cnt", "temp", "hour", "ts", "note"}
