from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flyball.core.contract import Contract, FeatureRule
from flyball.core.records import OutcomeRecord, PredictionRecord
from flyball.data.log_schema import (
    UNTYPED,
    LogSchema,
    feature_columns,
    feature_of,
    outcomes_frame,
    prediction_columns,
    predictions_frame,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CONTRACT = Contract(
    features={
        "count": FeatureRule(type="int"),
        "size": FeatureRule(type="float", nullable=True),
        "open": FeatureRule(type="bool"),
        "place": FeatureRule(type="string"),
        "day": FeatureRule(type="datetime"),
    }
)
NUMBERS = LogSchema(task="regression", contract=CONTRACT)
CLASSES = LogSchema(task="binary", contract=CONTRACT)


def a_record(**fields: Any) -> PredictionRecord:
    given: dict[str, Any] = {"at": NOW, **fields}
    return PredictionRecord(
        format=1, id="prd_1", model="m1", received_at=NOW, role="champion", asked=1, **given
    )


def one_row(record: PredictionRecord, schema: LogSchema = NUMBERS) -> dict[str, Any]:
    return predictions_frame([record], [False], schema, 7).row(0, named=True)


def test_values_that_fit_come_into_typed_columns():
    row = one_row(
        a_record(input={"count": 3.0, "size": 2, "open": True, "place": "x", "day": "2024-01-01"}, output=5)
    )

    assert (row["x.count"], row["x.size"], row["x.open"], row["x.place"], row["x.day"]) == (
        3,
        2.0,
        True,
        "x",
        "2024-01-01",
    )
    assert (row["prediction"], row["misfit"], row["batch"]) == (5.0, None, 7)


@pytest.mark.parametrize(
    ("feature", "value"),
    [
        ("count", 1.5),
        ("count", "3"),
        ("count", 2**63),
        ("size", True),
        ("size", 2**60),
        ("open", 1),
        ("place", 5),
        ("day", [1]),
    ],
)
def test_a_value_that_does_not_fit_is_null_there_and_kept_as_it_came(feature: str, value: Any):
    row = one_row(a_record(input={feature: value}))

    assert row[f"x.{feature}"] is None
    assert msgspec.json.decode(row["misfit"]) == {feature: value}


def test_input_beyond_the_contract_is_kept():
    assert msgspec.json.decode(one_row(a_record(input={"new": 1, "count": 2}))["misfit"]) == {"new": 1}


def test_answers_are_numbers_for_a_regression_and_class_names_otherwise():
    assert one_row(a_record(output=3))["prediction"] == 3.0
    assert one_row(a_record(output=True), CLASSES)["prediction"] == "true"
    assert one_row(a_record(output=1.0), CLASSES)["prediction"] == "1"
    assert one_row(a_record(output="three"))["prediction"] is None


def test_rows_lie_by_event_time_and_keep_all_else_of_the_record():
    late = a_record(
        at=NOW + timedelta(hours=1), scores=[0.25, 0.75], flags=["range:count"], error="x", entity="e"
    )
    frame = predictions_frame([late, a_record()], [True, False], CLASSES, 1)

    assert frame["at"].is_sorted()
    row = frame.row(1, named=True)
    assert (row["scores"], row["flags"], row["error"], row["entity"], row["conflict"]) == (
        [0.25, 0.75],
        ["range:count"],
        "x",
        "e",
        True,
    )


def test_hashed_features_are_text_whatever_the_contract_says():
    schema = LogSchema(task="regression", contract=CONTRACT, hashed=("count",))

    assert prediction_columns(schema)["x.count"] == pl.String
    assert one_row(a_record(input={"count": "h_0123"}), schema)["x.count"] == "h_0123"


def test_without_a_known_contract_all_input_is_kept_as_text():
    row = one_row(a_record(input={"a": 1, "b": None}, output=3.5), UNTYPED)

    assert row["prediction"] == "3.5"
    assert msgspec.json.decode(row["misfit"]) == {"a": 1, "b": None}


@example(["É", "é", "éA", "ÉA", "a", "A", "x y", "x%20y"])
@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=12, unique=True))
def test_columns_of_features_differ_in_more_than_capitals_and_lead_back_to_their_features(names: list[str]):
    schema = LogSchema(
        task="regression", contract=Contract(features={n: FeatureRule(type="float") for n in names})
    )

    columns = feature_columns(schema)

    assert [feature_of(column) for column in columns.values()] == names
    assert len({column.lower() for column in columns.values()}) == len(names)
    assert not any(sign in column for column in columns.values() for sign in " ,;{}()\n\t=")


def test_outcomes_are_typed_as_answers_are():
    def told(value: Any, schema: LogSchema) -> dict[str, Any]:
        record = OutcomeRecord(
            format=1, id="out_1", model="m1", value=value, at=NOW, received_at=NOW, prediction_id="p"
        )
        return outcomes_frame([record], schema, 1).row(0, named=True)

    assert told(3, NUMBERS)["outcome"] == 3.0
    assert told(1, CLASSES)["outcome"] == "1"
    assert told("many", NUMBERS)["outcome"] is None
    assert msgspec.json.decode(told("many", NUMBERS)["misfit"]) == {"": "many"}
