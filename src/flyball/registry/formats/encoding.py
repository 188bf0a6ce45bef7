"""From a request's values to numbers: true 1, false 0, a category its place in the list, missing NaN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from flyball.core.errors import UnsupportedModel
from flyball.registry.manifest import FeatureSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAN = float("nan")
_PLAIN = frozenset((float, int, bool, type(None)))


class RowEncoder:
    """Encodes rows for one list of features.

    A value of a wrong type is missing, as is a category that is not listed: the contract's check says so beside the
    answer. Raises UnsupportedModel for a feature that has no number.
    """

    def __init__(self, features: Sequence[FeatureSpec]) -> None:
        self._names = [feature.name for feature in features]
        self._encoders = [_encoder(feature) for feature in features]
        self._all_plain = all(feature.type in ("int", "float", "bool") for feature in features)

    def encode(self, rows: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
        """A C-contiguous float64 matrix (rows, features)."""
        import numpy as np

        names = self._names
        values = [[row.get(name) for name in names] for row in rows]
        # numpy turns None into NaN and bools into 0 and 1 by itself; text it would parse, which is not asked for.
        if self._all_plain and all(_PLAIN.issuperset(map(type, row)) for row in values):
            try:
                return np.array(values, dtype=np.float64).reshape(len(rows), len(names))
            except OverflowError:
                pass
        encoders = self._encoders
        coded = [[encode(value) for encode, value in zip(encoders, row, strict=True)] for row in values]
        return np.array(coded, dtype=np.float64).reshape(len(rows), len(names))


def _encoder(feature: FeatureSpec) -> Callable[[Any], float]:
    if feature.type in ("int", "float", "bool"):
        return _number
    if feature.type == "string" and feature.categories is not None:
        codes = {category: float(code) for code, category in enumerate(feature.categories)}
        return lambda value: codes.get(value, NAN) if isinstance(value, str) else NAN
    raise UnsupportedModel(
        f"{feature.name!r} is {feature.type} without listed values, and the model takes numbers: give it values in "
        '[contract.features], or make numbers of it in a step with at = "both"',
        feature=feature.name,
    )


def _number(value: Any) -> float:
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return NAN
    return NAN
