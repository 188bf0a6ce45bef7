"""Variables of the host that say where an environment's stores are, and which of them are secrets."""

from __future__ import annotations

from collections.abc import Iterable

from flyball.operations.environments.places import variable_of

# A database's address holds its password.
_KEYS = (("DATABASE", True), ("OBJECTS", False), ("URL", False), ("TOKEN", True))


def of_environments(names: Iterable[str]) -> list[tuple[str, bool]]:
    """Name, and whether it is a secret, of each variable that the environments may have."""
    return [(variable_of(name, key), is_secret) for name in names for key, is_secret in _KEYS]
