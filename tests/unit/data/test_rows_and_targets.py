from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from flyball.core.errors import BadInput, SourceUnreadable, UnknownColumn, UnusableTarget
from flyball.core.project import DataSection, ModelSection, Task
from flyball.data.columns import event_times
from flyball.data.rows import choose_features, prepare_rows


def model(task: Task = "regression", **fields: Any) -> ModelSection:
    return ModelSection(name="m1", **({"task": task, "target": "y"} | fields))


def data(**fields: Any) -> DataSection:
    return DataSection(source="data.csv", **fields)


def frame(y: list[Any], **columns: list[Any]) -> pl.DataFrame:
    return pl.DataFrame({"x": list(range(len(y))), **columns, "y": y}, strict=False)


def test_features_are_all_columns_without_another_part():
    columns = ["id", "sex", "who", "when", "a", "b", "y"]
    section = model(entity="who", time="when")

    assert choose_features(columns, section, data(exclude=["id"], protected=["sex"])) == ["a", "b"]
    assert choose_features(columns, section, data(features=["b", "sex"], protected=["sex"])) == ["b", "sex"]


@pytest.mark.parametrize(
    ("section", "given", "message"),
    [
        (model(target="Y"), data(), r"\[model\].target names the column 'Y'.*did you mean 'y'"),
        (model(entity="xx"), data(), r"\[model\].entity.*did you mean 'x'"),
        (model(time="moment"), data(), r"\[model\].time.*they have x, y"),
        (model(), data(exclude=["z"]), r"\[data\].exclude"),
        (model(), data(features=["x", "w"]), r"\[data\].features"),
    ],
)
def test_a_wrong_column_is_named_with_the_key_and_the_nearest_one(
    section: ModelSection, given: DataSection, message: str
):
    with pytest.raises(UnknownColumn, match=message):
        prepare_rows(frame([1.0, 2.0]), section, given)


def test_the_target_can_be_no_feature_and_some_column_must_be_one():
    with pytest.raises(BadInput, match=r"is the target"):
        choose_features(["x", "y"], model(), data(features=["y"]))
    with pytest.raises(BadInput, match=r"no column is left"):
        choose_features(["x", "y"], model(), data(exclude=["x"]))


def test_rows_without_target_are_left_out_and_counted():
    rows = prepare_rows(frame([1, None, 3]), model(), data())

    assert rows.frame["y"].to_list() == [1.0, 3.0]
    assert [(found.kind, found.facts["rows"]) for found in rows.findings] == [("unlabelled", 1)]


def test_nan_in_a_feature_is_read_as_missing_and_said_and_infinity_is_said():
    given = pl.DataFrame({"a": [math.nan, 1.0, math.inf], "y": [1.0, 2.0, 3.0]})

    rows = prepare_rows(given, model(), data())

    assert rows.frame["a"].to_list() == [None, 1.0, math.inf]
    assert [found.kind for found in rows.findings] == ["not_a_number", "infinite"]


def test_empty_constant_and_identifying_columns_are_pointed_out():
    given = frame(
        [float(n % 7) for n in range(200)],
        void=[None] * 200,
        same=[1] * 200,
        code=[f"c{n}" for n in range(200)],
    )

    found = {found.facts["feature"]: found.kind for found in prepare_rows(given, model(), data()).findings}

    assert found == {
        "x": "identifier",
        "void": "empty_feature",
        "same": "constant_feature",
        "code": "identifier",
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, math.nan, 3.0], r"nan in 1 of 3 rows \(first: labelled row 2\)"),
        ([math.inf, 2.0], r"inf in 1 of 2"),
        (["3", "4"], r"holds String.*needs numbers"),
        (
            ["3", "4.5", "n/a", "5", "?"],
            r"3 of 5 values are numbers, but labelled row 3 is 'n/a' \(2 such rows in all\)",
        ),
        (["3", " 4e2", "", "5"], r"3 of 4 values are numbers, but labelled row 3 is ''; correct them"),
        (["a", "b", "5"], r"holds String.*needs numbers"),
        ([True, False], r"holds Boolean"),
        ([2, 2, 2], r"is 2 in every row"),
    ],
)
def test_a_target_that_is_no_number_stops_a_regression(values: list[Any], message: str):
    with pytest.raises(UnusableTarget, match=message):
        prepare_rows(frame(values), model(), data())


