"""What a check of a change found, kept like a step of a run: the same inputs are looked at once, on any machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flyball.core.errors import CorruptObject
from flyball.operations.opening import Backends
from flyball.pipelines.shared_steps import find_shared, keep_shared


def made_once(
    backends: Backends,
    key: str | None,
    step: str,
    make: Callable[[], dict[str, Any]],
    *,
    keeps: Callable[[dict[str, Any]], bool] = bool,
) -> tuple[dict[str, Any], bool]:
    """What `make` gives or gave for this key, and whether it was there; by FLYBALL_CACHE, as for steps of runs.

    key: None for what can't be told from anything else. keeps: whether a result may be used again.
    """
    use = backends.settings.cache
    if key is not None and use != "off" and (known := _look_up(backends, key)) is not None:
        return known, True
    made = make()
    if key is not None and use == "read-write" and keeps(made):
        keep_shared(backends.blobs, key, step, made)
    return made, False


def _look_up(backends: Backends, key: str) -> dict[str, Any] | None:
    try:
        shared = find_shared(backends.blobs, key)
    except CorruptObject:
        return None  # made again, and replaced by that
    return None if shared is None else shared.outputs
