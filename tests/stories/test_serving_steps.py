"""A model with steps of its own answers through HTTP as it does in evaluation, on rows with gaps."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import polars
from flyball_tests_serving import CONTRACT, MODEL, ModelServer

from flyball.core.contract import Contract, FeatureRule
from flyball.registry.formats.loading import load_predictor
from flyball.registry.formats.package import finish
from flyball.registry.formats.saving import save_estimator
from flyball.registry.formats.signatures import feature_specs, signature_for
from flyball.registry.formats.steps import StepSource

STEPS = """
import polars as pl


def shape(rows):
    return rows.select(
        warmth=pl.col("temp").fill_null(11.5) ** 2,
        night=pl.col("hour").is_in([0, 1, 2, 23]).cast(pl.Float64),
        gaps=pl.sum_horizontal(pl.all().is_null()).cast(pl.Float64),
    )
"""
SHAPED = ("warmth", "night", "gaps")


def gappy_rows(count: int) -> list[dict[str, Any]]:
    chance = random.Random(5)
    full = [
        {"temp": chance.uniform(-20, 40), "hour": chance.randrange(24), "trouble": chance.random()}
        for _ in range(count)
    ]
    return [{name: value if chance.random() > 0.2 else None for name, value in row.items()} for row in full]


def make_bundle(folder: Path, rows: list[dict[str, Any]]) -> Path:
    import lightgbm
    import numpy as np

    source = folder / "project"
    source.mkdir()
    (source / "gappy_steps.py").write_text(STEPS)
    random_numbers = np.random.default_rng(3)
    shaped = random_numbers.uniform(0, 400, size=(2000, 3))
    target = shaped[:, 0] * 2 + shaped[:, 1] * 30 - shaped[:, 2]
    model = lightgbm.LGBMRegressor(n_estimators=60, n_jobs=1, verbose=-1).fit(shaped, target)
    step_contract = Contract(features={name: FeatureRule(type="float", nullable=True) for name in SHAPED})
    frame = polars.DataFrame(
        rows, schema={"temp": polars.Float64, "hour": polars.Int64, "trouble": polars.Float64}
    )
    saved = save_estimator(
        model,
        folder / "bundle",
        task="regression",
        signature=signature_for(CONTRACT, target="rentals"),
        sample=frame.head(200),
        steps=[StepSource(name="shape", entry="gappy_steps:shape")],
        source=source,
        step_features=feature_specs(step_contract),
    )
    sys.modules.pop("gappy_steps", None)  # what follows happens in a process of its own
    finish(folder / "bundle", saved, model=MODEL, task="regression", contract=CONTRACT, rows=frame.head(200))
    return folder / "bundle"


def test_a_thousand_gappy_rows_get_the_answers_of_the_evaluation(model_server: ModelServer, tmp_path: Path):
    rows = gappy_rows(1000)
    assert all(sum(row[name] is None for row in rows) > 100 for name in CONTRACT.features)
    bundle = make_bundle(tmp_path, rows)
    frame = polars.DataFrame(
        rows, schema={"temp": polars.Float64, "hour": polars.Int64, "trouble": polars.Float64}
    )
    sys.modules.pop("gappy_steps", None)
    expected = load_predictor(bundle, in_model_process=True).predict_frame(frame).predictions
    model_server.publish(1, champion=(1, bundle))
    model_server.start()
    together = model_server.predict(MODEL, rows)
    assert together.status == 200, together.data
    assert together.json["predictions"] == expected
    one_by_one = [model_server.predict(MODEL, [row]).json["predictions"][0] for row in rows[::5]]
    assert one_by_one == expected[::5]
    assert [record.output for record in model_server.predictions()[:1000]] == expected
