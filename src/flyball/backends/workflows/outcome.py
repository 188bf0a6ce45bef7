"""Values and errors as JSON, so that a step or a workflow ends for everybody as it ended for the first one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from flyball.core.errors import BadInput, FlyballError


class WorkflowError(msgspec.Struct, frozen=True):
    """Why a step or a workflow failed."""

    code: str
    message: str
    facts: dict[str, Any]


def recorded(what: str, function: Callable[..., Any], *args: Any) -> dict[str, Any]:
    """`{"value": …}` of a call, or `{"error": {code, message, facts}}` of the error it raised.

    An error that is not ours gets the code "internal" and is logged: this is the edge where it stops.
    """
    try:
        value = function(*args)
        check_plain(value, what)
    except FlyballError as error:
        return {"error": {"code": error.code, "message": error.message, "facts": _as_json(error.facts)}}
    except Exception as error:
        logging.getLogger(__name__).exception("%s failed", what)
        message = f"{what} failed unexpectedly: {type(error).__name__}: {error}"
        return {"error": {"code": "internal", "message": message, "facts": {}}}
    return {"value": value}


def rebuilt(error: WorkflowError) -> FlyballError:
    """The recorded error, of its own class if this program still has it."""
    waiting = [FlyballError]
    while waiting:
        kind = waiting.pop()
        if kind.code == error.code:
            # Not by its constructor: that one would word the message anew.
            found = kind.__new__(kind)
            FlyballError.__init__(found, error.message, **error.facts)
            return found
        waiting.extend(kind.__subclasses__())
    unknown = FlyballError(error.message, **error.facts)
    unknown.code = error.code
    return unknown


def check_plain(value: Any, what: str) -> None:
    """Raises BadInput unless the value comes back from JSON as it went in."""
    try:
        plain = msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, ValueError, msgspec.MsgspecError):
        plain = ...
    if plain != value or type(plain) is not type(value):
        raise BadInput(
            f"{what} must give plain JSON (dict, list, str, finite numbers, bool, None; no tuples, times or structs), "
            f"not {value!r:.200}"
        )


def _as_json(facts: dict[str, Any]) -> Any:
    return msgspec.json.decode(msgspec.json.encode(facts, enc_hook=str))
