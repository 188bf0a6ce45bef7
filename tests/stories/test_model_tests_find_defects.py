"""Model tests of a run on real credit data: each finds a defect that the gates on metrics let pass."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flyball_tests_runs import STATELESS

from flyball.governance.actors import local_actor
from flyball.pipelines.check import check_project
from flyball.pipelines.project_file import read_project
from flyball.registry.aliases import move_alias
from flyball.registry.evidence import list_evidence
from flyball.registry.versions import get_version

DATA = Path(__file__).parent / "data" / "credit_default_tenth.csv.gz"

TOML = """[model]
name = "credit"
task = "binary"
target = "default_next_month"
positive = 1
[data]
source = "rows.csv"
[train]
entry = "train:train"
frames = "{frames}"
[[gates]]
metric = "{metric}"
min = {least}
{more}
"""

# Months of delay and how much of the limit is used: what a careful person begins with.
GOOD = """
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def train(X, y, features):
    kept = [features.index(name) for name in ("pay_0", "pay_2", "limit_bal", "bill_amt1", "pay_amt1")]
    chosen = ColumnTransformer([("kept", StandardScaler(), kept)])
    return make_pipeline(chosen, LogisticRegression(C=0.1)).fit(X, y)
"""


def _rows() -> list[list[str]]:
    return [line.split(",") for line in gzip.decompress(DATA.read_bytes()).decode().splitlines()]


@pytest.fixture
def credit(tmp_path: Path) -> Callable[..., Path]:
    """Writes a credit project and returns its folder."""

    def write(
        train: str = GOOD, more: str = "", rows: list[list[str]] | None = None,
        metric: str = "roc_auc", least: float = 0.65, frames: str = "numpy",
    ) -> Path:  # fmt: skip
        folder = tmp_path / "credit"
        folder.mkdir(exist_ok=True)
        (folder / "train.py").write_text(train)
        (folder / "rows.csv").write_text("\n".join(",".join(row) for row in rows or _rows()) + "\n")
        (folder / "flyball.toml").write_text(
            TOML.format(frames=frames, metric=metric, least=least, more=more)
        )
        return folder

    return write


def _outcomes(result: Any) -> dict[str, str]:
    return {test["name"]: test["outcome"] for test in result.tests}


def _failing(result: Any, name: str) -> dict[str, Any]:
    """The failed test of this name, of a version that its gates alone would have let pass."""
    assert [gate["outcome"] for gate in result.gates] == ["pass"], result.error
    assert result.state == "refused"
    test = next(test for test in result.tests if test["name"] == name)
    assert test["outcome"] == "fail", test
    return test


SOUND = """
[[tests]]
kind = "invariance"
feature = "sex"
max_change = 0.0
[[tests]]
kind = "direction"
feature = "pay_0"
effect = "not lower"
[[tests]]
kind = "noise"
max_share = 0.05
[[tests]]
kind = "baseline"
[[tests]]
kind = "leak"
[[tests]]
kind = "golden"
[[tests]]
kind = "borders"
[[tests]]
kind = "metamorphic"
name = "both delays together"
shift = { pay_0 = 1, pay_2 = 1 }
effect = "not lower"
[[tests]]
kind = "answers"
name = "a careful customer"
rows = [{ limit_bal = 300000, sex = 2, age = 40, pay_0 = -1, pay_2 = -1, bill_amt1 = 2000, pay_amt1 = 2000 }]
max = 0.3
"""


def test_a_sound_model_passes_its_tests_and_a_repeat_asks_nothing_again(
    run_home: Any, credit: Callable[..., Path]
):
    folder = credit(more=SOUND)
    first = run_home.run(folder)
    assert first.error is None, first.error
    assert set(_outcomes(first).values()) == {"pass"}, [(t["name"], t["because"]) for t in first.tests]
    assert first.state == "registered" and run_home.steps(first.run_id)["test"] == "done"
    with run_home.shop.database.read() as conn:
        (evidence,) = list_evidence(conn, "credit", 1, kind="tests")
    assert [test["name"] for test in evidence.facts["tests"]] == list(_outcomes(first))
    lines = (folder / "flyball.toml").read_text().splitlines()
    assert [lines[test["line"] - 1] for test in first.tests] == ["[[tests]]"] * 9

    (folder / "flyball.toml").write_text("# a comment\n" + (folder / "flyball.toml").read_text())
    again = run_home.run(folder)
    assert again.cached and run_home.steps(again.run_id)["test"] == "cached"
    assert [test["line"] for test in again.tests] == [test["line"] + 1 for test in first.tests]


def test_a_project_without_model_tests_has_no_step_for_them(run_home: Any, make_project: Callable[..., Path]):
    result = run_home.run(make_project())
    assert result.state == "registered" and result.tests == []
    assert "test" not in run_home.steps(result.run_id)


def test_a_column_that_comes_from_the_outcome_is_found_as_a_leak(run_home: Any, credit: Callable[..., Path]):
    # Calls of the collections department: almost only after a default, and not known before it.
    header, *rows = _rows()
    leaking = [
        [*header[:-1], "collection_calls", header[-1]],
        *([*row[:-1], str(int(row[-1]) * 2 + number % 3 // 2), row[-1]] for number, row in enumerate(rows)),
    ]
    train = GOOD.replace('"limit_bal", "bill_amt1"', '"collection_calls", "bill_amt1"')
    result = run_home.run(credit(train, '[[tests]]\nkind = "leak"', leaking))
    assert "collection_calls" in _failing(result, "leak")["because"]


def test_a_constant_in_the_wrong_unit_is_found_by_scaling_all_amounts(
    run_home: Any, credit: Callable[..., Path]
):
    ratio = (
        "import polars as pl\n\ndef amounts(rows):\n"
        "    limit = pl.col('limit_bal') + {constant}\n"
        "    return rows.select('pay_0', 'pay_2', used=pl.col('bill_amt1') / limit, paid=pl.col('pay_amt1') / limit)\n"
    )
    train = CUSTOM.replace('(row["bill_amt1"] or 0) / row["limit_bal"]{guard}', 'row["used"]')
    more = """[[steps]]
