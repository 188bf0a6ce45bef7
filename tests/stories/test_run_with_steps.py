from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from flyball.pipelines.runs import get_run
from flyball.registry.bundle import fetch, read_folder_manifest
from flyball.registry.formats.loading import load_predictor

STEPS = '''
import polars as pl


def shape(rows, params):
    """Row by row: fills gaps, makes a product, a category of the text, and leaves the raw columns out."""
    filled = rows["x"].fill_null(params.get("fill", 5.0))
    return pl.DataFrame({
        "x": filled,
        "square": filled * filled,
        "is_a": (rows["c"] == "a").fill_null(False),
        "kind": rows["c"].fill_null("none"),
        "n": rows["n"],
    })
'''
TRAIN = """
from lightgbm import LGBMRegressor


def train(X, y, seed):
    model = LGBMRegressor(n_estimators=20, num_leaves=7, min_child_samples=5, random_state=seed, n_jobs=1, verbose=-1)
    return model.fit(X, y)
"""
MORE = """
[[steps]]
name = "shape"
entry = "steps:shape"
at = "both"
"""


def gappy_rows(count: int) -> str:
    rng = random.Random(3)
    lines = ["at,x,c,n,y"]
    for hour in range(count):
        x, c, n = rng.random() * 10, rng.choice("abd"), rng.randrange(100)
        y = (x - 5) ** 2 + (3 if c == "a" else 0) + n / 50 + rng.gauss(0, 0.3)
        gaps = [rng.random() < share for share in (0.2, 0.15, 0.1)]
        shown = ["" if gap else value for gap, value in zip(gaps, (f"{x:.6f}", c, n), strict=True)]
        day, rest = divmod(hour, 24)
        lines.append(
            f"2025-{1 + day // 28:02d}-{1 + day % 28:02d}T{rest:02d}:00:00Z,{shown[0]},{shown[1]},{shown[2]},{y:.5f}"
        )
    return "\n".join(lines) + "\n"


def test_a_step_at_both_answers_a_thousand_gappy_requests_exactly_as_in_evaluation(
    run_home: Any, make_project: Callable[..., Path]
):
    folder = make_project(train=TRAIN, rows=gappy_rows(2500), more=MORE)
    (folder / "steps.py").write_text(STEPS)
    result = run_home.run(folder, {"data.split.test": "0.4"})
    assert result.state == "registered", result.error
    shop = run_home.shop
    bundle = fetch(result.digest, shop.blobs, shop.settings.cache_folder)
    manifest = read_folder_manifest(bundle, result.digest)
    assert manifest.needs_process and [feature.name for feature in manifest.signature.features] == [
        "x",
        "c",
        "n",
    ]
    assert (bundle / "source" / "steps.py").is_file()

    table = pl.read_csv(folder / "rows.csv").tail(1000)
    assert all(table[name].null_count() > 50 for name in ("x", "c", "n"))
    predictor = load_predictor(bundle, in_model_process=True)
    by_frame = predictor.predict_frame(table.select("x", "c", "n"))
    one_by_one = [
        predictor.predict_rows([row]).predictions[0] for row in table.select("x", "c", "n").to_dicts()
    ]
    together = predictor.predict_rows(table.select("x", "c", "n").to_dicts())
    assert by_frame.predictions == one_by_one == together.predictions
    # The test part was these 1,000 rows: what evaluation reported is what the package answers.
    errors = (pl.Series(one_by_one) - table["y"]).abs()
    assert abs(float(errors.mean()) - result.metrics["mae"]["value"]) < 1e-12


def test_a_step_that_looks_at_other_rows_can_not_run_on_requests(
    run_home: Any, make_project: Callable[..., Path]
):
    folder = make_project(more=MORE)
    (folder / "steps.py").write_text(
        "def shape(rows):\n    return rows.with_columns(x=rows['x'] - rows['x'].mean())\n"
    )
    result = run_home.run(folder)
    assert result.state == "failed" and "when it comes alone" in result.error["message"]


def test_a_step_that_raises_names_its_line(run_home: Any, make_project: Callable[..., Path]):
    folder = make_project(more=MORE)
    (folder / "steps.py").write_text("def shape(rows):\n    return rows.select('nothing')\n")
    result = run_home.run(folder)
    assert result.error["code"] == "user_code_failed"
    assert "step shape (steps:shape) raised ColumnNotFoundError at steps.py:2" in result.error["message"]


def test_a_step_at_train_makes_the_columns_that_requests_carry(
    run_home: Any, make_project: Callable[..., Path]
):
    folder = make_project(more=MORE.replace("both", "train"))
    (folder / "steps.py").write_text(
        "def shape(rows, target, features):\n"
        "    assert target == 'y' and features == ['x', 'c']\n"
        "    print('shaped', len(rows))\n"
        "    return rows.filter(rows['x'] > 1).with_columns(x=rows.filter(rows['x'] > 1)['x'] / 2).drop('c')\n"
    )
    result = run_home.run(folder, {"train.params.slope": "4.0", "train.refit": "true"})
    assert result.state == "registered", result.error
    shop = run_home.shop
    bundle = fetch(result.digest, shop.blobs, shop.settings.cache_folder)
    manifest = read_folder_manifest(bundle, result.digest)
    assert [feature.name for feature in manifest.signature.features] == ["x"]
    assert list(manifest.contract.features) == ["x"]
    assert manifest.contract.features["x"].max < 7
    # y = 2 (2 x) + 1: the halved column needs twice the slope.
    answers = load_predictor(bundle, in_model_process=True).predict_rows([{"x": 1.0}])
    assert abs(answers.predictions[0] - 5) < 0.2
    assert result.metrics["mae"]["value"] < 0.5
    with shop.database.read() as conn:
        warnings = get_run(conn, result.run_id).result["warnings"]
    assert any("trained once more on all rows" in warning for warning in warnings)
    assert "[train] shaped 280" in run_home.log(result.run_id)

    # Parameters that the step does not ask for change nothing about it: it is not run again.
    again = run_home.run(folder, {"train.params.slope": "3.9"})
    assert run_home.steps(again.run_id)["train"] == "done"
    assert "trained on" in run_home.log(again.run_id) and "shaped" not in run_home.log(again.run_id)


def test_steps_may_not_lose_the_target(run_home: Any, make_project: Callable[..., Path]):
    folder = make_project(more=MORE.replace("both", "train"))
    (folder / "steps.py").write_text("def shape(rows):\n    return rows.drop('y')\n")
    result = run_home.run(folder)
    assert result.state == "failed" and "keep the target" in result.error["message"]
