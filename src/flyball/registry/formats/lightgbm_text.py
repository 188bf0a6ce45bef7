"""LightGBM's text format, read only as far as is needed to know that the library can be given it.

The library trusts the file: a child or feature index outside its array is read as it stands. So every index is held
against its bounds first, and every child lies behind its parent, which rules out endless walks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from flyball.core.errors import UnsafeModel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST_CLASSES = 10_000


class TextModel(msgspec.Struct, frozen=True, kw_only=True):
    """What a text model says of itself. `thresholds` are the split values per feature index (numeric splits only)."""

    feature_names: tuple[str, ...]
    class_count: int
    objective: str
    tree_count: int
    thresholds: dict[int, list[float]]


def read_text(text: str) -> TextModel:
    """The facts of a text model, every index checked. Raises UnsafeModel."""
    try:
        return _read(text)
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        raise UnsafeModel(f"this is no LightGBM model that can be read: {error}") from error


def _read(text: str) -> TextModel:
    start = text.index("Tree=0\n") if "Tree=0\n" in text else text.index("end of trees")
    header = _fields(text[:start])
    if not text.startswith("tree\n"):
        raise ValueError("it does not begin with 'tree'")
    feature_count = int(header["max_feature_idx"]) + 1
    names = tuple(header["feature_names"].split())
    class_count = int(header["num_class"])
    per_round = int(header["num_tree_per_iteration"])
    if len(names) != feature_count or len(header["feature_infos"].split()) != feature_count:
        raise ValueError("its features are not as many as it says")
    if not 1 <= class_count <= _MOST_CLASSES or per_round not in (1, class_count):
        raise ValueError(f"{class_count} classes with {per_round} trees a round")
    sizes = [int(size) for size in header.get("tree_sizes", "").split()]
    thresholds: dict[int, list[float]] = {}
    position = start
    for number, size in enumerate(sizes):
        block = text[position : position + size]
        # The library jumps by these sizes: they must lead from tree to tree.
        if not block.startswith(f"Tree={number}\n"):
            raise ValueError(f"tree {number} is not where its size says")
        _check_tree(number, _fields(block), feature_count, thresholds)
        position += size
    if not text[position:].lstrip().startswith("end of trees"):
        raise ValueError("there is something behind the last tree")
    if per_round and len(sizes) % per_round:
        raise ValueError(f"{len(sizes)} trees are no whole rounds of {per_round}")
    return TextModel(
        feature_names=names,
        class_count=class_count,
        objective=(header.get("objective") or "").split(" ")[0],
        tree_count=len(sizes),
        thresholds=thresholds,
    )


def _fields(block: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in block.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            if key in fields:
                raise ValueError(f"{key[:40]!r} is there twice")
            fields[key] = value
    return fields


def _check_tree(
    number: int, fields: dict[str, str], feature_count: int, thresholds: dict[int, list[float]]
) -> None:
    import numpy as np

    leaves = int(fields["num_leaves"])
    nodes = leaves - 1
    if leaves < 1 or len(_floats(fields["leaf_value"])) != leaves:
        raise ValueError(f"tree {number} has {leaves} leaves, but other leaf values")
    if int(fields.get("is_linear", "0")):
        _check_linear(number, fields, leaves, feature_count)
    if nodes == 0:
        return
    features, left, right, kinds = (
        _integers(fields[name], nodes)
        for name in ("split_feature", "left_child", "right_child", "decision_type")
    )
    values = _floats(fields["threshold"])
    if len(values) != nodes:
        raise ValueError(f"tree {number} has {nodes} splits, but {len(values)} thresholds")
    if features.min() < 0 or features.max() >= feature_count:
        raise ValueError(f"tree {number} splits by a feature that there is not")
    order = np.arange(nodes)
    for children in (left, right):
        inner = children >= 0
        if (inner & ((children >= nodes) | (children <= order))).any() or (~children[~inner] >= leaves).any():
            raise ValueError(f"tree {number} leads out of itself")
    categorical = (kinds & 1).astype(bool)
    if categorical.any():
        _check_categories(number, fields, values[categorical])
    for feature, value in zip(features[~categorical].tolist(), values[~categorical].tolist(), strict=True):
        thresholds.setdefault(feature, []).append(value)


def _check_categories(number: int, fields: dict[str, str], places: NDArray[np.float64]) -> None:
    import numpy as np

    count = int(fields["num_cat"])
    boundaries = _integers(fields["cat_boundaries"], count + 1)
    words = _integers(fields["cat_threshold"])
    if boundaries[0] != 0 or (np.diff(boundaries) < 0).any() or boundaries[-1] != len(words):
        raise ValueError(f"tree {number} has category sets that lead out of it")
    if (places < 0).any() or (places >= count).any() or (places != np.floor(places)).any():
        raise ValueError(f"tree {number} splits by a category set that there is not")


def _check_linear(number: int, fields: dict[str, str], leaves: int, feature_count: int) -> None:
    counts = _integers(fields["num_features"], leaves)
    used = _integers(fields.get("leaf_features", ""))
    coefficients = _floats(fields.get("leaf_coeff", ""))
    if (counts < 0).any() or not counts.sum() == len(used) == len(coefficients):
        raise ValueError(f"tree {number} has linear leaves of other sizes than it says")
    if len(_floats(fields["leaf_const"])) != leaves or ((used < 0) | (used >= feature_count)).any():
        raise ValueError(f"tree {number} has linear leaves over features that there are not")


def _integers(text: str, count: int | None = None) -> NDArray[np.int64]:
    import numpy as np

    values = np.array(text.split(), dtype=np.int64)
    if count is not None and len(values) != count:
        raise ValueError(f"{len(values)} numbers in place of {count}")
    return values


def _floats(text: str) -> NDArray[np.float64]:
    import numpy as np

    return np.array(text.split(), dtype=np.float64)
