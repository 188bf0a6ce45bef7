"""When a version that is not the champion has failed often enough to be asked no more."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

FaultKind = Literal["exception", "not_finite", "shape", "hang", "crash", "memory", "protocol", "load"]

CONSECUTIVE_LIMIT = 3
DEATH_LIMIT = 5
COUNT_LIMIT = 5
SHARE_LIMIT = 0.1
_DEADLY: frozenset[str] = frozenset({"hang", "crash", "memory", "protocol"})
_HANG_WEIGHT = 2  # a hang costs a client the whole deadline, so fewer are borne than of quick failures


class ModelFault(Exception):
    """A version did not give a usable answer: `kind` for counting, `reason` in words for people."""

    def __init__(self, kind: FaultKind, reason: str) -> None:
        super().__init__(f"{kind}: {reason}")
        self.kind = kind
        self.reason = reason


class FaultReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a breaker has seen: the last reason, when, how often by kind, and whether it tripped."""

    reason: str
    at: datetime
    count: int
    tripped: bool
    kinds: dict[str, int]


class Breaker:
    """Counts the faults of one version in one rollout, and trips.

    Trips after 3 faults with no success between them (a hang counts twice), after more than 5 deaths of its process,
    or after more than 5 faults that are more than a tenth of what was asked. Rarer faults are left to the rollout's
    guards, which weigh them against the champion's. Once tripped it stays tripped: a new rollout has a new breaker.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.tripped = False
        self._consecutive = 0
        self._deaths = 0
        self._kinds: dict[str, int] = {}
        self._last: tuple[str, datetime] | None = None

    @property
    def count(self) -> int:
        """Faults so far."""
        return sum(self._kinds.values())

    def note_success(self) -> None:
        """A usable answer arrived."""
        self.asked += 1
        self._consecutive = 0

    def note_fault(self, fault: ModelFault, now: datetime) -> bool:
        """Count a fault; True if this one trips the breaker."""
        self.asked += 1
        self._kinds[fault.kind] = self._kinds.get(fault.kind, 0) + 1
        self._consecutive += _HANG_WEIGHT if fault.kind == "hang" else 1
        self._deaths += fault.kind in _DEADLY
        if self.tripped:
            return False
        self._last = (f"{fault.kind}: {fault.reason}", now)
        self.tripped = self._is_enough()
        return self.tripped

    def trip(self, fault: ModelFault, now: datetime) -> None:
        """Trip at once: the version can't be started at all."""
        self._kinds[fault.kind] = self._kinds.get(fault.kind, 0) + 1
        self._last = (f"{fault.kind}: {fault.reason}", now)
        self.tripped = True

    def report(self) -> FaultReport | None:
        """What was seen; None while there was no fault."""
        if self._last is None:
            return None
        reason, at = self._last
        return FaultReport(
            reason=reason, at=at, count=self.count, tripped=self.tripped, kinds=dict(self._kinds)
        )

    def _is_enough(self) -> bool:
        return (
            self._consecutive >= CONSECUTIVE_LIMIT
            or self._deaths > DEATH_LIMIT
            or (self.count > COUNT_LIMIT and self.count > SHARE_LIMIT * self.asked)
        )
