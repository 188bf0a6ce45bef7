from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.core.errors import BadInput, EmptySplit, UnknownColumn
from flyball.core.project import DataSection, ModelSection, SplitSection, Task
from flyball.data.rows import Rows, prepare_rows
from flyball.data.splits import Split, split_rows

START = datetime(2024, 1, 1, tzinfo=UTC)


def rows_of(count: int, task: Task = "regression", time: bool = True, **columns: Any) -> Rows:
    frame = pl.DataFrame(
        {
            "at": [START + timedelta(hours=number) for number in range(count)],
            "x": [float(number) for number in range(count)],
            "y": [float(number % 5) if task == "regression" else number % 2 for number in range(count)],
            **columns,
        }
    )
    section = ModelSection(name="m1", task=task, target="y", time="at" if time else None)
    return prepare_rows(frame, section, DataSection(source="s", exclude=[] if time else ["at"]))


def split(
    rows: Rows, task: Task = "regression", seed: int = 1, entity: str | None = None, **fields: Any
) -> Split:
    return split_rows(rows, SplitSection(**fields), target="y", task=task, seed=seed, entity=entity)


def parts(found: Split) -> list[list[int]]:
    return [found.rows["train"], found.rows["validation"], found.rows["test"]]


def test_by_time_the_last_rows_are_the_test_and_the_ones_before_them_validation():
    found = split(rows_of(100))

    assert found.by == "time"
    assert parts(found) == [list(range(70)), list(range(70, 80)), list(range(80, 100))]
    assert found.boundaries == {"validation": "2024-01-03T22:00:00Z", "test": "2024-01-04T08:00:00Z"}
    assert found.test["x"].to_list() == [float(number) for number in range(80, 100)]


@given(
    st.lists(st.integers(0, 30), min_size=12, max_size=60),
    st.sampled_from([0.1, 0.3]),
    st.sampled_from([0.0, 0.2]),
)
def test_by_time_no_row_of_an_earlier_part_is_as_late_as_any_of_a_later_one(
    hours: list[int], test: float, validation: float
):
    frame = pl.DataFrame(
        {"at": [START + timedelta(hours=h) for h in hours], "x": range(len(hours)), "y": range(len(hours))}
    )
    rows = prepare_rows(
        frame, ModelSection(name="m1", task="regression", target="y", time="at"), DataSection(source="s")
    )
    try:
        found = split(rows, test=test, validation=validation)
    except EmptySplit:
        return
    times = [[hours[row] for row in part] for part in parts(found)]
    present = [part for part in times if part]

    assert sum(len(part) for part in times) == len(hours)
    assert all(max(early) < min(late) for early, late in pairwise(present))


def test_rows_within_the_gap_or_whose_outcome_comes_too_late_are_left_out():
    for fields in ({"gap": "5h"}, {"horizon": "5h"}, {"gap": "2h", "horizon": "5h"}):
        found = split(rows_of(100), **fields)

        assert found.rows["train"][-1] == 65
        assert found.rows["validation"] == list(range(70, 76))
        assert found.left_out == 8


def test_a_walk_forward_trains_on_the_past_of_each_fold_and_never_touches_the_test():
    found = split(rows_of(100), folds=3, gap="2h")

    assert [(fold.train[0], fold.train[-1], fold.test[0], fold.test[-1]) for fold in found.folds] == [
        (0, 18, 20, 39),
        (0, 38, 40, 59),
        (0, 58, 60, 79),
    ]


def test_at_random_parts_have_their_sizes_share_no_row_and_depend_on_the_seed_only():
    rows = rows_of(1000, "binary", time=False)

    found, again, other = split(rows, "binary"), split(rows, "binary"), split(rows, "binary", seed=2)

    assert found.by == "random"
    assert [len(part) for part in parts(found)] == [700, 100, 200]
    assert sorted(row for part in parts(found) for row in part) == list(range(1000))
    assert parts(found) == parts(again) != parts(other)


def test_at_random_a_rare_class_is_in_every_part():
    rows = rows_of(1000, "binary", time=False, y=[int(number % 50 == 0) for number in range(1000)])

    found = split(rows, "binary")

    assert [int(part["y"].sum()) for part in (found.train, found.validation, found.test)] == [14, 2, 4]


def test_by_group_no_group_is_divided_and_shares_come_close():
    rows = rows_of(1000, time=False, who=[f"p{number % 100}" for number in range(1000)])

    found = split(rows, by="group", column="who")

    groups = [set(part["who"].to_list()) for part in (found.train, found.validation, found.test)]
    assert sum(len(group) for group in groups) == len(set.union(*groups)) == 100
    assert [len(part) for part in parts(found)] == [700, 100, 200]
    assert parts(found) == parts(split(rows, by="group", column="who"))


@pytest.mark.parametrize(
    ("rows", "fields", "error", "message"),
    [
        (rows_of(3), {}, EmptySplit, "validation part|train part"),
        (rows_of(100), {"gap": "30d"}, EmptySplit, "train part.*too long a gap"),
        (rows_of(2, time=False), {}, EmptySplit, "too few rows"),
        (rows_of(50, time=False, g=["a"] * 50), {"by": "group", "column": "g"}, EmptySplit, "groups"),
        (rows_of(50), {"test": 0.0}, BadInput, "test is above 0"),
        (rows_of(50), {"test": 0.7, "validation": 0.3}, BadInput, "stay below 1"),
        (rows_of(50, time=False), {"by": "time"}, BadInput, "names no column"),
        (rows_of(50), {"by": "group"}, BadInput, "column ="),
        (rows_of(50), {"by": "group", "column": "X"}, UnknownColumn, "did you mean 'x'"),
        (rows_of(50), {"gap": "soon"}, BadInput, r"\[data.split\].gap"),
        (rows_of(50), {"folds": 40}, EmptySplit, "folds = 40"),
        (rows_of(50, g=["a", None] * 25), {"by": "group", "column": "g"}, BadInput, "row 2"),
    ],
)
def test_a_split_that_can_not_be_is_refused_with_the_reason(
    rows: Rows, fields: dict[str, Any], error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        split(rows, **fields)


def test_rows_that_stand_in_training_and_test_are_found():
    rows = rows_of(
        100,
        time=False,
        x=[float(number % 40) for number in range(100)],
        y=[1.0 + (number % 40) for number in range(100)],
    )

    found = split(rows)

    shared = [finding for finding in found.findings if finding.kind == "shared_rows"]
    train = set(found.train["x"].to_list())
    assert shared[0].facts == {"rows": sum(x in train for x in found.test["x"].to_list()), "of": 20}
    assert split(rows_of(100)).findings == []


def test_equal_rows_with_missing_values_count_as_equal():
    rows = rows_of(20, time=False, x=[None] * 20, y=[1.0, 2.0] * 10)

    assert split(rows).findings[0].kind == "shared_rows"


def test_entities_on_both_sides_and_classes_only_the_test_has_are_pointed_out():
    people = rows_of(100, time=False, who=[f"p{number % 10}" for number in range(100)])
    late = rows_of(100, "multiclass", y=["a", "b"] * 40 + ["c"] * 20)

    assert "shared_entities" in [finding.kind for finding in split(people, entity="who").findings]
    assert [finding.facts for finding in split(late, "multiclass").findings] == [{"classes": ["c"]}]
