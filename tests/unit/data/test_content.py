from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.core.errors import SourceUnreadable
from flyball.data.content import canonical_frame, digest_content

FRAME = pl.DataFrame(
    {
        "n": [1, None, 3],
        "x": [0.5, math.nan, None],
        "s": ["ab", None, ""],
        "b": [True, None, False],
        "d": [date(2024, 1, 1), None, date(1969, 12, 31)],
        "t": [datetime(2024, 1, 1, tzinfo=UTC), None, datetime(1960, 1, 1, tzinfo=UTC)],
    }
)


def test_the_digest_of_known_content_is_the_same_in_every_release():
    assert digest_content(FRAME) == "sha256:11447faa86bc0ca271b04f6d9ecf90539d83f9c04eff8186af6ae61103d31e75"


@given(
    st.lists(st.tuples(st.none() | st.integers(-5, 5), st.none() | st.text(max_size=3)), max_size=12),
    st.data(),
)
def test_neither_chunks_nor_slices_nor_encodings_change_the_digest(
    rows: list[tuple[object, object]], data: st.DataObject
):
    frame = pl.DataFrame(rows, schema={"a": pl.Int64, "b": pl.String}, orient="row")
    cut = data.draw(st.integers(0, frame.height))
    pieces = pl.concat([frame[:cut], frame[cut:]], rechunk=False)
    padded = pl.concat([frame, frame])[frame.height :]

    assert digest_content(pieces) == digest_content(padded) == digest_content(frame)
    assert digest_content(frame.with_columns(pl.col("b").cast(pl.Categorical))) == digest_content(frame)


@pytest.mark.parametrize(
    "other",
    [
        FRAME.reverse(),
        FRAME.rename({"n": "m"}),
        FRAME.select(reversed(FRAME.columns)),
        FRAME.with_columns(pl.col("n").cast(pl.Int32)),
        FRAME.with_columns(pl.col("n").fill_null(0)),
        FRAME.with_columns(pl.col("x").fill_nan(None)),
        FRAME.with_columns(pl.col("s").fill_null("")),
        FRAME.with_columns(pl.col("b").fill_null(False)),
        FRAME.with_columns(pl.Series("s", ["a", None, "b"])),
        FRAME.with_columns(pl.col("t").dt.replace_time_zone(None)),
        FRAME[:2],
    ],
)
def test_any_other_content_has_another_digest(other: pl.DataFrame):
    assert digest_content(other) != digest_content(FRAME)


def test_text_is_not_mixed_up_across_rows():
    def digest(*cells: str) -> str:
        return digest_content(pl.DataFrame({"s": list(cells)}))

    assert digest("ab", "c") != digest("a", "bc")


def test_one_moment_is_one_content_whatever_zone_and_unit_it_was_written_in():
    moment = datetime(2024, 5, 1, 12, tzinfo=UTC)
    zurich = pl.DataFrame({"t": [moment]}).with_columns(pl.col("t").dt.convert_time_zone("Europe/Zurich"))
    coarse = pl.DataFrame({"t": [moment]}).with_columns(pl.col("t").dt.cast_time_unit("ms"))
    shifted = pl.DataFrame({"t": [moment.astimezone(timezone(timedelta(hours=3)))]})

    assert digest_content(zurich) == digest_content(coarse) == digest_content(shifted)


def test_both_zeros_and_all_nans_are_one_value():
    import struct

    other_nan = struct.unpack("<d", b"\x01\x00\x00\x00\x00\x00\xf8\xff")[0]

    assert digest_content(pl.DataFrame({"x": [0.0, math.nan]})) == digest_content(
        pl.DataFrame({"x": [-0.0, other_nan]})
    )


def test_nested_columns_are_refused_by_name():
    for values in ([[1]], [{"a": 1}], [b"raw"]):
        with pytest.raises(SourceUnreadable, match="'odd'"):
            canonical_frame(pl.DataFrame({"odd": values}))


def test_an_empty_frame_has_a_digest_that_tells_its_columns():
    empty = FRAME.clear()

    assert digest_content(empty) != digest_content(empty.drop("n"))
    assert digest_content(pl.DataFrame({"a": [None, None]})) == digest_content(
        pl.DataFrame({"a": pl.Series([None, None], dtype=pl.String)})
    )
