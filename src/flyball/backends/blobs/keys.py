"""The names of objects. A key never becomes a path, a URL or a query by being joined unchecked."""

from __future__ import annotations

import re

from flyball.core.digests import is_digest
from flyball.core.errors import BadKey

# No segment starts with a dot: that rules out "." and ".." and keeps names such as .tmp for the store itself.
_SEGMENT = re.compile(r"[A-Za-z0-9_=-][A-Za-z0-9._=-]{0,199}", re.ASCII)
_LONGEST = 900


def check_key(key: str) -> str:
    """The key itself, if it is one: segments of A-Z a-z 0-9 . _ = - joined by "/". Raises BadKey."""
    segments = key.split("/")
    if len(key) > _LONGEST or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise BadKey(
            f"{key[:100]!r} is no key of an object: segments of letters, digits and . _ = - that do not start "
            "with a dot, joined by /",
            key=key[:100],
        )
    return key


def object_key(digest: str) -> str:
    """Where the object with this digest lies: objects/sha256/ab/<64 hexadecimal digits>. Raises BadKey."""
    if not is_digest(digest):
        raise BadKey(f"{digest[:100]!r} is no digest: sha256: and 64 hexadecimal digits", digest=digest[:100])
    name = digest.removeprefix("sha256:")
    return f"objects/sha256/{name[:2]}/{name}"
