"""What is wrong with a model test is told with its key, its line and what there is instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyball.core.errors import ProjectError
from flyball.pipelines.model_test_rules import KINDS
from flyball.pipelines.not_acted_on import not_acted_on
from flyball.pipelines.project_file import read_project

TOML = """[model]
name = "credit"
task = "{task}"
target = "y"
positive = 1
[data]
source = "rows.csv"
features = ["age", "sex", "pay_0"]
[train]
entry = "train:train"
[[tests]]
{test}
"""


def _problem(folder: Path, test: str, task: str = "binary") -> tuple[str, str]:
    file = folder / "flyball.toml"
    text = TOML.format(task=task, test=test)
    file.write_text(text if task == "binary" else text.replace("positive = 1\n", ""))
    with pytest.raises(ProjectError) as caught:
        read_project(folder)
    (problem,) = caught.value.facts["problems"]
    assert problem["line"] >= text.splitlines().index("[[tests]]") + (0 if task == "binary" else -1) + 1
    return problem["key"], f"{problem['problem']} {problem['expected']} {problem['nearest']}"


@pytest.mark.parametrize(
    ("test", "key", "words"),
    [
        ('kind = "invarianse"\nfeature = "sex"\nmax_change = 0.1', "tests[0].kind", "invariance"),
        ('kind = "invariance"\nfeature = "sex"', "tests[0].max_change", "is missing"),
        (
            'kind = "invariance"\nfeature = "sexx"\nmax_change = 0',
            "tests[0].feature",
            "no feature of the model",
        ),
        ('kind = "invariance"\nfeature = "sex"\nmax_change = -1', "tests[0].max_change", "at least 0"),
        ('kind = "direction"\nfeature = "age"\neffect = "never lower"', "tests[0].effect", "not lower"),
        ('kind = "direction"\nfeature = "age"\neffect = "same"', "tests[0].effect", "not higher"),
        ('kind = "noise"', "tests[0]", "asks for nothing"),
        ('kind = "noise"\nmax_share = 2.0', "tests[0].max_share", "share"),
        ('kind = "noise"\nmax_share = 0.1\nfeatures = ["age", "pay_1"]', "tests[0].features[1]", "pay_0"),
        ('kind = "leak"\nmax_change = 0.1', "tests[0].max_change", "no key of the kind leak"),
        ('kind = "answers"\nrows = [{ age = 1, ag = 2 }]\nmin = 0.1', "tests[0].rows[0].ag", "no feature"),
        ('kind = "answers"\nrows = [{ age = 1 }]\nmin = 0.3\nmax = 0.1', "tests[0].min", "above max"),
        ('kind = "metamorphic"\nswap = ["age"]\neffect = "same"', "tests[0].swap", "two features"),
        ('kind = "metamorphic"\nscale = { agee = 2 }\neffect = "same"', "tests[0].scale.agee", "age"),
        ('kind = "baseline"\nthan = "mean"', "tests[0].than", "prior"),
        ('kind = "baseline"\nthan = "last"', "tests[0].than", "model.time"),
        ('kind = "baseline"\nmetric = "mae"', "tests[0].metric", "no metric of a binary model"),
        ('kind = "calibration"\nmax_error = 0.1\nconfidence = 95', "tests[0].confidence", "0.95"),
    ],
)
def test_a_broken_rule_of_a_test_is_told(tmp_path: Path, test: str, key: str, words: str):
    found, told = _problem(tmp_path, test)
    assert (found, words in told) == (key, True), (found, told)


def test_what_has_no_meaning_for_the_task_is_told(tmp_path: Path):
    assert _problem(tmp_path, 'kind = "calibration"\nmax_error = 0.1', "regression")[0] == "tests[0].kind"
    ordered = 'kind = "direction"\nfeature = "age"\neffect = "not lower"'
    assert _problem(tmp_path, ordered, "multiclass")[0] == "tests[0].effect"


def test_a_key_that_a_kind_needs_is_a_key_and_no_kind_asks_for_one_twice(tmp_path: Path):
    for name, kind in KINDS.items():
        assert len(set(kind.keys)) == len(kind.keys), name
    (tmp_path / "flyball.toml").write_text(TOML.format(task="binary", test='kind = "leak"'))
    assert not_acted_on(read_project(tmp_path)) == []
