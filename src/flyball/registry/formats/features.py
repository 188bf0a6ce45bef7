"""Which of a request's features a model takes, and in what order."""

from __future__ import annotations

from collections.abc import Sequence

from flyball.core.errors import UnsupportedModel
from flyball.registry.manifest import FeatureSpec


def match_features(
    own: Sequence[str] | None,
    given: Sequence[FeatureSpec],
    *,
    generated: str | None = None,
    count: int | None = None,
) -> tuple[FeatureSpec, ...]:
    """The features in the order in which the model was fitted on them.

    own: the names that the model keeps; None, or names that begin with `generated`, where it was fitted on a matrix:
    then there must be as many as features. Raises UnsupportedModel for a name that requests do not carry.
    """
    width = len(own) if own is not None else count
    if own is None or (generated is not None and list(own) == [f"{generated}{n}" for n in range(len(own))]):
        if width is not None and width != len(given):
            raise UnsupportedModel(
                f"the model was fitted on {width} columns, requests carry {len(given)} features "
                f"({_shown([feature.name for feature in given])}): fit it on exactly these, or make further columns "
                'in a step with at = "both"'
            )
        return tuple(given)
    known = {feature.name: feature for feature in given}
    # LightGBM writes spaces as underscores.
    known = {feature.name.replace(" ", "_"): feature for feature in given} | known
    missing = [name for name in own if name not in known]
    if missing:
        raise UnsupportedModel(
            f"the model was fitted on {_shown(missing)}, which requests do not carry; they carry "
            f"{_shown([feature.name for feature in given])}. "
            'Make such columns in a step with at = "both"',
            missing=missing,
        )
    return tuple(known[name] for name in own)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
