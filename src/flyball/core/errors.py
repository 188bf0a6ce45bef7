"""Every error Flyball raises on purpose: a stable code, the facts, and a message that says what to do next."""

from __future__ import annotations

from typing import Any


class FlyballError(Exception):
    """Root of the tree. `code` is stable; `message` says what happened, where, and what to do next.

    Exit codes (cli) and HTTP statuses (web) are mapped from the branch classes below, once each.
    """

    code = "error"

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts


class BadInput(FlyballError):
    """What the user gave can't be used as it is (exit code 2, HTTP 400 or 422)."""

    code = "bad_input"


class NotFound(FlyballError):
    """Nothing goes by that name (exit code 2, HTTP 404)."""

    code = "not_found"


class Conflict(FlyballError):
    """The present state forbids it (exit code 2, HTTP 409)."""

    code = "conflict"


class Refused(FlyballError):
    """A rule says no (exit code 1, HTTP 403)."""

    code = "refused"


class Unavailable(FlyballError):
    """A part that is needed does not answer, or has no room (exit code 3, HTTP 503 or 507)."""

    code = "unavailable"


class Corrupt(FlyballError):
    """Stored bytes are not what they were (exit code 3, HTTP 500)."""

    code = "corrupt"


class NotEnoughEvidence(FlyballError):
    """A question can't be answered yet (exit code 4)."""

    code = "not_enough_evidence"


class InvalidReference(BadInput):
    """A reference such as model@version that can't be read."""

    code = "invalid_reference"

    def __init__(self, text: str, expected: str) -> None:
        super().__init__(f"{text!r} is no reference to a model: {expected}", text=text)


class ModelNotFound(NotFound):
    """No model of that name."""

    code = "model_not_found"

    def __init__(self, model: str) -> None:
        super().__init__(f"there is no model {model!r}; `flyball models` lists them", model=model)


class VersionNotFound(NotFound):
    """No such version of a model."""

    code = "version_not_found"

    def __init__(self, model: str, ref: object) -> None:
        super().__init__(
            f"{model} has no version {ref}; `flyball versions {model}` lists them", model=model, ref=str(ref)
        )


class NoChampion(Conflict):
    """The model has no version in service."""

    code = "no_champion"

    def __init__(self, model: str) -> None:
        super().__init__(
            f"{model} has no champion yet; `flyball deploy {model}` puts a version into service", model=model
        )
