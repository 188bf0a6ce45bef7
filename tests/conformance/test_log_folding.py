from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from flyball.core.contract import Contract, FeatureRule
from flyball.data.ingest import LogSchema, fold
from flyball.data.log_counts import get_counts
from flyball.data.model_time import find_clock
from flyball.data.predictions import (
    find_prediction,
    read_labelled,
    read_outcomes,
    read_predictions,
)
from flyball.data.segment_book import list_unreadable

CONTRACT = Contract(features={"temp": FeatureRule(type="float"), "hour": FeatureRule(type="int")})
MODELS = {"bike": LogSchema(task="regression", contract=CONTRACT)}
WALL = datetime.fromisoformat("2027-06-01T00:00:00+00:00")


class Place:
    """A database, an object store and tables in it, and what a test asks of them."""

    def __init__(self, database: Any, blobs: Any, book: Any) -> None:
        self.database, self.blobs, self.book = database, blobs, book
        self.tables_url = blobs.url.rstrip("/") + "/tables"
        self.start: datetime = book.start
        self.end = self.start + timedelta(days=365)

    def ship(self, *records: Any) -> None:
        self.book.ship(self.blobs, list(records))

    def fold(self, models: Any = MODELS, **options: Any) -> Any:
        return fold(self.database, self.blobs, self.tables_url, models, WALL, **options)

    def counts(self, model: str = "bike") -> Any:
        with self.database.read() as conn:
            return get_counts(conn, model)

    def clock(self) -> Any:
        with self.database.read() as conn:
            return find_clock(conn, "bike")

    def predictions(self, **options: Any) -> pl.DataFrame:
        return read_predictions(self.tables_url, "bike", self.start, self.end, **options)

    def labelled(self, known_by: datetime | None = None, **options: Any) -> pl.DataFrame:
        return read_labelled(self.tables_url, "bike", self.start, self.end, known_by or self.end, **options)


@pytest.fixture
def every_place(database: Any, blobs: Any, log_book: Any) -> Place:
    return Place(database, blobs, log_book)


@pytest.fixture
def place(sqlite_database: Any, file_blobs: Any, log_book: Any) -> Place:
    return Place(sqlite_database, file_blobs, log_book)


def test_shipped_records_are_read_back_once_with_counts_and_clock(every_place: Place):
    place, book = every_place, every_place.book
    place.ship(*(book.prediction(number) for number in range(20)), book.outcome(3, 4.5))
    place.ship(
        book.prediction(4),
        book.prediction(20, role="shadow"),
        book.prediction(21, answered=None, error="boom"),
    )

    report = place.fold()

    assert (report.segments, report.records) == (2, 24)
    read = place.predictions()
    assert read["id"].to_list() == [f"prd_{number}" for number in range(22)]
    assert read["x.temp"].to_list()[:3] == [0.0, 0.1, 0.2]
    assert read["prediction"].to_list()[:3] == [0.0, 1.0, 2.0]
    counts = place.counts()
    assert (counts.predictions, counts.shadows, counts.failures, counts.duplicates) == (20, 1, 1, 1)
    assert (counts.outcomes, counts.pending, counts.conflicts) == (1, 0, 0)
    assert place.clock().highest_event_at == book.prediction(21).at
    assert place.labelled().filter(pl.col("outcome").is_not_null())["id"].to_list() == ["prd_3"]
    assert place.blobs.list("segments") == []


def test_a_fold_without_segments_changes_nothing(every_place: Place):
    every_place.ship(every_place.book.prediction(1))
    every_place.fold()
    before = every_place.counts()

    assert every_place.fold().segments == 0
    assert every_place.counts() == before


def test_a_retry_in_a_later_segment_is_left_out_and_another_input_under_its_id_is_a_conflict(
    every_place: Place,
):
    place, book = every_place, every_place.book
    place.ship(book.prediction(1))
    place.fold()
    place.ship(
        book.prediction(1, received_at=book.prediction(9).received_at, output=8.0),
        book.prediction(1, input={"temp": 99.0, "hour": 1}, at=book.prediction(5).at),
    )

    report = place.fold()

    assert (report.models["bike"].duplicates, report.models["bike"].conflicts) == (1, 1)
    assert place.predictions()["prediction"].to_list() == [1.0]
    _, conflict = find_prediction(place.tables_url, "bike", "prd_1")
    assert conflict.conflict and conflict.input["temp"] == 99.0
    assert place.counts().predictions == 1


