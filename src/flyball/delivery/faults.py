"""What the model servers say about a candidate: faults that tripped their breaker."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from flyball.backends.blobs.store import BlobStore
from flyball.core.clock import parse_moment

STATUS_PREFIX = "serving"
# A worker writes its status every 2 seconds; an older one is of a worker that is gone.
FRESH = timedelta(seconds=10)


class WorkerFault(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that asks a version no more, and why."""

    worker: str
    reason: str
    count: int
    at: datetime
    kinds: dict[str, int] = {}


def find_faults(
    blobs: BlobStore, model: str, number: int, since: datetime, now: datetime
) -> list[WorkerFault]:
    """Tripped faults of a version that live workers report and that happened since a wall moment, by worker."""
    found = []
    for key in blobs.list(STATUS_PREFIX):
        data = blobs.find(key)
        if data is None:
            continue
        status: dict[str, Any] = msgspec.json.decode(data)
        if now - parse_moment(status["at"]) > FRESH:
            continue
        fault = status.get("faults", {}).get(model, {}).get(str(number))
        if fault is None or not fault.get("tripped") or parse_moment(fault["at"]) < since:
            continue
        found.append(
            WorkerFault(
                worker=status["worker"],
                reason=fault["reason"],
                count=fault.get("count", 1),
                at=parse_moment(fault["at"]),
                kinds=fault.get("kinds", {}),
            )
        )
    return sorted(found, key=lambda fault: fault.worker)


def tell_faults(number: int, faults: list[WorkerFault]) -> str:
    """Why a candidate was taken out of service, in one sentence."""
    first = faults[0]
    workers = "1 worker" if len(faults) == 1 else f"{len(faults)} workers"
    return (
        f"version {number} failed in {workers}, which asked it no more and let the champion answer: "
        f"{first.reason} ({first.count} times)"
    )
