"""Classes: the target's own values, in the signature's order, whatever order and type an estimator keeps them in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flyball.core.errors import UnsupportedModel
from flyball.core.records import label_text
from flyball.registry.formats.answers import Answers, Labels, answers_from

if TYPE_CHECKING:
    from numpy.typing import NDArray


def match_classes(
    own: Sequence[Any] | None, wanted: Labels | None, *, count: int, knows_labels: bool
) -> tuple[Labels, list[int] | None]:
    """The classes of a model, and for each its place among the estimator's; None if that is the same order.

    own: the estimator's classes, None if it keeps none. wanted: the target's values. A booster that knows no labels
    (0, 1, 2 …) is taken to mean the sorted values. Raises UnsupportedModel when they do not fit.
    """
    plain = None if own is None else [_plain(value) for value in own]
    if wanted is None:
        if plain is None:
            raise UnsupportedModel("the model keeps no classes, and none are given; say which the target has")
        return tuple(plain), None
    if plain is not None:
        places = {label_text(value): place for place, value in enumerate(plain)}
        texts = [label_text(value) for value in wanted]
        if len(places) == len(plain) == len(texts) and set(places) == set(texts):
            order = [places[text] for text in texts]
            return wanted, None if order == list(range(len(order))) else order
    if len(wanted) == count and (plain is None or (not knows_labels and plain == list(range(count)))):
        return wanted, None
    raise UnsupportedModel(
        f"the model knows the classes {_shown(plain if plain is not None else range(count))}, the target has "
        f"{_shown(wanted)}: train on the target's own values"
    )


def ordered(raw: NDArray[Any], order: list[int] | None) -> NDArray[Any]:
    """Scores in the order of the signature's classes."""
    import numpy as np

    if order is None or raw.dtype == object:
        return raw
    if raw.ndim == 1:
        raw = np.column_stack([1.0 - raw, raw])
    return raw[:, order]


def answers_in(raw: NDArray[Any], task: Any, classes: Labels | None, order: list[int] | None) -> Answers:
    """Answers made of a model's numbers, or of the labels it gave (dtype object)."""
    if raw.dtype == object and classes is not None:
        values = {label_text(value): value for value in classes}
        return Answers([values.get(label_text(_plain(value)), _plain(value)) for value in raw.tolist()])
    return answers_from(ordered(raw, order), task, classes)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _shown(values: Any) -> str:
    listed = [repr(value) for value in values]
    return ", ".join(listed[:8]) + (", …" if len(listed) > 8 else "")
