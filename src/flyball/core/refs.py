"""References as people type them: `churn`, `churn@3`, `churn@champion`, `churn@1f9a2c`."""

from __future__ import annotations

import re

import msgspec

from flyball.core.errors import InvalidReference

MODEL_NAME = re.compile(r"^[a-z0-9][a-z0-9-]{1,62}\Z")
_ALIAS = re.compile(r"^[a-z][a-z0-9_.-]{0,62}\Z")
_PREFIX = re.compile(r"^(?:sha256:)?([0-9a-f]{6,64})\Z")


class ModelRef(msgspec.Struct, frozen=True):
    """A model and, when one was typed, exactly one of: version number, digest prefix (hex), alias."""

    model: str
    number: int | None = None
    digest_prefix: str | None = None
    alias: str | None = None


def parse_ref(text: str) -> ModelRef:
    """The model and version that `text` points at. Raises InvalidReference.

    A run of digits is a version number; six or more hexadecimal digits with a letter are a digest prefix.
    """
    model, at, rest = text.partition("@")
    if not MODEL_NAME.match(model):
        raise InvalidReference(
            text, "a model name has 2 to 63 characters of a-z, 0-9 and -, such as credit-default"
        )
    if not at:
        return ModelRef(model)
    if rest.isascii() and rest.isdigit() and len(rest) <= 9:
        return ModelRef(model, number=int(rest))
    if match := _PREFIX.match(rest):
        return ModelRef(model, digest_prefix=match[1])
    if _ALIAS.match(rest):
        return ModelRef(model, alias=rest)
    raise InvalidReference(
        text, "after @ comes a version number, a digest prefix or an alias such as champion"
    )
