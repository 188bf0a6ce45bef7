from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from flyball.pipelines.seen_rows import encode_seen, row_keys, rows_that_count, unseen

FRAME = pl.DataFrame(
    {
        "x": pl.Series([0.24, None, 3.0, 1e300], dtype=pl.Float64),
        "n": pl.Series([1, 2, None, 4], dtype=pl.Int8),
        "c": ["a", "b", None, "d"],
        "t": [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3, 4)],
        "y": [True, False, True, None],
    }
)


def test_a_row_is_known_again_in_other_types_and_another_order():
    again = FRAME.select("y", "t", "c", "n", "x").with_columns(
        pl.col("x").cast(pl.Float32).cast(pl.Float64), pl.col("n").cast(pl.Int64), pl.col("y").cast(pl.Int64)
    )
    left = unseen(again.head(3), encode_seen(FRAME, FRAME.columns))
    assert left is not None and left.tolist() == [False, False, False]


def test_a_row_that_differs_anywhere_is_not_known():
    seen = encode_seen(FRAME.head(2), FRAME.columns)
    changed = FRAME.with_columns(c=pl.Series(["a", "B", None, "d"]))
    left = unseen(changed, seen)
    assert left is not None and left.tolist() == [False, True, True, True]


def test_missing_values_and_separators_do_not_run_together():
    frame = pl.DataFrame({"a": ["x", "x1:y", None, "x"], "b": ["1:yz", "z", "x", None]})
    assert len(set(row_keys(frame, ["a", "b"]).tolist())) == 4


def test_whole_numbers_are_alike_as_int_and_float():
    ints, floats = pl.DataFrame({"a": [1, 2**40]}), pl.DataFrame({"a": [1.0, float(2**40)]})
    assert row_keys(ints, ["a"]).tolist() == row_keys(floats, ["a"]).tolist()


def test_a_lacking_column_makes_the_question_unanswerable():
    assert unseen(FRAME.drop("x"), encode_seen(FRAME, FRAME.columns)) is None


@pytest.mark.parametrize(
    ("keys_of", "until", "time", "expected"),
    [
        (FRAME, "2026-01-04T00:00:00Z", "t", [False, False, True, True]),  # keys know more than time
        (FRAME.with_columns(z=1), "2026-01-02T00:00:00Z", "t", [False, False, True, True]),
        (None, "2026-01-02T00:00:00Z", "t", [False, False, True, True]),
        (FRAME.with_columns(z=1), None, "t", None),
        (None, "2026-01-02T00:00:00Z", None, None),
        (None, "2026-01-02T00:00:00Z", "gone", None),
    ],
)
def test_rows_count_by_their_keys_or_else_by_being_later_than_all_that_was_trained_on(
    tmp_path: Path,
    keys_of: pl.DataFrame | None,
    until: str | None,
    time: str | None,
    expected: list[bool] | None,
):
    seen = tmp_path / "seen.bin"
    if keys_of is not None:
        seen.write_bytes(encode_seen(keys_of.head(2), keys_of.columns))
    told = None if keys_of is None else str(seen)
    found = rows_that_count(FRAME, seen=told, trained_until=until, time=time)
    assert (None if found is None else found.tolist()) == expected
