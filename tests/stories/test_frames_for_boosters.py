"""LightGBM and XGBoost with each kind of frame, on rows with text: a model, or an error that tells the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LIGHTGBM = """
from lightgbm import LGBMRegressor

def train(X, y):
    model = LGBMRegressor(n_estimators=5, n_jobs=1, verbose=-1)
    return model.fit({X}, y)
"""
XGBOOST = """
from xgboost import XGBRegressor

def train(X, y):
    model = XGBRegressor(n_estimators=5, n_jobs=1, enable_categorical={categorical})
    return model.fit({X}, y)
"""


def run(run_home: Any, folder: Path, frames: str, **flags: str) -> Any:
    return run_home.run(folder, {"train.frames": frames, **flags})


def test_lightgbm_that_is_given_text_in_a_polars_frame_is_told_which_frames_to_ask_for(
    run_home: Any, make_project: Callable[..., Path]
):
    result = run(run_home, make_project(train=LIGHTGBM.format(X="X")), "polars")
    assert (result.state, result.error["code"]) == ("failed", "user_code_failed")
    message = result.error["message"]
    assert "LightGBM ended the process at train.py:6" in message
    assert "text columns" in message and 'frames = "pandas"' in message and '"numpy"' in message


def test_xgboost_that_is_given_a_polars_frame_is_told_which_frames_to_ask_for(
    run_home: Any, make_project: Callable[..., Path]
):
    code = XGBOOST.format(X="X", categorical=True)
    result = run(run_home, make_project(train=code), "polars", **{"data.exclude": '["c"]'})
    assert (result.state, result.error["code"]) == ("failed", "user_code_failed")
    assert "train.py:6" in result.error["message"]
    assert "pyarrow, which is not installed" in result.error["message"]
    assert 'frames = "pandas"' in result.error["message"]


@pytest.mark.parametrize(
    ("code", "frames"),
    [
        pytest.param(LIGHTGBM.format(X="X"), "pandas", marks=pytest.mark.long),
        pytest.param(LIGHTGBM.format(X="X"), "numpy", marks=pytest.mark.long),
        (XGBOOST.format(X="X", categorical=True), "pandas"),
        pytest.param(XGBOOST.format(X="X", categorical=True), "numpy", marks=pytest.mark.long),
    ],
)
def test_the_frames_that_the_errors_name_give_a_version(
    run_home: Any, make_project: Callable[..., Path], code: str, frames: str
):
    result = run(run_home, make_project(train=code), frames)
    assert result.state == "registered", result.error


@pytest.mark.parametrize(
    "code",
    [
        LIGHTGBM.format(X='X.with_columns(X["c"].to_physical())'),
        pytest.param(
            XGBOOST.format(X='X.with_columns(X["c"].to_physical()).to_numpy()', categorical=False),
            marks=pytest.mark.long,
        ),
    ],
)
def test_text_that_train_itself_turns_into_codes_gives_a_version(
    run_home: Any, make_project: Callable[..., Path], code: str
):
    result = run(run_home, make_project(train=code), "polars")
    assert result.state == "registered", result.error


def test_a_model_of_its_own_class_that_asks_a_booster_with_text_is_told_so(
    run_home: Any, make_project: Callable[..., Path]
):
    code = """
import lightgbm
import numpy as np

class Wrapped:
    def __init__(self, booster):
        self.booster = booster

    def predict(self, rows):
        return self.booster.predict(rows)

    def save(self, folder):
        self.booster.save_model(f"{folder}/model.txt")

    @classmethod
    def load(cls, folder):
        return cls(lightgbm.Booster(model_file=f"{folder}/model.txt"))

def train(X, y):
    numbers = lightgbm.Dataset(X.with_columns(X["c"].to_physical()), label=y)
    return Wrapped(lightgbm.train({"verbose": -1, "num_threads": 1}, numbers, 3))
"""
    result = run(run_home, make_project(train=code), "polars")
    assert (result.state, result.error["code"]) == ("failed", "user_code_failed")
    assert "Wrapped, which train returned, raised LightGBMError at train.py:10" in result.error["message"]
    assert "text columns with listed values of a polars frame" in result.error["message"]
    assert 'frames = "pandas"' in result.error["message"]
