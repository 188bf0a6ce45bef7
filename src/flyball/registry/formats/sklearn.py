"""scikit-learn estimators and pipelines, kept by skops: types are allowed by our list, never by the file's."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flyball.core.errors import UnsafeModel, UnsupportedModel
from flyball.registry.formats import skops_archive
from flyball.registry.formats.tree_checks import check_estimator

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Beside what skops trusts by itself (scikit-learn's public estimators, numpy's and scipy's functions). Each of them
# builds itself from arrays and plain values; nothing here calls what a file names.
ALLOWED = frozenset(
    {
        "collections.OrderedDict",
        "collections.defaultdict",
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMClassifier",
        "lightgbm.sklearn.LGBMRegressor",
        "numpy.dtype",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.feature_selection._univariate_selection.f_regression",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
        "xgboost.core.Booster",
        "xgboost.sklearn.XGBClassifier",
        "xgboost.sklearn.XGBRegressor",
    }
)


def dump_estimator(estimator: Any) -> bytes:
    """The estimator as a reproducible archive. Raises UnsupportedModel for what could not be loaded again."""
    import skops.io

    try:
        archive = skops_archive.normalise(skops.io.dumps(estimator))
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UnsupportedModel(
            f"skops can't keep this {type(estimator).__name__}: {error}. {ADVICE}", error=str(error)[:300]
        ) from error
    unknown = _unknown_types(archive)
    if unknown:
        raise UnsupportedModel(
            f"the estimator holds {', '.join(unknown)}, which is not loaded again. {ADVICE}"
        )
    return archive


ADVICE = (
    'Use scikit-learn\'s own parts, move your own code into a step with at = "both", or return an object of your own '
    "class with predict(rows), save(folder) and load(folder)"
)


def load_estimator(archive: bytes) -> Any:
    """The estimator in an archive, one thread, every index checked. Raises UnsafeModel."""
    import skops.io

    skops_archive.check(archive)
    unknown = _unknown_types(archive)
    if unknown:
        raise UnsafeModel(f"the file asks for {', '.join(unknown[:5])}, which is not loaded", types=unknown)
    try:
        estimator = skops.io.loads(archive, trusted=sorted(ALLOWED))
    except Exception as error:
        # Whatever a hostile or torn file makes of it: skops builds objects of many libraries.
        raise UnsafeModel(f"the archive can't be loaded: {type(error).__name__}: {error}") from error
    check_estimator(estimator)
    use_one_thread(estimator)
    return estimator


def use_one_thread(estimator: Any) -> None:
    """Forests on several threads differ from themselves in the last digit, and a server has one process per core."""
    if hasattr(estimator, "get_params"):
        jobs = [name for name in estimator.get_params() if name == "n_jobs" or name.endswith("__n_jobs")]
        if jobs:
            estimator.set_params(**dict.fromkeys(jobs, 1))


def raw_answers(estimator: Any, given: Any, task: str) -> NDArray[Any]:
    """Numbers for regression, probabilities by the estimator's classes, or labels where it gives none (dtype object).

    Raises UnsupportedModel for several outputs a row.
    """
    import numpy as np

    with warnings.catch_warnings():
        # It was fitted on a frame with names and is asked with a matrix in the same order.
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        if task == "regression":
            values = np.asarray(estimator.predict(given), dtype=np.float64)
            if values.ndim == 2 and values.shape[1] == 1:
                values = values[:, 0]
            if values.ndim != 1:
                raise UnsupportedModel(
                    f"the model gives {values.shape[1:]} numbers for a row; one is expected"
                )
            return values
        if hasattr(estimator, "predict_proba"):
            return np.asarray(estimator.predict_proba(given), dtype=np.float64)
        return np.asarray(estimator.predict(given), dtype=object)


def _unknown_types(archive: bytes) -> list[str]:
    import skops.io

    try:
        found: Sequence[str] = skops.io.get_untrusted_types(data=archive)
    except Exception as error:
        raise UnsafeModel(f"the archive can't be read: {type(error).__name__}: {error}") from error
    return sorted(set(found) - ALLOWED)
