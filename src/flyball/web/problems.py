"""What goes wrong, as HTTP tells it: a status for each branch of the error tree, and RFC 9457 problem documents."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from flyball.core import errors

MEDIA_TYPE = "application/problem+json"

# First match wins: a branch's exception stands before the branch.
STATUSES: tuple[tuple[type[errors.FlyballError], int], ...] = (
    (errors.StorageFull, 507),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.NotEnoughEvidence, 409),
    (errors.Refused, 403),
    (errors.InvalidReference, 400),
    (errors.BadInput, 422),
    (errors.Unavailable, 503),
    (errors.Corrupt, 500),
)

TITLES = {
    400: "The request can't be read",
    401: "Not known",
    403: "Refused",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    409: "The present state forbids it",
    411: "Length required",
    413: "Too large",
    414: "Address too long",
    415: "Unsupported media type",
    421: "Unknown host",
    422: "The input can't be used",
    429: "Too many requests",
    500: "Something broke",
    503: "Not available now",
    507: "No room left",
}


# As the decoder names what JSON has, and as people do.
_KINDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}
_MISSING = re.compile(r"^Object missing required field `([^`]+)`")


class Problem(msgspec.Struct, frozen=True):
    """What is told of an error: HTTP status, stable code, one sentence, and the facts behind it."""

    status: int
    code: str
    detail: str
    facts: dict[str, Any] = {}


def fault_in_words(place: str, message: str) -> str:
    """What the decoder says of a place in a request, in our words. place: "data" is the whole body.

    >>> fault_in_words("data", "Object missing required field `why`")
    'why is missing'
    >>> fault_in_words("limit", "Expected `int`, got `str`")
    'limit: expected a whole number, got text'
    """
    place = "" if place == "data" else place
    if found := _MISSING.match(message):
        return f"{place}.{found[1]} is missing".removeprefix(".")
    words = re.sub(r"`(\w+)`", lambda kind: _KINDS.get(kind[1], kind[0]), message)
    return f"{place or 'the body'}: {words[:1].lower()}{words[1:]}"


def problem_of(error: errors.FlyballError) -> Problem:
    """The problem that an error of ours is told as."""
    kind = type(error) if type(error).code == error.code else _kind_of(error.code) or type(error)
    status = next((status for branch, status in STATUSES if issubclass(kind, branch)), 500)
    return Problem(status, error.code, error.message, _plain(error.facts))


def problem_body(problem: Problem, instance: str = "") -> dict[str, Any]:
    """The document of RFC 9457, with `code` and `facts` beside its own members."""
    body: dict[str, Any] = {
        "type": f"urn:flyball:error:{problem.code}",
        "title": TITLES.get(problem.status, "Error"),
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
    }
    if instance:
        body["instance"] = instance
    if problem.facts:
        body["facts"] = problem.facts
    return body


def _kind_of(code: str) -> type[errors.FlyballError] | None:
    """The class of a code: an error that came from another process carries its code, not its class."""
    return errors.find_class(code) or (errors.NotFound if code.endswith("_not_found") else None)


def _plain(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts as JSON values; what is none is told as text."""
    plain: dict[str, Any] = {}
    for name, value in facts.items():
        try:
            plain[name] = msgspec.json.decode(msgspec.json.encode(value))
        except (TypeError, ValueError, msgspec.MsgspecError):
            plain[name] = str(value)
    return plain
