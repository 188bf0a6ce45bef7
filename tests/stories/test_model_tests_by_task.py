"""Model tests of regressions over time and of several classes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flyball_tests_runs import STATELESS, make_rows

CLASSES = """[model]
name = "colours"
task = "multiclass"
target = "colour"
[data]
source = "rows.csv"
[train]
entry = "train:train"
[[tests]]
kind = "baseline"
[[tests]]
kind = "invariance"
feature = "noise"
max_change = 0.0
[[tests]]
kind = "leak"
max_share = 0.95
[[tests]]
kind = "borders"
[[tests]]
kind = "answers"
rows = [{ size = 0.5, weight = 1.0, noise = 0.1 }]
expected = "red"
"""

NEAREST = """
class Nearest:
    classes_ = ["blue", "green", "red"]

    def predict_proba(self, rows):
        centres = (2.5, 1.5, 0.5)
        answers = []
        for size, weight in zip(rows["size"].to_list(), rows["weight"].to_list()):
            near = [1 / (0.1 + abs(size - c) + 0.1 * abs((weight or 0) - 2 * c)) for c in centres]
            answers.append([value / sum(near) for value in near])
        return answers

    def predict(self, rows):
        return [self.classes_[row.index(max(row))] for row in self.predict_proba(rows)]
"""
NEAREST += STATELESS + "\n\ndef train(X, y):\n    return Nearest()\n"


def test_a_feature_from_a_later_row_is_a_leak_and_the_last_value_is_a_baseline(
    run_home: Any, make_project: Callable[..., Path]
):
    more = '[[tests]]\nkind = "leak"\n[[tests]]\nkind = "baseline"\nthan = "last"\n'
    lines = make_rows().splitlines()
    values = [line.split(",")[-1] for line in lines[1:]]
    # What was joined on the wrong side of its time: the target of the row after.
    ahead = [f"{line},{value}" for line, value in zip(lines[1:], [*values[1:], "0"], strict=True)]
    result = run_home.run(make_project(rows="\n".join([f"{lines[0]},forecast", *ahead]) + "\n", more=more))
    assert result.error is None, result.error
    leak, baseline = result.tests
    assert leak["outcome"] == "fail" and leak["because"].startswith(
        "forecast all but determines y of the row after"
    )
    assert leak["rows"] and baseline["outcome"] == "pass" and "last 7" in baseline["because"], baseline


def test_tests_of_several_classes_look_at_the_probability_of_each(
    run_home: Any, make_project: Callable[..., Path]
):
    rng, rows = random.Random(3), ["size,weight,noise,colour"]
    for _ in range(600):
        size = rng.random() * 3
        colour = ("red", "green", "blue")[min(2, max(0, int(size + rng.gauss(0, 0.3))))]
        rows.append(f"{size:.3f},{2 * size + rng.gauss(0, 0.2):.3f},{rng.random():.3f},{colour}")
    result = run_home.run(make_project("colours", train=NEAREST, rows="\n".join(rows) + "\n", toml=CLASSES))
    assert result.error is None, result.error
    assert {test["kind"]: test["outcome"] for test in result.tests} == {
        "baseline": "pass",
        "invariance": "pass",
        "leak": "pass",
        "borders": "pass",
        "answers": "pass",
    }, result.tests