name = "amounts"
entry = "steps:amounts"
at = "both"
[[tests]]
kind = "metamorphic"
name = "currency"
scale = { limit_bal = 3, bill_amt1 = 3, pay_amt1 = 3 }
effect = "same"
max_change = 0.01
"""
    folder = credit(train, more, least=0.6)
    # Meant in New Taiwan dollars, written in cents.
    (folder / "steps.py").write_text(ratio.format(constant=100_000))
    test = _failing(run_home.run(folder), "currency")
    assert "answers change by more than 0.01" in test["because"]
    assert set(test["rows"][0]["changed"]) == {"limit_bal", "bill_amt1", "pay_amt1"}
    (folder / "steps.py").write_text(ratio.format(constant=0))
    assert run_home.run(folder).state == "registered"


def test_a_code_that_breaks_the_order_of_delays_is_found_by_direction(
    run_home: Any, credit: Callable[..., Path]
):
    # Four months and more were taken for the code "paid in full", as a column of one character would have it.
    train = GOOD.replace(
        "    kept =", '    X[X[:, features.index("pay_0")] >= 3, features.index("pay_0")] = -2\n    kept ='
    )
    swapped = train.replace(
        "LogisticRegression(C=0.1)", "HistGradientBoostingClassifier(max_iter=30, random_state=7)"
    )
    swapped = "from sklearn.ensemble import HistGradientBoostingClassifier\n" + swapped
    more = '[[tests]]\nkind = "direction"\nfeature = "pay_2"\neffect = "not lower"\nmax_change = 0.05'
    test = _failing(run_home.run(credit(swapped, more)), "direction pay_2")
    small, large = test["rows"][0]["changed"]["pay_2"]
    assert small < large and test["rows"][0]["before"] > test["rows"][0]["after"] + 0.05
    assert len(test["rows"]) == 10


def test_a_model_that_looks_at_sex_is_found_by_invariance(run_home: Any, credit: Callable[..., Path]):
    train = GOOD.replace('"pay_2", ', '"pay_2", "sex", ')
    more = '[[tests]]\nkind = "invariance"\nfeature = "sex"\nmax_change = 0.001'
    test = _failing(run_home.run(credit(train, more)), "invariance sex")
    row = test["rows"][0]
    assert sorted(row["changed"]["sex"]) == [1, 2] and abs(row["before"] - row["after"]) > 0.001


def test_a_model_that_learned_its_rows_by_heart_is_found_by_baseline_and_noise(
    run_home: Any, credit: Callable[..., Path]
):
    train = (
        "from sklearn.tree import DecisionTreeClassifier\n\n"
        "def train(X, y):\n    return DecisionTreeClassifier(random_state=7).fit(X, y)\n"
    )
    more = '[[tests]]\nkind = "baseline"\nmetric = "accuracy"\n[[tests]]\nkind = "noise"\nmax_share = 0.02'
    # 70 % right looks fine until one knows that 78 % pay anyway.
    result = run_home.run(credit(train, more, metric="accuracy", least=0.6))
    assert "prior 0.7" in _failing(result, "baseline")["because"]
    assert _failing(result, "noise")["rows"]


@pytest.mark.long
def test_probabilities_that_moved_are_found_by_answers_calibration_and_golden_rows(
    run_home: Any, credit: Callable[..., Path]
):
    more = SOUND[SOUND.index('[[tests]]\nkind = "answers"') :] + (
        '[[tests]]\nkind = "calibration"\nmax_error = 0.1\n[[tests]]\nkind = "golden"\nmax_change = 0.1\n'
    )
    more = "[data.split]\ntest = 0.4\n" + more
    first = run_home.run(credit(more=more))
    assert first.state == "registered", [(t["name"], t["because"]) for t in first.tests]
    with run_home.shop.database.write() as conn:
        version = get_version(conn, "credit", 1)
        move_alias(
            conn, "credit", "champion", 1, actor=local_actor(), why="first", now=run_home.shop.clock.now()
        )  # fmt: skip
    assert version.state == "registered"
    # The order of the customers, and so the AUC, stays; the probabilities mean something else.
    balanced = GOOD.replace("C=0.1", 'C=0.1, class_weight="balanced"')
    result = run_home.run(credit(balanced, more))
    for name in ("a careful customer", "calibration", "golden"):
        assert _failing(result, name)["rows"]


CUSTOM = """
import math


