"""Values and errors of steps as JSON."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flyball.backends.workflows.outcome import WorkflowError, check_plain, rebuilt, recorded
from flyball.core.errors import BadInput, FlyballError, ModelNotFound


def raise_it(error: Exception) -> None:
    raise error


def test_a_value_is_recorded_as_it_is() -> None:
    assert recorded("x", lambda value: value, {"a": [1]}) == {"value": {"a": [1]}}
    assert recorded("x", lambda: None) == {"value": None}


def test_an_error_of_ours_is_rebuilt_with_class_message_and_facts() -> None:
    outcome = recorded("x", raise_it, ModelNotFound("bike"))
    found = rebuilt(msgspec.convert(outcome["error"], WorkflowError))
    assert type(found) is ModelNotFound
    assert (found.message, found.facts) == (ModelNotFound("bike").message, {"model": "bike"})
    assert str(found) == found.message


def test_facts_that_are_no_json_are_recorded_as_text() -> None:
    outcome = recorded("x", raise_it, FlyballError("odd", path=object))
    assert isinstance(outcome["error"]["facts"]["path"], str)


def test_an_error_that_this_program_does_not_know_keeps_its_code() -> None:
    found = rebuilt(WorkflowError("from_the_future", "what a message", {"x": 1}))
    assert (found.code, found.message, found.facts) == ("from_the_future", "what a message", {"x": 1})


@pytest.mark.parametrize("value", [(1,), {1: 2}, {1}, b"x", float("nan"), float("inf"), object, {"x": (1,)}])
def test_what_would_not_come_back_the_same_is_refused(value: Any) -> None:
    with pytest.raises(BadInput, match="plain JSON"):
        check_plain(value, "it")


@pytest.mark.parametrize("value", [None, True, 0, -1.5, "é", [], {}, {"a": [None, {"b": 1e300}]}])
def test_plain_json_passes(value: Any) -> None:
    check_plain(value, "it")
