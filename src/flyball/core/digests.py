"""Digests: `sha256:` and 64 hexadecimal digits, the one form in which content is named."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}\Z")
_canonical = msgspec.json.Encoder(order="deterministic")


def digest_bytes(data: bytes | bytearray | memoryview) -> str:
    """The digest of these bytes.

    >>> digest_bytes(b"")[:15]
    'sha256:e3b0c442'
    """
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    """The digest of a file's content, read in pieces."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no white space: equal values give equal bytes. Refuses NaN by writing null."""
    return _canonical.encode(value)


def digest_json(value: Any) -> str:
    """The digest of a value's canonical JSON (dicts, lists, text, numbers, msgspec Structs)."""
    return digest_bytes(canonical_json(value))


def is_digest(text: str) -> bool:
    """Whether `text` has the form of a digest."""
    return bool(_DIGEST.match(text))


def digests_in(value: Any) -> Iterator[str]:
    """Every digest among JSON values, however deep; keys are not looked at.

    >>> list(digests_in({"a": ["sha256:" + "0" * 64, 1]}))[0][:12]
    'sha256:00000'
    """
    if isinstance(value, dict):
        for item in value.values():
            yield from digests_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from digests_in(item)
    elif isinstance(value, str) and is_digest(value):
        yield value