def test_a_target_that_is_empty_throughout_is_told():
    with pytest.raises(SourceUnreadable, match=r"empty in every row"):
        prepare_rows(frame([None, None]), model(), data())


@pytest.mark.parametrize(
    ("task", "values", "message"),
    [
        ("binary", [1, 2, 3] * 5, "has 3: 1, 2, 3"),
        ("binary", ["a"] * 5, "is 'a' in every row"),
        ("binary", [0.0, 1.0, 0.5], "holds 0.5 .labelled row 3., which is no class"),
        ("multiclass", [f"c{n}" for n in range(60)], "60 classes in 60 rows"),
        ("multiclass", [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3)], "classes are text"),
    ],
)
def test_a_target_that_has_no_usable_classes_stops_a_classification(
    task: Task, values: list[Any], message: str
):
    with pytest.raises(UnusableTarget, match=message):
        prepare_rows(frame(values), model(task), data())


@pytest.mark.parametrize(
    ("values", "positive", "classes", "expected"),
    [
        (["no", "yes"], None, ["no", "yes"], "yes"),
        ([1, 0], None, [0, 1], 1),
        ([1.0, 0.0], None, [0, 1], 1),
        ([True, False], None, [False, True], True),
        (["no", "yes"], "no", ["no", "yes"], "no"),
        ([0, 1], "0", [0, 1], 0),
        ([True, False], "false", [False, True], False),
    ],
)
def test_a_binary_target_has_two_classes_and_one_is_positive(
    values: list[Any], positive: Any, classes: list[Any], expected: Any
):
    rows = prepare_rows(frame(values * 3), model("binary", positive=positive), data())

    assert rows.classes == classes and rows.positive == expected
    assert type(rows.positive) is type(expected)


def test_a_positive_class_that_does_not_occur_is_refused():
    with pytest.raises(UnusableTarget, match=r"positive.*'maybe'.*'no' and 'yes'"):
        prepare_rows(frame(["no", "yes"]), model("binary", positive="maybe"), data())


def test_moments_are_read_from_dates_times_and_text():
    text = [
        "2008-05",
        "2024-01-31",
        "2024-01-31T08:00",
        "2024-01-31 08:00:00.5",
        "2024-01-31T08:00:00+02:00",
        " 20240131",
    ]

    moments = event_times(pl.DataFrame({"t": text}), "t").to_list()

    assert moments == [
        datetime(2008, 5, 1, tzinfo=UTC),
        datetime(2024, 1, 31, tzinfo=UTC),
        datetime(2024, 1, 31, 8, tzinfo=UTC),
        datetime(2024, 1, 31, 8, 0, 0, 500_000, tzinfo=UTC),
        datetime(2024, 1, 31, 6, tzinfo=UTC),
        datetime(2024, 1, 31, tzinfo=UTC),
    ]
    stamps = pl.Series("t", moments)
    assert (
        event_times(pl.DataFrame({"t": stamps.dt.convert_time_zone("Asia/Tokyo")}), "t").to_list() == moments
    )
    assert (
        event_times(
            pl.DataFrame({"t": stamps.dt.replace_time_zone(None).dt.cast_time_unit("ns")}), "t"
        ).to_list()
        == moments
    )
    assert event_times(pl.DataFrame({"t": stamps.dt.date()}), "t")[0] == datetime(2008, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["2024-01-01", "soon"], "row 2 of column 't' holds 'soon'"),
        ([datetime(2024, 1, 1, tzinfo=UTC), None], "row 2"),
        ([1, 2], "holds Int64"),
    ],
)
def test_what_is_no_moment_is_named_by_row(values: list[Any], message: str):
    with pytest.raises(SourceUnreadable, match=message):
        event_times(pl.DataFrame({"t": values}), "t")
