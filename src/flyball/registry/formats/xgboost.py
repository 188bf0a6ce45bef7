"""XGBoost models kept as UBJSON, their own binary form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from flyball.core.errors import UnsupportedModel
from flyball.core.project import Task
from flyball.registry.formats.classes import match_classes
from flyball.registry.formats.features import match_features
from flyball.registry.formats.xgboost_file import read_model
from flyball.registry.manifest import FeatureSpec, PredictorSpec, Signature

MODEL_NAME = "model.ubj"
_PROBABILITY = {"binary": ("binary:logistic", "reg:logistic"), "multiclass": ("multi:softprob",)}
_NO_REGRESSION = ("binary:", "multi:", "rank:", "survival:")


def save_xgboost(
    estimator: Any, folder: Path, *, task: Task, signature: Signature, features: tuple[FeatureSpec, ...]
) -> tuple[PredictorSpec, Signature]:
    """Write the model's bytes; how it is asked, and the signature with its classes. Raises UnsupportedModel."""
    booster = booster_of(estimator)
    data = bytes(booster.save_raw("ubj"))
    facts = read_model(data)
    _check_objective(facts.objective, task)
    if facts.booster == "gblinear":
        raise UnsupportedModel(
            "XGBoost's linear booster can't be asked row by row; use one of scikit-learn's linear models"
        )
    matched = match_features(booster.feature_names, features, count=facts.feature_count)
    options: dict[str, Any] = {}
    if task != "regression":
        own = getattr(estimator, "classes_", None)
        count = max(2, facts.class_count)
        # XGBoost's own wrapper takes labels 0, 1, 2 … only, so that they stand for the sorted values.
        classes, order = match_classes(own, signature.classes, count=count, knows_labels=False)
        signature = msgspec.structs.replace(signature, classes=classes)
        if order is not None:
            options["class_order"] = order
    if (rounds := _rounds(estimator)) is not None:
        options["iterations"] = rounds
    (folder / MODEL_NAME).write_bytes(data)
    return PredictorSpec(kind="xgboost", path=MODEL_NAME, features=matched, options=options), signature


def booster_of(estimator: Any) -> Any:
    """The booster of a scikit-learn wrapper, or the booster itself. Raises UnsupportedModel if it is not fitted."""
    if not hasattr(estimator, "get_booster"):
        return estimator
    if not estimator.__sklearn_is_fitted__():
        raise UnsupportedModel(
            f"train returned a {type(estimator).__name__} that is not fitted; call fit first"
        )
    return estimator.get_booster()


def _rounds(estimator: Any) -> int | None:
    """How many rounds answer after early stopping; the wrapper asks no further ones, a bare booster asks all."""
    if not hasattr(estimator, "get_booster"):
        return None
    try:
        return int(estimator.best_iteration) + 1
    except AttributeError:
        return None


def _check_objective(objective: str, task: Task) -> None:
    if task == "regression":
        fits, wanted = not objective.startswith(_NO_REGRESSION), "a regression objective (reg:…)"
    else:
        fits, wanted = objective in _PROBABILITY[task], _PROBABILITY[task][0]
    if not fits:
        raise UnsupportedModel(
            f"the booster's objective is {objective!r}; a {task} model needs {wanted}", objective=objective
        )
