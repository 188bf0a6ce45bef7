"""The model test `parity` finds answers that a server gives otherwise than the evaluation saw them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

LINE = sys.modules["flyball_tests_runs"].LINE
PARITY = '[[gates]]\nmetric = "mae"\nmax = 2.0\n[[tests]]\nkind = "parity"\n'


def test_a_model_that_looks_at_the_other_rows_of_its_batch_is_found_though_its_gate_passes(
    run_home: Any, make_project: Callable[..., Path]
):
    # Missing values filled with the mean of the batch: in a table a fine guess, alone in a request none.
    skewed = LINE.replace(
        "        return [",
        "        mean = sum(rows['x'].to_list()) / len(rows)\n        return [0.05 * mean + ",
    )
    folder = make_project(train=skewed, more=PARITY)
    result = run_home.run(folder)
    assert result.error is None, result.error
    (test,) = result.tests
    assert [gate["outcome"] for gate in result.gates] == ["pass"] and result.state == "refused"
    assert test["outcome"] == "fail" and "of 80 answers change" in test["because"], test
    assert len(test["rows"]) == 10 and test["rows"][0]["before"] != test["rows"][0]["after"]


def test_a_model_that_answers_row_by_row_has_parity(run_home: Any, make_project: Callable[..., Path]):
    result = run_home.run(make_project(more=PARITY))
    (test,) = result.tests
    assert (test["outcome"], result.state) == ("pass", "registered"), test
