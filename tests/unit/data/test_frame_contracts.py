from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyball.core.contract import Contract, FeatureRule, check_row
from flyball.core.errors import SourceUnreadable
from flyball.data.contracts import check_frame, infer_contract, row_values

LARGE = st.sampled_from([2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 0, 1, 5])
BOUNDS = st.none() | st.floats(allow_nan=False) | st.integers(-10, 10).map(float) | LARGE.map(float)
TEXTS = st.sampled_from(["", "a", "b", "1", "2024-01-01", "2024-01-01T10:00:00Z", "noon", "ä"])
MOMENTS = st.integers(0, 10**9).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
COLUMNS = st.sampled_from(
    [
        (pl.Int64, st.integers(-10, 10) | LARGE),
        (pl.Int8, st.integers(-128, 127)),
        (pl.UInt64, st.sampled_from([0, 1, 2**63, 2**64 - 1])),
        (pl.Float64, st.floats() | st.integers(-10, 10).map(float) | LARGE.map(float)),
        (pl.Float32, st.floats(width=32)),
        (pl.Boolean, st.booleans()),
        (pl.String, TEXTS),
        (pl.Date, st.dates(date(2020, 1, 1), date(2025, 1, 1))),
        (pl.Datetime("us", "UTC"), MOMENTS),
    ]
)
RULES = st.builds(
    FeatureRule,
    type=st.sampled_from(["int", "float", "string", "bool", "datetime"]),
    min=BOUNDS,
    max=BOUNDS,
    values=st.none() | st.lists(TEXTS | st.integers(-3, 3) | LARGE | st.booleans(), max_size=4).map(tuple),
    nullable=st.booleans(),
)


@st.composite
def frames_and_contracts(draw: st.DrawFn) -> tuple[pl.DataFrame, Contract]:
    height = draw(st.integers(0, 6))
    series = []
    for name in ("a", "b", "c")[: draw(st.integers(1, 3))]:
        kind, values = draw(COLUMNS)
        cells = draw(st.lists(st.none() | values, min_size=height, max_size=height))
        series.append(pl.Series(name, cells, dtype=kind))
    names = draw(st.lists(st.sampled_from(["a", "b", "c", "absent"]), unique=True, max_size=4))
    return pl.DataFrame(series), Contract(features={name: draw(RULES) for name in names})


@settings(max_examples=600)
@given(frames_and_contracts())
def test_a_frame_is_judged_row_by_row_exactly_as_requests_are(given_pair: tuple[pl.DataFrame, Contract]):
    frame, contract = given_pair

    by_row = [
        broken
        for row in range(frame.height)
        for broken in check_row(contract, row_values(frame, contract, row), row)
    ]

    assert check_frame(contract, frame, limit=10**6) == by_row


@given(frames_and_contracts())
def test_rows_satisfy_the_contract_that_was_inferred_from_them(given_pair: tuple[pl.DataFrame, Contract]):
    frame = given_pair[0].select(pl.exclude(pl.Float32, pl.Float64))
    contract = infer_contract(frame, frame.columns)

    assert check_frame(contract, frame) == []


def test_an_inferred_range_leaves_room_and_does_not_cross_zero():
    frame = pl.DataFrame(
        {"share": [0.02, 0.98], "debt": [-400, -100], "balance": [-1.0, 3.0], "count": [0, 100]}
    )

    rules = infer_contract(frame, frame.columns).features

    assert rules["share"].min == 0.0 and 1.22 <= (rules["share"].max or 0) < 1.23
    assert (rules["debt"].min, rules["debt"].max) == (-475, -25)
    assert (rules["balance"].min, rules["balance"].max) == (-2.0, 4.0)
    assert (rules["count"].min, rules["count"].max) == (0, 125)


def test_a_wrong_unit_breaks_an_inferred_contract_and_a_natural_week_does_not():
    year = pl.DataFrame({"temp": [0.5 + 0.45 * math.sin(hour / 1394) for hour in range(8760)]})
    hot_week = pl.DataFrame({"temp": [0.9 + 0.1 * math.sin(hour / 4) for hour in range(168)]})
    contract = infer_contract(year, ["temp"])

    assert check_frame(contract, hot_week) == []
    assert len(check_frame(contract, hot_week * 10, limit=1000)) == 168


def test_few_values_of_text_become_the_only_ones_and_many_do_not():
    frame = pl.DataFrame(
        {
            "city": ["Bern", "Rome"] * 100,
            "name": [f"n{number}" for number in range(200)],
            "rare": ["x"] * 10 + [None] * 190,
            "flag": [True, None] * 100,
            "day": [date(2024, 1, 1)] * 200,
        }
    )

    rules = infer_contract(frame, frame.columns).features

    assert rules["city"] == FeatureRule(type="string", values=("Bern", "Rome"))
    assert rules["name"] == FeatureRule(type="string")
    assert rules["rare"] == FeatureRule(type="string", nullable=True)
    assert rules["flag"] == FeatureRule(type="bool", nullable=True)
    assert rules["day"] == FeatureRule(type="datetime")


@pytest.mark.parametrize("values", [[1e308, -1e308], [5e-324, 1e-320], [1e300], [-7e200, -6e200]])
def test_ranges_at_the_edge_of_floats_stay_finite_and_hold_what_was_seen(values: list[float]):
    frame = pl.DataFrame({"x": values})

    assert check_frame(infer_contract(frame, ["x"]), frame) == []


def test_a_column_of_lists_is_no_feature():
    with pytest.raises(SourceUnreadable, match="'tags'"):
        infer_contract(pl.DataFrame({"tags": [[1], [2]]}), ["tags"])


def test_no_more_violations_are_listed_than_asked_for():
    frame = pl.DataFrame({"x": [5.0] * 5000})
    contract = Contract(features={"x": FeatureRule(type="float", max=1)})

    assert len(check_frame(contract, frame, limit=7)) == 7
    assert len(check_frame(contract, frame, limit=10_000)) == 5000


def test_row_values_are_what_a_request_would_carry():
    frame = pl.DataFrame({"at": [datetime(2024, 1, 1, 5, tzinfo=UTC)], "n": [None], "other": [1]})
    contract = Contract(
        features={"at": FeatureRule(type="datetime"), "n": FeatureRule(type="int", nullable=True)}
    )

    values: dict[str, Any] = row_values(frame, contract, 0)

    assert values == {"at": "2024-01-01T05:00:00+00:00", "n": None}
