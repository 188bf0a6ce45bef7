"""The number of a document's format, read before the rest of it (docs/decisions/0001)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from flyball.core.errors import NewerFormat


class _Head(msgspec.Struct):
    """What every format begins with, whatever else a later one holds."""

    format: Annotated[int, msgspec.Meta(ge=1)]


def check_format(
    data: bytes, known: int, what: str, *, decode: Callable[..., Any] = msgspec.json.decode, **facts: Any
) -> None:
    """Raise NewerFormat for a document of a later release; nothing else of it is looked at.

    known: the newest format that this release reads. what: the document, for people. facts: of the error, beside
    `format`. What can't be decoded raises as msgspec does.
    """
    head = decode(data, type=_Head)
    if head.format > known:
        raise NewerFormat(
            f"{what} has format {head.format}, newer than this program knows ({known}); update Flyball here",
            format=head.format,
            **facts,
        )
