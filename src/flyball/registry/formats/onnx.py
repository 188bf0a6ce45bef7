"""The ONNX form: made of a model at packaging, kept only where it agrees, served by onnxruntime on one thread.

ONNX trees compare 32-bit numbers. A value that lies within their rounding of a split may fall to its other side, and no
converter says so: hence the comparison on real rows, among them rows whose values lie next to splits.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from flyball.core.errors import UnsafeModel
from flyball.core.project import Task
from flyball.registry.formats.answers import Answers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ONNX_NAME = "model.onnx"
INPUT = "X"
# Relative to the answers' size: well above the rounding of sums of 32-bit numbers, far below a leaf of any tree.
TOLERANCE = 1e-5
_PLAIN = re.compile(r"0x[0-9a-f]+|/\S+")


class OnnxModel:
    """An ONNX model. Answers as float64 of float32 values: (rows,), or (rows, classes) for classifiers."""

    def __init__(self, data: bytes) -> None:
        """Raises UnsafeModel for what onnxruntime does not take, or another shape than `convert` makes."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise UnsafeModel(f"onnxruntime refuses this model: {_short(error)}") from error
        outputs = [output.name for output in self._session.get_outputs()]
        if [given.name for given in self._session.get_inputs()] != [INPUT] or not outputs:
            raise UnsafeModel("the ONNX model has other inputs or outputs than a packaged one")
        # Classifiers give label and probabilities; the label is ours to decide.
        self._outputs = [outputs[-1]]

    def raw(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """The model's numbers for a float64 matrix."""
        import numpy as np

        (out,) = self._session.run(self._outputs, {INPUT: matrix.astype(np.float32)})
        numbers: NDArray[np.float64] = out.astype(np.float64)
        return numbers.reshape(-1) if numbers.ndim == 2 and numbers.shape[1] == 1 else numbers


def convert(estimator: Any, kind: str, feature_count: int) -> bytes:
    """The ONNX form of a LightGBM or XGBoost booster, or of a scikit-learn estimator. Raises what converters raise."""
    if kind == "lightgbm":
        from onnxmltools import convert_lightgbm
        from onnxmltools.convert.common.data_types import FloatTensorType

        types = [(INPUT, FloatTensorType([None, feature_count]))]
        made = convert_lightgbm(estimator, name="model", initial_types=types, zipmap=False)
    elif kind == "xgboost":
        from onnxmltools import convert_xgboost
        from onnxmltools.convert.common.data_types import FloatTensorType

        types = [(INPUT, FloatTensorType([None, feature_count]))]
        made = convert_xgboost(_without_names(estimator), name="model", initial_types=types)
    else:
        from skl2onnx import convert_sklearn
        from skl2onnx.common.data_types import FloatTensorType

        options = {id(estimator): {"zipmap": False}} if hasattr(estimator, "classes_") else None
        types = [(INPUT, FloatTensorType([None, feature_count]))]
        made = convert_sklearn(estimator, name="model", initial_types=types, options=options)
    data: bytes = made.SerializeToString(deterministic=True)
    return data


def _without_names(booster: Any) -> Any:
    """The converter takes feature names for indexes, and stumbles over types such as true-or-false."""
    nameless = type(booster)()
    nameless.load_model(bytearray(booster.save_raw("ubj")))
    if "c" not in (nameless.feature_types or ()):
        nameless.feature_types = None
    nameless.feature_names = None
    return nameless


def compare(expected: Answers, found: Answers, task: Task) -> tuple[float, float, str | None]:
    """Largest difference, what was allowed there, and why the forms disagree (None if they agree)."""
    import numpy as np

    if task == "regression":
        ours, theirs = np.asarray(expected.predictions), np.asarray(found.predictions)
        allowed = np.full(len(ours), TOLERANCE * max(1.0, float(np.abs(ours).max(initial=0.0))))
    else:
        ours, theirs = np.asarray(expected.scores), np.asarray(found.scores)
        if ours.shape != theirs.shape:
            return float("inf"), TOLERANCE, f"it gives scores of shape {theirs.shape}, not {ours.shape}"
        allowed = np.full(ours.shape, TOLERANCE)
    if not np.isfinite(theirs).all():
        return float("inf"), TOLERANCE, "some of its answers are not finite"
    difference = np.abs(ours - theirs)
    worst = float(difference.max(initial=0.0))
    tolerance = float(allowed.max(initial=TOLERANCE))
    changed = sum(a != b for a, b in zip(expected.predictions, found.predictions, strict=True))
    if task != "regression" and changed:
        return worst, tolerance, f"{changed} of {len(ours)} labels change"
    if (difference > allowed).any():
        count = int((difference > allowed).reshape(len(ours), -1).any(axis=1).sum())
        return (
            worst,
            tolerance,
            f"{count} of {len(ours)} rows differ by up to {worst:.3g}; {tolerance:.3g} is allowed",
        )
    return worst, tolerance, None


def _short(error: BaseException) -> str:
    """An error in one line without addresses and paths, the same on every machine."""
    line = str(error).strip().split("\n")[0]
    return _PLAIN.sub("…", f"{type(error).__name__}: {line}")[:300]


def describe_failure(error: BaseException) -> str:
    """Why a conversion failed, the same words each time."""
    return f"it can't be converted: {_short(error)}"
