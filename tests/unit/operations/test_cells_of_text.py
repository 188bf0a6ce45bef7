"""Cells of text that hold numbers: each is turned alone, whatever stands in the rows beside it."""

from __future__ import annotations

import polars as pl

from flyball.operations.cells import texts_of, with_numbers


def test_only_cells_that_hold_what_the_feature_takes_are_turned():
    frame = pl.DataFrame(
        {
            "count": ["1", " 2", "2.5", "many", None, "inf"],
            "paid": ["true", "False", "yes", None, "1", "TRUE "],
            "zip": ["007", "1", "2", "3", "4", "5"],
            "other": ["1", "2", "3", "4", "5", "6"],
        }
    )
    made = with_numbers(frame, {"count": "INT64", "paid": "BOOL", "zip": "BYTES", "absent": "FP64"})
    assert made["count"].to_list() == [1, 2, 2.5, "many", None, "inf"]
    assert made["paid"].to_list() == [True, False, "yes", None, "1", True]
    assert made.select("zip", "other").equals(frame.select("zip", "other"))
    assert [type(row[0]) for row in made.rows()[:3]] == [int, int, float]


def test_codes_that_look_like_numbers_are_text_where_the_feature_takes_text():
    looks = {
        "zip": pl.Int64(),
        "paid": pl.Boolean(),
        "day": pl.Date(),
        "age": pl.Int64(),
        "note": pl.String(),
    }
    types = {
        "zip": "BYTES",
        "paid": "BYTES",
        "day": "BYTES",
        "age": "INT64",
        "note": "BYTES",
        "absent": "BYTES",
    }
    assert texts_of(looks, types) == ["zip", "paid"]
