"""By which name a server was asked."""

from __future__ import annotations

import re

_HOST = re.compile(r"^(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?\Z")


def find_host_name(host: str) -> str | None:
    """The name in a Host header, without its port and brackets; None if it is not one name with at most one port.

    >>> find_host_name("[::1]:8080"), find_host_name("LOCALHOST"), find_host_name("a:80,b")
    ('::1', 'localhost', None)
    """
    match = _HOST.match(host)
    return match[1].strip("[]").lower() if match else None
