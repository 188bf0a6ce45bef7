"""XGBoost's UBJSON models, every index held against its bounds before the library is given the bytes.

The library checks a part of it, and ends the whole process for some of what it finds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from flyball.core.errors import UnsafeModel
from flyball.registry.formats.ubjson import decode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST_CLASSES = 10_000
_ARRAYS = (
    "base_weights",
    "default_left",
    "left_children",
    "loss_changes",
    "parents",
    "right_children",
    "split_conditions",
    "split_indices",
    "split_type",
    "sum_hessian",
)


class FileModel(msgspec.Struct, frozen=True, kw_only=True):
    """What a model file says of itself. `thresholds`: split values by feature index (numeric splits only)."""

    booster: str
    objective: str
    feature_count: int
    class_count: int
    round_count: int
    thresholds: dict[int, list[float]]


def read_model(data: bytes) -> FileModel:
    """The facts of a model, every index checked. Raises UnsafeModel."""
    try:
        return _read(decode(data))
    except (
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise UnsafeModel(
            f"this is no XGBoost model that can be read: {type(error).__name__}: {error}"
        ) from error


def _read(document: dict[str, Any]) -> FileModel:
    learner = document["learner"]
    shape = learner["learner_model_param"]
    feature_count, class_count = int(shape["num_feature"]), int(shape["num_class"])
    if feature_count < 1 or not 0 <= class_count <= _MOST_CLASSES or int(shape.get("num_target", 1)) != 1:
        raise ValueError(
            f"{feature_count} features, {class_count} classes, {shape.get('num_target')} targets"
        )
    for score in str(shape["base_score"]).strip("[]").split(","):
        float(score)
    gradient = learner["gradient_booster"]
    booster = str(gradient["name"])
    groups = max(class_count, 1)
    thresholds: dict[int, list[float]] = {}
    if booster == "gblinear":
        if len(gradient["model"]["weights"]) != (feature_count + 1) * groups:
            raise ValueError("other weights than features")
        rounds = int(gradient["model"]["boosted_rounds"])
    elif booster in ("gbtree", "dart"):
        model = gradient["gbtree"]["model"] if booster == "dart" else gradient["model"]
        rounds = _check_forest(model, feature_count, groups, thresholds)
        if booster == "dart" and len(gradient["weight_drop"]) != len(model["trees"]):
            raise ValueError("other weights than trees")
    else:
        raise ValueError(f"a booster of kind {booster[:40]!r}")
    return FileModel(
        booster=booster,
        objective=str(learner["objective"]["name"]),
        feature_count=feature_count,
        class_count=class_count,
        round_count=rounds,
        thresholds=thresholds,
    )


def _check_forest(
    model: dict[str, Any], feature_count: int, groups: int, thresholds: dict[int, list[float]]
) -> int:
    import numpy as np

    trees = model["trees"]
    info = _integers(model["tree_info"])
    rounds = _integers(model["iteration_indptr"])
    if int(model["gbtree_model_param"]["num_trees"]) != len(trees) or len(info) != len(trees):
        raise ValueError("other trees than it says")
    if len(info) and (info.min() < 0 or info.max() >= groups):
        raise ValueError("a tree of a class that there is not")
    if not len(rounds) or rounds[0] != 0 or (np.diff(rounds) < 0).any() or rounds[-1] != len(trees):
        raise ValueError("rounds that are none")
    _check_known_categories(model.get("cats"), feature_count)
    for number, tree in enumerate(trees):
        _check_tree(number, tree, feature_count, thresholds)
    return len(rounds) - 1


def _check_tree(
    number: int, tree: dict[str, Any], feature_count: int, thresholds: dict[int, list[float]]
) -> None:
    import numpy as np

    size = tree["tree_param"]
    count = int(size["num_nodes"])
    if count < 1 or int(size["size_leaf_vector"]) not in (0, 1) or int(size["num_feature"]) != feature_count:
        raise ValueError(f"tree {number} has another shape than the model")
    if any(len(tree[name]) != count for name in _ARRAYS):
        raise ValueError(f"tree {number} has {count} nodes, and arrays of other lengths")
    left, right = _integers(tree["left_children"]), _integers(tree["right_children"])
    inner = left != -1
    order = np.arange(count)
    if (inner != (right != -1)).any():
        raise ValueError(f"tree {number} has nodes with one child")
    for children in (left[inner], right[inner]):
        if (children <= order[inner]).any() or (children >= count).any():
            raise ValueError(f"tree {number} leads out of itself")
    features = _integers(tree["split_indices"])
    if (features[inner] < 0).any() or (features[inner] >= feature_count).any():
        raise ValueError(f"tree {number} splits by a feature that there is not")
    categorical = _integers(tree["split_type"]).astype(bool)
    _check_categories(number, tree, order[inner & categorical])
    values = np.asarray(tree["split_conditions"], dtype=np.float64)
    numeric = inner & ~categorical
    for feature, value in zip(features[numeric].tolist(), values[numeric].tolist(), strict=True):
        thresholds.setdefault(feature, []).append(value)


def _check_categories(number: int, tree: dict[str, Any], splits: NDArray[np.int64]) -> None:
    import numpy as np

    nodes, starts = _integers(tree["categories_nodes"]), _integers(tree["categories_segments"])
    sizes, values = _integers(tree["categories_sizes"]), _integers(tree["categories"])
    if not len(nodes) == len(starts) == len(sizes) or not np.array_equal(np.sort(nodes), splits):
        raise ValueError(f"tree {number} has category sets for other nodes than split by one")
    if (starts < 0).any() or (sizes < 0).any() or (starts + sizes > len(values)).any():
        raise ValueError(f"tree {number} has category sets that lead out of it")
    if len(values) and (values.min() < 0 or values.max() >= 2**24):
        raise ValueError(f"tree {number} has categories that are none")


def _check_known_categories(known: Any, feature_count: int) -> None:
    import numpy as np

    if known is None or not len(known["enc"]):
        return
    segments, places = _integers(known["feature_segments"]), _integers(known["sorted_idx"])
    if len(known["enc"]) != feature_count or len(segments) != feature_count + 1:
        raise ValueError("categories of other features")
    if segments[0] != 0 or (np.diff(segments) < 0).any() or segments[-1] != len(places):
        raise ValueError("categories that lead out of their list")
    if len(places) and (places.min() < 0 or places.max() >= len(places)):
        raise ValueError("categories that lead out of their list")
    for one in known["enc"]:
        if "offsets" in one:
            offsets, values = _integers(one["offsets"]), one["values"]
            if len(offsets) and (
                offsets[0] != 0 or (np.diff(offsets) < 0).any() or offsets[-1] != len(values)
            ):
                raise ValueError("categories that lead out of their text")


def _integers(values: Any) -> NDArray[np.int64]:
    import numpy as np

    array = np.asarray(values)
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise ValueError("whole numbers are expected")
    return array.reshape(-1).astype(np.int64)
