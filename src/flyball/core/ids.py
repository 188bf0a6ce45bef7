"""Identifiers: a short prefix, an underscore and 32 hexadecimal digits of a UUID."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time

from flyball.core.errors import BadInput

LONGEST_KEY = 200
_ID = re.compile(r"^[a-z]{2,5}_[0-9a-f]{32}$")
_lock = threading.Lock()
_last = 0


def new_id(prefix: str) -> str:
    """A fresh id such as `run_0199…`: prefix and a UUIDv7 (RFC 9562), so ids of one process sort by creation.

    prefix: 2 to 5 lower-case letters naming the kind: run, ver, snap, prd, sig, inc, rol, rev, evd, evt, aud.
    """
    global _last
    with _lock:
        # 48 bits of milliseconds and 12 bits of their fraction; a stalled or turned-back clock counts on.
        now = max(time.time_ns() * 4096 // 1_000_000, _last + 1)
        _last = now
    milliseconds, fraction = divmod(now, 4096)
    random_bits = int.from_bytes(os.urandom(8), "big") & (2**62 - 1)
    value = (milliseconds << 80) | (0x7 << 76) | (fraction << 64) | (0b10 << 62) | random_bits
    return f"{prefix}_{value:032x}"


def derived_id(prefix: str, *parts: str) -> str:
    """The id that always belongs to these parts: prefix and a UUIDv8 made of their SHA-256.

    A caller's own request id gives the same prediction id on a retry, whichever worker answers.
    """
    material = "\x1f".join(parts).encode()
    value = int.from_bytes(hashlib.sha256(material).digest()[:16], "big")
    value = (value & ~(0xF << 76)) | (0x8 << 76)
    value = (value & ~(0b11 << 62)) | (0b10 << 62)
    return f"{prefix}_{value:032x}"


def keyed_id(prefix: str, key: str) -> str:
    """The id of what is asked for under a key that the caller chose: equal keys, equal ids. Raises BadInput.

    >>> keyed_id("run", "nightly-2026-11-21") == keyed_id("run", "nightly-2026-11-21")
    True
    """
    check_key(key)
    return derived_id(prefix, f"key:{key}")


def check_key(key: str, what: str = "a key") -> None:
    """Raises BadInput for a caller's key that is empty, longer than 200 characters or not printable."""
    if not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
        raise BadInput(f"{what} has 1 to {LONGEST_KEY} printable characters", key=key[:LONGEST_KEY])


def is_id(text: str, prefix: str | None = None) -> bool:
    """Whether `text` has the form of an id (of this prefix, when one is given)."""
    return bool(_ID.match(text)) and (prefix is None or text.startswith(prefix + "_"))
