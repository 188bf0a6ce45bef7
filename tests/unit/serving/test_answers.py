"""Nothing a model process says is passed on unchecked."""

from __future__ import annotations

from typing import Any

import pytest

from flyball.serving.answers import find_fault
from flyball.serving.frames import Reply

NAN = float("nan")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(1, [1.0]), "shape"),
        (Reply(1, None), "shape"),
        (Reply(1, [1.0, NAN]), "not_finite"),
        (Reply(1, [1.0, float("inf")]), "not_finite"),
        (Reply(1, [1.0, "two"]), "shape"),
        (Reply(1, [1.0, None]), "shape"),
        (Reply(1, [1.0, True]), "shape"),
        (Reply(1, [1.0, [2.0]]), "shape"),
        (Reply(1, problem="ValueError: no", kind="exception"), "exception"),
        (Reply(1, problem="MemoryError", kind="memory"), "memory"),
    ],
)
def test_what_is_wrong_with_a_regression_is_named(reply: Reply, kind: str):
    fault = find_fault(reply, 2, None)
    assert fault is not None
    assert fault.kind == kind


@pytest.mark.parametrize(
    ("predictions", "scores", "kind"),
    [
        (["a", "z"], [[0.5, 0.5], [0.5, 0.5]], "shape"),
        (["a", "b"], [[0.5, 0.5]], "shape"),
        (["a", "b"], [[0.5, 0.5], [1.0]], "shape"),
        (["a", "b"], [[0.5, 0.5], [NAN, 1.0]], "not_finite"),
    ],
)
def test_what_is_wrong_with_a_classification_is_named(predictions: list[Any], scores: list[Any], kind: str):
    fault = find_fault(Reply(1, predictions, scores), 2, ("a", "b"))
    assert fault is not None
    assert fault.kind == kind


def test_sound_answers_have_no_fault():
    assert find_fault(Reply(1, [1, 2.5]), 2, None) is None
    assert find_fault(Reply(1, ["a", "b"], [[0.9, 0.1], [0.2, 0.8]]), 2, ("a", "b")) is None
    assert find_fault(Reply(1, [0, 1]), 2, (0, 1)) is None
