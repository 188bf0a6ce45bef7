"""LightGBM models kept as their own text: one file, exact to the last bit, readable by every later release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flyball.core.errors import UnsupportedModel
from flyball.core.project import Task
from flyball.registry.formats.classes import match_classes
from flyball.registry.formats.features import match_features
from flyball.registry.formats.lightgbm_text import TextModel, read_text
from flyball.registry.manifest import FeatureSpec, PredictorSpec, Signature

MODEL_NAME = "model.txt"
_PROBABILITY = {
    "binary": ("binary", "cross_entropy", "xentropy"),
    "multiclass": ("multiclass", "softmax", "multiclassova", "ova"),
}
_CLASSIFIERS = frozenset(name for names in _PROBABILITY.values() for name in names)


def save_lightgbm(
    estimator: Any, folder: Path, *, task: Task, signature: Signature, features: tuple[FeatureSpec, ...]
) -> tuple[PredictorSpec, Signature]:
    """Write the model's text; how it is asked, and the signature with its classes. Raises UnsupportedModel."""
    booster = booster_of(estimator)
    text: str = booster.model_to_string()
    facts = read_text(text)
    _check_objective(facts, task)
    matched = match_features(facts.feature_names, features, generated="Column_")
    matched = _with_categories(matched, getattr(booster, "pandas_categorical", None))
    options: dict[str, Any] = {}
    if task != "regression":
        own = getattr(estimator, "classes_", None)
        count = max(2, facts.class_count)
        classes, order = match_classes(own, signature.classes, count=count, knows_labels=own is not None)
        signature = Signature(
            features=signature.features, target=signature.target, classes=classes, positive=signature.positive
        )
        if order is not None:
            options["class_order"] = order
    (folder / MODEL_NAME).write_text(text, encoding="utf-8", newline="")
    return PredictorSpec(kind="lightgbm", path=MODEL_NAME, features=matched, options=options), signature


def booster_of(estimator: Any) -> Any:
    """The booster of a scikit-learn wrapper, or the booster itself. Raises UnsupportedModel if it is not fitted."""
    if not hasattr(estimator, "fit"):
        return estimator
    booster = getattr(estimator, "_Booster", None)
    if booster is None:
        raise UnsupportedModel(
            f"train returned a {type(estimator).__name__} that is not fitted; call fit first"
        )
    return booster


def _check_objective(facts: TextModel, task: Task) -> None:
    fits = (
        facts.objective not in _CLASSIFIERS if task == "regression" else facts.objective in _PROBABILITY[task]
    )
    if not fits:
        wanted = "a regression objective" if task == "regression" else " or ".join(_PROBABILITY[task][:2])
        raise UnsupportedModel(
            f"the booster's objective is {facts.objective or 'a function of its own'!r}; a {task} model needs {wanted}",
            objective=facts.objective,
        )


def _with_categories(features: tuple[FeatureSpec, ...], known: Any) -> tuple[FeatureSpec, ...]:
    """Text features with the categories that the booster was trained on, where it kept them (pandas)."""
    texts = [feature for feature in features if feature.type == "string"]
    if not known or len(known) != len(texts):
        return features
    lists = {
        text.name: tuple(str(value) for value in values) for text, values in zip(texts, known, strict=True)
    }
    return tuple(
        FeatureSpec(name=f.name, type=f.type, nullable=f.nullable, categories=lists.get(f.name, f.categories))
        for f in features
    )
