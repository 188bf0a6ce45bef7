"""Names and ids out of addresses: what can't be one is told as not found, before it reaches a store."""

from __future__ import annotations

from flyball.core.errors import (
    IncidentNotFound,
    InvalidReference,
    ModelNotFound,
    NotFound,
    RunNotFound,
    VersionNotFound,
)
from flyball.core.ids import is_id
from flyball.core.refs import MODEL_NAME, parse_ref


def read_model(text: str) -> str:
    """The name of a model. Raises ModelNotFound for what can't be one."""
    if not MODEL_NAME.fullmatch(text):
        raise ModelNotFound(shorten(text))
    return text


def read_ref(model: str, text: str) -> str:
    """A reference `model@text`: number, digest prefix or alias. Raises ModelNotFound, VersionNotFound."""
    name = read_model(model)
    try:
        parse_ref(f"{name}@{text}")
    except InvalidReference as error:
        raise VersionNotFound(name, shorten(text)) from error
    return f"{name}@{text}"


def read_run(text: str) -> str:
    """The id of a run. Raises RunNotFound."""
    if not is_id(text, "run"):
        raise RunNotFound(shorten(text))
    return text


def read_incident(text: str) -> str:
    """The id of an incident. Raises IncidentNotFound."""
    if not is_id(text, "inc"):
        raise IncidentNotFound(shorten(text))
    return text


def read_prediction(text: str) -> str:
    """The id of a prediction. Raises NotFound."""
    if not is_id(text, "prd"):
        raise NotFound(f"{shorten(text)!r} is no id of a prediction; they begin with prd_")
    return text


def shorten(text: str, longest: int = 80) -> str:
    """Foreign text, fit for a message: printable and not long."""
    plain = "".join(char if char.isprintable() else "?" for char in text[: longest + 1])
    return plain if len(plain) <= longest else plain[:longest] + "…"
