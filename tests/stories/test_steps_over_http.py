"""A model with a step `at = "both"`, from `flyball run` to HTTP: rows with gaps get the answers of the evaluation."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flyball.backends.blobs.store import open_blobs
from flyball.registry.bundle import fetch
from flyball.registry.formats.loading import load_predictor

PROJECT = """
[model]
name = "plant"
task = "regression"
target = "yield"
time = "at"
[data]
source = "rows.csv"
[data.split]
by = "time"
test = 0.4
validation = 0.0
[[steps]]
name = "shape"
entry = "shaping:shape"
at = "both"
[train]
entry = "train:train"
frames = "numpy"
"""
SHAPING = """
import polars as pl


def shape(rows):
    heat = rows["heat"].fill_null(4.0)
    return pl.DataFrame({
        "heat": heat,
        "boiling": heat.exp() / 7,
        "wet": rows["water"].is_not_null() & (rows["water"].fill_null(0) > 2.5),
        "place": rows["place"].fill_null("nowhere"),
        "gaps": rows.select(pl.sum_horizontal(pl.all().is_null()))[rows.columns[0]],
    })
"""
TRAIN = """
from lightgbm import LGBMRegressor


def train(X, y, seed):
    return LGBMRegressor(n_estimators=25, num_leaves=7, random_state=seed, n_jobs=1, verbose=-1).fit(X, y)
"""
FEATURES = ["heat", "water", "place"]
TESTED = 1000


def write_rows(path: Path, count: int) -> None:
    """Rows in the order of their times, a fifth of all values missing."""
    chance = random.Random(8)
    rows = []
    for number in range(count):
        heat, water, place = chance.uniform(0, 10), chance.uniform(0, 5), chance.choice(["hill", "lake"])
        value = 3 * heat - 2 * water + (4 if place == "hill" else 0) + chance.gauss(0, 0.3)
        shown = [None if chance.random() < 0.2 else given for given in (heat, water, place)]
        at = f"2025-01-{1 + number // 1440:02d}T{number // 60 % 24:02d}:{number % 60:02d}:00Z"
        rows.append([at, *shown, value])
    pl.DataFrame(rows, schema=["at", *FEATURES, "yield"], orient="row").write_csv(path)


@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.long)])
def test_a_thousand_gappy_rows_get_exactly_the_answers_of_the_evaluation(whole: Any, every: int):
    for name, text in (("flyball.toml", PROJECT), ("shaping.py", SHAPING), ("train.py", TRAIN)):
        (whole.folder / name).write_text(text)
    write_rows(whole.folder / "rows.csv", 2500)
    whole.flyball("run")
    whole.flyball("deploy", "plant", "--why", "first version")
    described = whole.json("show", "plant@1")
    bundle = fetch(
        described["version"]["digest"], open_blobs(f"file://{whole.home}/objects"), whole.folder / "unpacked"
    )
    tested = pl.read_csv(whole.folder / "rows.csv").tail(TESTED)
    assert all(tested[name].null_count() > 100 for name in FEATURES)
    sys.modules.pop("shaping", None)
    packaged = (
        load_predictor(bundle, in_model_process=True).predict_frame(tested.select(FEATURES)).predictions
    )

    whole.up()
    whole.wait(lambda: whole.call(whole.serve_port, "GET", "/v2/models/plant/ready")[0] == 200, "the model")
    path, rows = "/v1/models/plant/predict", tested.select(FEATURES).to_dicts()
    alone = []
    for row in rows[::every]:
        status, answer = whole.call(whole.serve_port, "POST", path, {"rows": [row]})
        assert status == 200, answer
        alone += answer["predictions"]
    assert alone == packaged[::every]  # every bit: JSON carries the shortest text that reads back the same
    status, together = whole.call(whole.serve_port, "POST", path, {"rows": rows})
    assert (status, together["predictions"]) == (200, packaged)
    # A field left out is a value missing, like one that is null.
    sparse = [{name: value for name, value in row.items() if value is not None} for row in rows]
    status, left_out = whole.call(whole.serve_port, "POST", path, {"rows": sparse})
    assert (status, left_out["predictions"]) == (200, packaged)

    (evaluation,) = [item["facts"] for item in described["evidence"] if item["kind"] == "evaluation"]
    error = (pl.Series(together["predictions"]) - tested["yield"]).abs().mean()
    assert error == pytest.approx(evaluation["metrics"]["mae"]["value"], rel=1e-12)
    assert evaluation["metrics"]["mae"]["row_count"] == TESTED
