"""Custom classes: `predict(rows)`, `save(folder)`, `load(folder)` of the project's own, for model processes only."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flyball.core.errors import BadAnswer, UnsupportedModel
from flyball.core.records import label_text
from flyball.registry.formats.answers import Answers, Labels, answers_from
from flyball.registry.formats.source import entry_of, load_entry
from flyball.registry.manifest import FeatureSpec, PredictorSpec

MODEL_FOLDER = "model"
_METHODS = ("predict", "save", "load")


def is_custom(estimator: Any) -> bool:
    """Whether an object has what a custom model needs."""
    return all(callable(getattr(estimator, name, None)) for name in _METHODS)


def save_custom(
    estimator: Any, folder: Path, features: tuple[FeatureSpec, ...], source: Path, frames: Any
) -> PredictorSpec:
    """Let the object save itself below the bundle's folder. Raises UnsupportedModel."""
    entry = entry_of(type(estimator), source)
    target = folder / MODEL_FOLDER
    target.mkdir(parents=True)
    estimator.save(target)
    for path in sorted(target.rglob("*")):
        if path.is_file() and (what := find_pickle(path)):
            raise UnsupportedModel(
                f"save() of {type(estimator).__name__} wrote {path.name}, which is {what}: such files run code "
                "when they are loaded. Write arrays with numpy.save(allow_pickle=False), tensors as safetensors, the "
                "rest as JSON"
            )
    return PredictorSpec(
        kind="custom",
        path=MODEL_FOLDER,
        features=features,
        frames="pandas" if frames == "pandas" else "polars",
        entry=entry,
    )


def load_custom(spec: PredictorSpec, model: Path, source: Path) -> Any:
    """The object again, from verified copies of its files and its code. Only in a model process."""
    assert spec.entry is not None
    return load_entry(spec.entry, source).load(model)


def ask_custom(
    model: Any, given: Any, task: Any, classes: Labels | None, positive: Any, count: int
) -> Answers:
    """What a custom model answers for a frame, in the form of all models. Raises BadAnswer.

    Regression: one number a row. Classification: one class a row, one probability per class and row in the order of the
    target's sorted values, or for a binary target the probability of its positive class. `predict_proba`, where there
    is one, gives the scores beside the classes of `predict`.
    """
    values = _listed(model.predict(given))
    if len(values) != count:
        raise BadAnswer(f"the model gave {len(values)} answers for {count} rows")
    if task == "regression":
        return Answers([_number(_single(value)) for value in values])
    assert classes is not None
    if count and isinstance(values[0], list) and len(values[0]) == len(classes):
        return _scored(values, task, classes)
    flat = [_single(value) for value in values]
    by_text = {label_text(value): value for value in classes}
    if (
        all(isinstance(value, float) and label_text(value) not in by_text for value in flat)
        and len(classes) == 2
    ):
        second = (
            classes[0]
            if positive is not None and label_text(positive) == label_text(classes[0])
            else classes[1]
        )
        scores = [[1.0 - p, p] if second == classes[1] else [p, 1.0 - p] for p in flat]
        return _scored(scores, task, classes)
    predictions = [by_text.get(label_text(value), value) for value in flat]
    if callable(getattr(model, "predict_proba", None)):
        return Answers(predictions, _scored(_listed(model.predict_proba(given)), task, classes).scores)
    return Answers(predictions)


def find_pickle(path: Path) -> str | None:
    """What makes a file one that runs code when it is loaded, or None."""
    with path.open("rb") as file:
        start = file.read(2)
    if len(start) == 2 and start[0] == 0x80 and 2 <= start[1] <= 5:
        return "a pickle"
    if start == b"PK" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith((".pkl", ".pickle")) for name in archive.namelist()):
                return "an archive of pickles"
    return None


def _scored(values: Sequence[Any], task: Any, classes: Labels) -> Answers:
    import numpy as np

    try:
        scores = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadAnswer(f"the model's scores are no numbers: {error}") from error
    if scores.ndim != 2 or scores.shape[1] != len(classes):
        raise BadAnswer(f"the model gave scores of shape {scores.shape} for {len(classes)} classes")
    return answers_from(scores, task, classes)


def _listed(values: Any) -> list[Any]:
    for name in ("to_list", "tolist"):
        if hasattr(values, name):
            values = getattr(values, name)()
            break
    else:
        if hasattr(values, "to_numpy"):
            values = values.to_numpy().tolist()
    if not isinstance(values, list | tuple):
        raise BadAnswer(
            f"the model returned {type(values).__name__}; a list, a series or an array is expected"
        )
    return [value.item() if hasattr(value, "item") else value for value in values]


def _single(value: Any) -> Any:
    while isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if isinstance(value, list | tuple):
        raise BadAnswer(f"the model gave {len(value)} values for a row; one is expected")
    return value.item() if hasattr(value, "item") else value


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadAnswer(f"the model gave {str(value)[:80]!r}; a number is expected")
    return float(value)