def test_the_same_segment_shipped_again_after_it_was_folded_adds_nothing(place: Place):
    key = place.book.ship(place.blobs, [place.book.prediction(1), place.book.outcome(1)])
    data = place.blobs.get(key)
    place.fold()
    place.blobs.create(key, data)

    assert place.fold().segments == 0
    assert place.blobs.list("segments") == []
    assert len(place.predictions()) == 1


def test_an_outcome_for_an_unknown_prediction_is_pending_until_the_prediction_comes(place: Place):
    place.ship(place.book.outcome(1, 7.0), place.book.outcome(2, 8.0))
    place.fold()
    assert (place.counts().outcomes, place.counts().pending) == (2, 2)

    place.ship(place.book.prediction(1))
    place.fold()

    assert (place.counts().outcomes, place.counts().pending) == (2, 1)
    assert place.labelled()["outcome"].to_list() == [7.0]


def test_outcomes_find_their_prediction_by_entity_and_time(place: Place):
    book = place.book
    when = book.prediction(1).at
    place.ship(
        book.prediction(1, entity="e1"), book.prediction(2, entity="e1"), book.prediction(3, entity="e2")
    )
    place.ship(
        book.outcome(1, 5.0, prediction_id=None, entity="e1", time=when),
        book.outcome(9, 6.0, prediction_id=None, entity="e9", time=when),
    )
    place.fold()

    assert place.labelled()["outcome"].to_list() == [5.0, None, None]
    assert (place.counts().outcomes, place.counts().pending) == (2, 1)


def test_the_last_outcome_received_holds_among_those_known_by_then(place: Place):
    book = place.book
    first, second = book.outcome(1, 5.0), book.outcome(1, 6.0, at=book.start + timedelta(days=9))
    second.received_at += timedelta(days=1)
    place.ship(book.prediction(1), second, first)
    place.fold()

    assert place.labelled()["outcome"].to_list() == [6.0]
    assert place.labelled(book.start + timedelta(days=8))["outcome"].to_list() == [5.0]
    assert place.labelled(book.start)["outcome"].to_list() == [None]
    assert place.counts().outcomes == 1
    assert len(read_outcomes(place.tables_url, "bike", known_by=place.end)) == 1


def test_readers_choose_times_roles_and_features(place: Place):
    book = place.book
    place.ship(
        *(book.prediction(number) for number in range(10)), book.prediction(3, role="shadow", output=1.0)
    )
    place.fold()

    window = read_predictions(
        place.tables_url,
        "bike",
        book.prediction(2).at,
        book.prediction(5).at,
        roles=["champion"],
        features=["hour"],
    )

    assert window["id"].to_list() == ["prd_2", "prd_3", "prd_4"]
    assert [name for name in window.columns if name.startswith("x.")] == ["x.hour"]
    assert place.predictions(roles=["shadow"])["id"].to_list() == ["prd_3"]
    assert len(place.labelled(roles=["champion"], inner=True)) == 0


def test_nothing_folded_reads_as_empty_tables(place: Place):
    assert place.predictions().is_empty()
    assert place.labelled().is_empty()
    assert place.counts().predictions == 0
    assert place.clock() is None
    assert find_prediction(place.tables_url, "bike", "prd_1") == []


def test_a_new_contract_begins_a_generation_and_readers_see_both(place: Place):
    wider = Contract(features={"temp": FeatureRule(type="int"), "Wind (m/s)": FeatureRule(type="float")})
    place.ship(place.book.prediction(1))
    place.fold()
    place.ship(place.book.prediction(2, input={"temp": 4, "Wind (m/s)": 2.5}))
    place.fold({"bike": LogSchema(task="regression", contract=wider)})
    place.ship(place.book.prediction(3))
    place.fold()

    read = place.predictions()

    assert read["x.temp"].to_list() == [0.1, 4.0, 0.3]
    assert read["x.Wind (m/s)"].to_list() == [None, 2.5, None]
    assert read["x.hour"].to_list() == [1, None, 3]
    place.ship(place.book.prediction(1))
    assert place.fold().models["bike"].duplicates == 1


