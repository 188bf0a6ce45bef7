"""Changes that are asked for with a key: sent twice, they happen once and are answered alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from litestar import Response

from flyball.app import ControlApp
from flyball.core.digests import digest_json
from flyball.core.ids import check_key


def once(
    flyball: ControlApp, key: str | None, asked: list[Any], work: Callable[[], Any]
) -> Response[dict[str, Any]]:
    """The answer to a change; of the first request with this key when there was one.

    asked: everything that makes this request what it is (endpoint, names, body). Raises BadInput for a bad key.
    """
    if key is None:
        return Response(_as_object(work()))
    check_key(key, "an Idempotency-Key")
    kept = flyball.once(key, digest_json(asked), lambda: _as_object(work()))
    headers = {"Idempotent-Replayed": "true"} if kept.repeated else {}
    return Response(kept.answer, headers=headers)


def _as_object(value: Any) -> dict[str, Any]:
    plain = msgspec.to_builtins(value)
    return plain if isinstance(plain, dict) else {"result": plain}
