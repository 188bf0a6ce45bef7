"""Model tests that train again find what a single training can't show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flyball_tests_runs import LINE, make_rows

GATE = '[[gates]]\nmetric = "mae"\nmax = 2.0\n'
TESTS = """
[[tests]]
kind = "deterministic"
[[tests]]
kind = "direction"
feature = "x"
effect = "not lower"
[[tests]]
kind = "seeds"
max_spread = 0.1
seeds = 3
[[tests]]
kind = "small-batch"
"""


def _outcomes(result: Any) -> dict[str, str]:
    assert result.error is None, result.error
    return {test["kind"]: test["outcome"] for test in result.tests}


def test_a_training_that_repeats_itself_passes_and_results_keep_the_order_of_the_file(
    run_home: Any, make_project: Callable[..., Path]
):
    result = run_home.run(make_project(more=GATE + TESTS))
    assert list(_outcomes(result).items()) == [
        ("deterministic", "pass"),
        ("direction", "pass"),
        ("seeds", "pass"),
        ("small-batch", "pass"),
    ], [(test["kind"], test["because"]) for test in result.tests]
    assert result.state == "registered"


def test_a_training_with_randomness_of_its_own_is_found_though_its_gate_passes(
    run_home: Any, make_project: Callable[..., Path]
):
    # A generator that nobody seeds; the error stays far below what the gate allows.
    shaken = LINE.replace(
        "return Line(slope,", "return Line(slope + np.random.default_rng().normal(0, 0.05),"
    )
    train = "import numpy as np\n" + shaken
    result = run_home.run(make_project(train=train, more=GATE + TESTS))
    assert [gate["outcome"] for gate in result.gates] == ["pass"] and result.state == "refused"
    found = next(test for test in result.tests if test["kind"] == "deterministic")
    assert found["outcome"] == "fail"
    assert len(found["rows"]) == 10 and found["rows"][0]["before"] != found["rows"][0]["after"]


def test_a_training_that_hangs_on_its_seed_and_one_that_learns_nothing_are_found(
    run_home: Any, make_project: Callable[..., Path]
):
    lucky = LINE.replace("def train(X, y, params):", "def train(X, y, params, seed):").replace(
        'slope = params.get("slope", 2.0)',
        "slope = 2.0 if len(x) > 120 and seed == 7 else 2.0 * (len(x) < 120) * -1",
    )
    result = run_home.run(make_project(train=lucky, more=GATE + TESTS))
    assert [gate["outcome"] for gate in result.gates] == ["pass"] and result.state == "refused"
    assert _outcomes(result) == {
        "deterministic": "pass",
        "direction": "pass",
        "seeds": "fail",
        "small-batch": "fail",
    }
    because = next(test["because"] for test in result.tests if test["kind"] == "seeds")
    assert "mae of 3 seeds is 0.3" in because and "0.1 is allowed" in because


def test_a_batch_of_one_outcome_shows_nothing_about_learning(
    run_home: Any, make_project: Callable[..., Path]
):
    lines = make_rows().splitlines()
    alike = [f"{line.rpartition(',')[0]},3.0" for line in lines[1:-1]]
    rows = "\n".join([lines[0], *alike, lines[-1]]) + "\n"
    result = run_home.run(make_project(rows=rows, more='[[tests]]\nkind = "small-batch"\n'))
    assert result.error is None, result.error
    (test,) = result.tests
    assert (test["outcome"], test["because"]) == (
        "inconclusive",
        "100 rows have one outcome, which needs no learning",
    )