def test_records_of_a_model_nobody_knows_are_kept_whole(place: Place):
    place.ship(place.book.prediction(1, model="stray"), place.book.outcome(1, model="stray"))
    place.fold()

    (found,) = find_prediction(place.tables_url, "stray", "prd_1")
    assert found.input == {"temp": 0.1, "hour": 1}
    assert (found.prediction, found.outcome) == ("1", "1")


def test_one_prediction_is_found_with_its_input_as_it_came_its_shadow_and_its_outcome(place: Place):
    book = place.book
    place.ship(
        book.prediction(1, input={"temp": "hot", "hour": 1, "new": [1]}, flags=["type:temp"], entity="e"),
        book.prediction(1, role="shadow", asked=2, answered=2, output=3.0, input={"temp": "hot", "hour": 1}),
        book.prediction(1, input={"temp": 5.0}),
        book.outcome(1, 2.5),
    )
    place.fold()

    answer, shadow, conflict = find_prediction(place.tables_url, "bike", "prd_1")

    assert answer.input == {"temp": "hot", "hour": 1, "new": [1]}
    assert (answer.flags, answer.entity, answer.outcome, answer.conflict) == (["type:temp"], "e", 2.5, False)
    assert (shadow.role, shadow.asked, shadow.prediction, shadow.outcome) == ("shadow", 2, 3.0, 2.5)
    assert (conflict.conflict, conflict.input) == (True, {"temp": 5.0})
    assert len(place.predictions(roles=["champion"])) == 1


def test_a_torn_tail_and_a_damaged_frame_are_reported_and_the_rest_is_folded(place: Place):
    data = bytearray(place.book.segment([place.book.prediction(number) for number in range(5)]))
    whole = len(place.book.segment([place.book.prediction(number) for number in range(2)]))
    data[whole + 30] ^= 1
    place.blobs.create("segments/s-1-1.seg", bytes(data[:-3]))

    report = place.fold()

    assert report.damaged_frames == 1
    assert report.torn_bytes > 0
    assert place.predictions()["id"].to_list() == ["prd_0", "prd_1", "prd_3"]


def test_an_object_that_is_no_segment_is_noted_stays_and_holds_nothing_up(place: Place):
    place.blobs.create("segments/s-1-1.seg", b"not a segment")
    place.blobs.create(
        "segments/s-1-2.seg", place.book.segment([place.book.prediction(1, model="../../etc")])
    )
    place.ship(place.book.prediction(1))

    report = place.fold()

    assert report.unreadable == ["s-1-1", "s-1-2"]
    assert len(place.predictions()) == 1
    assert place.fold().unreadable == []
    with place.database.read() as conn:
        assert list_unreadable(conn) == ["s-1-1", "s-1-2"]
    assert place.blobs.list("segments") == ["segments/s-1-1.seg", "segments/s-1-2.seg"]


def test_records_of_a_newer_format_wait_for_a_newer_program(place: Place):
    newer = place.book.prediction(1)
    newer.format = 2
    place.ship(newer)

    report = place.fold()

    assert report.skipped == ["s-1-0000000000001"]
    assert len(place.blobs.list("segments")) == 1
    assert place.predictions().is_empty()


def test_folding_goes_on_in_portions_oldest_segments_first(place: Place):
    for number in range(7):
        place.book.ship(place.blobs, [place.book.prediction(number)], worker=f"w{9 - number}")

    assert [place.fold(limit=3).segments for _ in range(4)] == [3, 3, 1, 0]
    assert len(place.predictions()) == 7