class Risk:
    def predict_proba(self, rows):
        answers = []
        for row in rows.to_dicts():
            used = (row["bill_amt1"] or 0) / row["limit_bal"]{guard}
            answers.append(1 / (1 + math.exp(-(row["pay_0"] + used))))
        return [[1 - answer, answer] for answer in answers]

    def predict(self, rows):
        return [int(row[1] > 0.5) for row in self.predict_proba(rows)]
"""
CUSTOM += STATELESS + "\n\ndef train(X, y):\n    return Risk()\n"


def test_a_division_by_zero_at_the_border_of_the_contract_is_found_by_borders(
    run_home: Any, credit: Callable[..., Path]
):
    contract = '[contract.features]\nlimit_bal = { type = "int", min = 0, max = 1000000 }\n'
    more = contract + '[[tests]]\nkind = "borders"\nfeatures = ["limit_bal"]'
    test = _failing(run_home.run(credit(CUSTOM.replace("{guard}", ""), more)), "borders limit_bal")
    assert "1 of 2 borders" in test["because"]
    assert test["rows"][0]["changed"]["limit_bal"][1] == 0 and "Division" in test["rows"][0]["answer"]


def test_a_missing_value_that_moves_the_answer_too_far_is_found_by_missing(
    run_home: Any, credit: Callable[..., Path]
):
    more = '[[tests]]\nkind = "missing"\nfeatures = ["bill_amt1"]\nmax_change = 0.05'
    test = _failing(run_home.run(credit(CUSTOM.replace("{guard}", " - 1"), more)), "missing bill_amt1")
    assert test["rows"][0]["changed"]["bill_amt1"][1] is None


FUNCTIONS = '''
def test_two_customers_with_equal_habits_get_equal_answers(score, rows):
    """Age is no habit."""
    first = rows.head(1).to_dicts()[0]
    young, old = score([{**first, "age": 25}, {**first, "age": 70}])
    assert young == old, f"{young:.3f} for the young, {old:.3f} for the old"


def test_nobody_is_sure(score, rows):
    assert max(score(rows)) < 0.5


def test_that_is_mistaken(nothing):
    pass
'''


def test_functions_of_the_project_are_called_by_name_and_told_with_line_and_message(
    run_home: Any, credit: Callable[..., Path]
):
    folder = credit()
    (folder / "model_tests.py").write_text(FUNCTIONS)
    result = run_home.run(folder)
    passed, failed, broken = result.tests
    assert (passed["outcome"], passed["because"]) == ("pass", "Age is no habit.")
    assert failed["outcome"] == "fail" and failed["because"] == "assert max(score(rows)) < 0.5"
    assert FUNCTIONS.splitlines()[failed["line"] - 1].strip() == failed["because"]
    assert (failed["file"], failed["kind"], result.state) == ("model_tests.py", "function", "refused")
    assert broken["outcome"] == "broken" and "'nothing'" in broken["because"]


def test_a_function_that_hangs_is_ended_and_fails_by_name(run_home: Any, make_project: Callable[..., Path]):
    folder = make_project()
    (folder / "model_tests.py").write_text(
        "import time\n\n\ndef test_first():\n    assert True\n\n\ndef test_endless():\n    time.sleep(60)\n"
    )
    file = folder / "flyball.toml"
    file.write_text(file.read_text().replace('timeout = "60s"', 'timeout = "4s"'))
    (test,) = run_home.run(folder).tests
    assert (test["name"], test["outcome"], test["line"]) == ("test_endless", "fail", 8)
    assert "4s" in test["because"]


def test_a_feature_that_is_not_there_ends_the_run_before_training_with_line_and_advice(
    run_home: Any, credit: Callable[..., Path]
):
    folder = credit(more='[[tests]]\nkind = "invariance"\nfeature = "sexx"\nmax_change = 0.1')
    result = run_home.run(folder)
    line = 1 + (folder / "flyball.toml").read_text().splitlines().index('feature = "sexx"')
    assert result.state == "failed" and "train" not in run_home.steps(result.run_id)
    assert f"flyball.toml:{line}: tests[0].feature" in result.error["message"]
    assert "did you mean sex?" in result.error["message"]
    (problem,) = check_project(read_project(folder)).problems
    assert problem.endswith(
        f"flyball.toml:{line}: tests[0].feature" + result.error["message"].partition("feature")[2]
    )
