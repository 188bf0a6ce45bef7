"""Fitted estimators whose compiled code follows indexes of the file: the indexes are checked before they are followed.

scikit-learn checks shapes and types of these arrays when it builds the objects, not where their numbers point.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flyball.core.errors import UnsafeModel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CHECKS: dict[str, str] = {
    "sklearn.tree._tree.Tree": "tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor": "predictor",
    "sklearn.neighbors._kd_tree.KDTree": "neighbours",
}


def check_estimator(estimator: Any) -> None:
    """Raises UnsafeModel if a part of a loaded estimator points outside itself, or beyond the features it is given."""
    for part in _parts(estimator):
        kind = _CHECKS.get(f"{type(part).__module__}.{type(part).__qualname__}")
        if kind == "tree":
            _check_tree(part)
        elif kind == "predictor":
            _check_predictor(part)
        elif kind == "neighbours":
            _check_neighbours(part)
        elif hasattr(part, "_n_support") and hasattr(part, "support_vectors_"):
            _check_support(part)
        elif hasattr(part, "n_features_in_"):
            _check_features(part)


def _parts(root: Any) -> Iterator[Any]:
    """Every object below an estimator, once."""
    import numpy as np

    seen: set[int] = set()
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if id(part) in seen or isinstance(part, str | bytes | int | float | bool | type(None)):
            continue
        seen.add(id(part))
        if isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, list | tuple | set | frozenset):
            waiting.extend(part)
        elif isinstance(part, np.ndarray):
            if part.dtype == object:
                waiting.extend(part.ravel().tolist())
        else:
            yield part
            waiting.extend(getattr(part, "__dict__", {}).values())


def _check_tree(tree: Any) -> None:
    import numpy as np

    count = int(tree.node_count)
    left, right, features = tree.children_left, tree.children_right, tree.feature
    leaves = left == -1
    order = np.arange(count)
    if count < 1 or (leaves != (right == -1)).any():
        raise UnsafeModel("a tree has nodes with one child")
    _check_children(order, left, right, ~leaves, count)
    if ((features < 0) | (features >= int(tree.n_features)))[~leaves].any():
        raise UnsafeModel("a tree splits by a feature that there is not")
    if len(tree.value) != count:
        raise UnsafeModel("a tree has other values than nodes")


def _check_predictor(predictor: Any) -> None:
    import numpy as np

    nodes = predictor.nodes
    count = len(nodes)
    inner = nodes["is_leaf"] == 0
    _check_children(np.arange(count), nodes["left"], nodes["right"], inner, count)
    sets = predictor.raw_left_cat_bitsets
    categorical = inner & (nodes["is_categorical"] != 0)
    if (
        sets.ndim != 2
        or (len(sets) and sets.shape[1] != 8)
        or (nodes["bitset_idx"][categorical] >= len(sets)).any()
    ):
        raise UnsafeModel("a tree splits by a category set that there is not")
    if (nodes["feature_idx"][inner].astype(np.int64) < 0).any():
        raise UnsafeModel("a tree splits by a feature that there is not")


def _check_features(holder: Any) -> None:
    """What asks a tree has checked the width of the rows against `n_features_in_`, and the tree has not."""
    import numpy as np

    width = int(holder.n_features_in_)
    below = np.asarray(getattr(holder, "estimators_", ()), dtype=object).ravel().tolist()
    trees = [getattr(one, "tree_", None) for one in (holder, *below)]
    if any(tree is not None and int(tree.n_features) > width for tree in trees):
        raise UnsafeModel("a tree splits by a feature that there is not")
    for predictor in (one for several in getattr(holder, "_predictors", ()) for one in several):
        inner = predictor.nodes["is_leaf"] == 0
        if (predictor.nodes["feature_idx"][inner].astype(np.int64) >= width).any():
            raise UnsafeModel("a tree splits by a feature that there is not")


def _check_children(
    order: NDArray[np.int64], left: NDArray[Any], right: NDArray[Any], inner: NDArray[np.bool_], count: int
) -> None:
    """Children lie behind their parent, so every walk ends, and within the tree."""
    for children in (left, right):
        below = children[inner].astype("int64")
        if (below <= order[inner]).any() or (below >= count).any():
            raise UnsafeModel("a tree leads out of itself, or back")


def _check_neighbours(tree: Any) -> None:
    import numpy as np

    data, places, nodes, _bounds = (np.asarray(array) for array in tree.get_arrays())
    count = len(data)
    if len(places) != count or (places < 0).any() or (places >= count).any():
        raise UnsafeModel("a neighbour tree points at rows that there are not")
    if (nodes["idx_start"] < 0).any() or (nodes["idx_end"] > count).any():
        raise UnsafeModel("a neighbour tree has nodes over rows that there are not")


def _check_support(machine: Any) -> None:
    import numpy as np

    count = len(machine.support_vectors_) if not hasattr(machine.support_vectors_, "tocsr") else None
    if count is None:
        raise UnsafeModel("a support vector machine on sparse rows is not loaded")
    if int(np.sum(machine._n_support)) not in (count, 2 * count) or machine._dual_coef_.shape[1] != count:
        raise UnsafeModel("a support vector machine has other vectors than it says")
    if len(machine._n_support) and (np.asarray(machine._n_support) < 0).any():
        raise UnsafeModel("a support vector machine has other vectors than it says")