def test_a_large_log_is_counted_as_exactly_as_a_small_one(place: Place, monkeypatch: pytest.MonkeyPatch):
    for module in ("log_keys", "fold_memory"):
        monkeypatch.setattr(f"flyball.data.{module}.MOST_KEYS", 10)
    book = place.book
    when = book.prediction(30).at
    for start in range(0, 40, 10):
        place.ship(
            *(book.prediction(number, entity="e") for number in range(start, start + 10)),
            book.prediction(max(start - 5, 0), entity="e"),
            book.prediction(start // 2, input={"temp": -1.0}),
            book.outcome(start),
            book.outcome(start + 15),
            book.outcome(start, 2.0),
        )
        place.fold()
    place.ship(book.outcome(1, 3.0, prediction_id=None, entity="e", time=when), book.outcome(99))
    place.fold()

    remembered = place.counts()
    assert (remembered.predictions, remembered.duplicates, remembered.conflicts) == (40, 4, 4)
    assert (remembered.outcomes, remembered.pending) == (10, 2)
    monkeypatch.setattr("flyball.data.ingest._memories", {})
    place.ship(book.prediction(45), book.outcome(45, 1.0))
    place.fold()
    counts = place.counts()
    assert (counts.predictions, counts.outcomes, counts.pending, counts.conflicts) == (41, 10, 1, 4)


def test_many_small_commits_are_compacted_and_read_as_before(place: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("flyball.data.ingest.COMPACT_EVERY", 4)
    for number in range(12):
        place.ship(place.book.prediction(number), place.book.outcome(number, float(number)))
        place.fold()

    assert place.labelled()["outcome"].to_list() == [float(number) for number in range(12)]
    day = place.book.prediction(0).received_at.date()
    files = place.blobs.list(f"tables/predictions/bike/g1/received_day={day}")
    assert len(files) > 12  # the merged ones are there too; old ones stay for readers until they are vacuumed


def test_a_database_restored_from_an_older_backup_loses_and_doubles_nothing(place: Place, tmp_path: Any):
    place.ship(place.book.prediction(1))
    place.fold()
    place.database.backup(tmp_path / "backup.db")
    place.ship(place.book.prediction(2))
    place.fold()
    from flyball.backends.db.database import open_database

    restored = open_database(f"sqlite:///{tmp_path / 'backup.db'}")
    again = Place(restored, place.blobs, place.book)
    again.ship(place.book.prediction(3), place.book.prediction(2))
    again.fold()

    assert again.predictions()["id"].to_list() == ["prd_1", "prd_2", "prd_3"]
    assert again.counts().predictions == 3
    restored.close()


TIMED = {"bike": LogSchema(task="regression", contract=CONTRACT, has_time=True)}
MINUTE = timedelta(minutes=1)


def untimed(place: Place, number: int, received_at: datetime) -> Any:
    """A record as serving leaves it of a row without the model's time column: both moments are the same one."""
    return place.book.prediction(number, at=received_at, received_at=received_at)


def test_a_row_without_its_event_time_moves_no_clock_that_runs(place: Place):
    received = place.book.prediction(0).received_at
    place.ship(place.book.prediction(0), untimed(place, 1, received + MINUTE))
    place.fold(TIMED)
    assert place.clock().highest_event_at == place.start
    place.ship(untimed(place, 2, received + 2 * MINUTE))
    place.fold(TIMED)
    assert place.clock().highest_event_at == place.start


def test_a_clock_begun_without_an_event_time_goes_back_to_the_first_one_and_then_no_more(place: Place):
    received = place.book.prediction(0).received_at
    place.ship(untimed(place, 9, received))
    place.fold(TIMED)
    assert place.clock().now(received + MINUTE) == received + MINUTE
    place.ship(place.book.prediction(8, received_at=received + MINUTE))
    place.fold(TIMED)
    assert place.clock().highest_event_at == place.start + timedelta(hours=8)
    place.ship(place.book.prediction(1, received_at=received + 2 * MINUTE))
    place.fold(TIMED)
    assert place.clock().highest_event_at == place.start + timedelta(hours=8)


def test_after_an_hour_without_event_times_a_single_one_turns_nothing_back(place: Place):
    received = place.book.prediction(0).received_at
    place.ship(untimed(place, 9, received))
    place.ship(place.book.prediction(1, received_at=received + timedelta(hours=1)))
    place.fold(TIMED, limit=1)
    place.fold(TIMED, limit=1)
    assert place.clock().now(received + timedelta(hours=2)) == received + timedelta(hours=2)


def test_a_model_without_a_time_column_goes_by_received_time(place: Place):
    received = place.book.prediction(0).received_at
    place.ship(untimed(place, 1, received), untimed(place, 2, received + MINUTE))
    place.ship(place.book.prediction(3, at=place.start, received_at=received + MINUTE))
    place.fold()
    assert place.clock().highest_event_at == received + MINUTE


def test_an_event_time_of_the_far_future_is_five_minutes_ahead_at_most(place: Place):
    received = place.book.prediction(0).received_at
    far = datetime.fromisoformat("9999-12-31T00:00:00+00:00")
    place.ship(place.book.prediction(0), place.book.prediction(1, at=far, received_at=received))
    place.fold(TIMED)
    assert place.clock().now(received) == received + timedelta(minutes=5)
