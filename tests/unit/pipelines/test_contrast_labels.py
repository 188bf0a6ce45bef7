"""What a contrast compares, and says of differences: one by one over all rows, corrected for their number in slices."""

from __future__ import annotations

import numpy as np
import polars as pl

from flyball.core.project import DataSection, ModelSection, Project, TrainSection
from flyball.core.values import Interval
from flyball.judge.metrics.measure import Paired
from flyball.pipelines.children.answering import Held
from flyball.pipelines.children.contrasting import _Asked, _contrast, _labelled


def paired(p: float) -> Paired:
    return Paired(
        metric="mae",
        champion=5.0,
        candidate=6.0,
        estimate=1.0,
        difference=Interval(0.4, 1.6),
        row_count=300,
        group_count=300,
        identical=False,
        p=p,
    )


def test_a_slice_needs_more_than_all_rows_to_be_called_worse():
    pairs = {("mae", "", ""): paired(0.005)}
    pairs |= {("mae", "region", f"part {i}"): paired(0.005 if i == 0 else 0.6) for i in range(10)}
    found = {(line["column"], line["level"]): line["label"] for line in _labelled(pairs)}
    assert found["", ""] == "worse"
    assert set(found.values()) == {"worse", "unclear"}
    assert found["region", "part 0"] == "unclear"


def test_what_is_sure_over_all_rows_does_not_lower_what_is_asked_of_slices():
    pairs = {(metric, "", ""): paired(1e-9) for metric in ("mae", "rmse", "r2", "mape")}
    pairs |= {("mae", "region", f"part {i}"): paired(0.01 if i == 0 else 0.6) for i in range(4)}
    assert {line["label"] for line in _labelled(pairs) if line["column"]} == {"unclear"}


def asked(off: float, seen: range) -> _Asked:
    truth = [float(row) for row in range(100)]
    held = Held(truth, [value + off for value in truth], None, None, None)
    return _Asked(held=held, features=["x"], unseen=np.array([row not in seen for row in range(100)]))


PROJECT = Project(
    model=ModelSection(name="line", task="regression", target="y"),
    data=DataSection(source="rows.csv"),
    train=TrainSection(entry="train:train"),
)
ROWS = pl.DataFrame({"x": [float(row) for row in range(100)], "y": [float(row) for row in range(100)]})


def test_rows_count_that_none_of_the_two_models_was_trained_on():
    found = _contrast(asked(1.0, range(20)), asked(3.0, range(10, 40)), ROWS, PROJECT)
    assert (found["rows"], found["left_out"], found["because"]) == (60, 40, None)
    (mae,) = [line for line in found["differences"] if line["metric"] == "mae" and not line["column"]]
    assert (mae["rows"], mae["estimate"]) == (60, -2.0)
    assert {change["row"]["x"] for change in found["changed"]} <= set(range(40, 100))


def test_too_few_rows_that_none_was_trained_on_are_not_compared():
    found = _contrast(asked(1.0, range(40)), asked(3.0, range(30, 71)), ROWS, PROJECT)
    assert (found["rows"], found["left_out"]) == (29, 71) and "differences" not in found
    assert found["because"] == "29 held-out rows were seen by neither model; 30 are needed"
