from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flyball.core.errors import BadInput, FilesExist
from flyball.pipelines.check import check_project
from flyball.pipelines.init import init_project
from flyball.pipelines.project_file import read_project


def table(folder: Path, **columns: Any) -> Path:
    path = folder / "table.parquet"
    pl.DataFrame(columns).write_parquet(path)
    return path


def many(count: int = 200) -> dict[str, Any]:
    return {"amount": [float(n % 17) for n in range(count)], "kind": ["ab"[n % 2] for n in range(count)]}


def test_what_init_writes_is_read_and_checked_without_a_word(tmp_path: Path):
    report = init_project(tmp_path / "Orders 2025")
    assert report.name == "orders-2025" and report.task == "binary" and report.positive == "yes"
    assert (report.time, report.entity) == ("ordered_at", "customer_id")
    file = read_project(tmp_path / "Orders 2025")
    checked = check_project(file)
    assert checked.problems == [] and checked.not_acted_on == []
    assert checked.rows == {"train": 2100, "validation": 300, "test": 600}
    assert checked.contract.features["category"].values == ("books", "electronics", "fashion", "garden")
    assert any("rows at" in note for note in checked.notes)
    assert any('known at once (data.outcome_delay is "0s")' in note for note in checked.notes)
    assert "if it comes later, how much later" in file.path.read_text()
    assert not any("not kept with versions" in note for note in checked.notes)
    (file.folder / "results").mkdir()
    (file.folder / "results" / "labels.json").write_text("{}")
    later = check_project(read_project(file.folder, flags={"data.outcome_delay": "30d"}))
    assert not any("known at once" in note for note in later.notes)
    assert any("results/labels.json (an output" in note for note in later.notes)


def test_the_training_file_imports_nothing_of_flyball(tmp_path: Path):
    init_project(tmp_path / "p")
    tree = ast.parse((tmp_path / "p" / "train.py").read_text())
    imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert imported in (["lightgbm"], ["sklearn.ensemble"])


def test_nothing_is_overwritten(tmp_path: Path):
    (tmp_path / "train.py").write_text("mine")
    with pytest.raises(FilesExist, match=r"train\.py exists already; nothing was written"):
        init_project(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]


@pytest.mark.parametrize(
    ("target", "task", "positive"),
    [
        ([n % 2 for n in range(200)], "binary", 1),
        ([bool(n % 3) for n in range(200)], "binary", True),
        (["no" if n % 4 else "yes" for n in range(200)], "binary", "yes"),
        (["rare" if n % 9 == 0 else "often" for n in range(200)], "binary", "rare"),
        ([n % 3 for n in range(200)], "multiclass", None),
        ([1 + n % 5 for n in range(200)], "multiclass", None),
        ([["x", "y", "z"][n % 3] for n in range(200)], "multiclass", None),
        ([n * 3 for n in range(200)], "regression", None),
        ([n / 7 for n in range(200)], "regression", None),
    ],
)
def test_the_task_follows_from_the_targets_values(
    tmp_path: Path, target: list[Any], task: str, positive: Any
):
    report = init_project(tmp_path / "p", data=table(tmp_path, goal=target, **many()), target="goal")
    assert (report.task, report.positive) == (task, positive)
    assert read_project(tmp_path / "p").project.model.positive == positive


def test_columns_that_can_be_no_features_are_left_out_with_a_reason(tmp_path: Path):
    data = table(
        tmp_path,
        order_id=list(range(200)),
        note=[f"text {n}" for n in range(200)],
        same=[1] * 200,
        leak=[n * 2.0 for n in range(200)],
        y=list(range(200)),
        **many(),
    )
    report = init_project(tmp_path / "p", data=data)
    assert report.target == "y"
    assert report.excluded == {
        "order_id": "different in every row",
        "note": "different in every row",
        "same": "the same in every row",
        "leak": "gives the target away",
    }
    assert report.features == ["amount", "kind"]
    text = (tmp_path / "p" / "flyball.toml").read_text()
    assert '"leak",  # gives the target away' in text


def test_a_missing_target_suggests_the_nearest_column(tmp_path: Path):
    with pytest.raises(BadInput, match="did you mean 'amount'"):
        init_project(tmp_path / "p", data=table(tmp_path, y=list(range(200)), **many()), target="amuont")
    with pytest.raises(BadInput, match="--target"):
        init_project(tmp_path / "p", data=table(tmp_path, **many()))
    wide = {f"column{number}": list(range(200)) for number in range(65)}
    with pytest.raises(BadInput, match="column59 and 5 more"):
        init_project(tmp_path / "p", data=table(tmp_path, **wide))
    named = table(tmp_path, default_next_month=list(range(200)), **wide)
    with pytest.raises(BadInput, match="no column 'default'; did you mean 'default_next_month'"):
        init_project(tmp_path / "p", data=named, target="default")
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("train", "rows", "words"),
    [
        ("def train(X, yy): ...\n", None, "did you mean 'y'"),
        ("def fit(X, y): ...\n", None, "no function 'train'"),
        ("import nothing_like_this\ndef train(X, y): ...\n", None, "ModuleNotFoundError at train.py:1"),
        ("import os\nos._exit(3)\n", None, "exit code 3"),
        (None, "at,x,c\n2025-01-01,1,a\n2025-01-02,2,b\n", "names the column 'y'"),
    ],
)
def test_check_tells_what_a_run_would_stumble_over(
    make_project: Callable[..., Path], train: str | None, rows: str | None, words: str
):
    more = {name: value for name, value in (("train", train), ("rows", rows)) if value is not None}
    report = check_project(read_project(make_project(**more)))
    assert len(report.problems) == 1 and words in report.problems[0]


def test_check_warns_of_leaks_and_of_windows_that_stay_empty(make_project: Callable[..., Path]):
    folder = make_project(more='[monitor]\nwindow = "1d"\n[tune]\ntrials = 3\n')
    text = (folder / "rows.csv").read_text().splitlines()
    doubled = [text[0] + ",z", *(f"{line},{float(line.rsplit(',', 1)[1]) * 2}" for line in text[1:])]
    (folder / "rows.csv").write_text("\n".join(doubled) + "\n")
    report = check_project(read_project(folder))
    assert report.problems == []
    assert any("z" in warning and "exclude" in warning for warning in report.warnings)
    assert any("min_rows is 200" in warning for warning in report.warnings)
    assert [item.key for item in report.not_acted_on] == ["tune"]
