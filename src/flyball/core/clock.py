"""Clocks: wall time for leases, bakes and audit; model time for windows, delays and cooldowns (decision 0002)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec

AHEAD_LIMIT = timedelta(minutes=5)
# Windows and days are counted from here; an event time before it is none.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Whatever tells the present moment."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""


class SystemClock:
    """The machine's wall clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class FixedClock:
    """A clock for tests: stands still until it is moved."""

    def __init__(self, moment: datetime) -> None:
        self._moment = as_utc(moment)

    def now(self) -> datetime:
        return self._moment

    def advance(self, by: timedelta) -> None:
        """Move the clock forward (or back, when `by` is negative)."""
        self._moment += by


class ModelClock(msgspec.Struct, frozen=True, kw_only=True):
    """A model's own clock: the highest event time seen and the wall moment at which it was seen."""

    highest_event_at: datetime
    seen_at: datetime

    def now(self, wall: datetime) -> datetime:
        """Model time: highest event time plus the wall time since, at most 5 minutes ahead of the wall clock.

        A wall clock turned back never turns model time back below the highest event time, unless that event
        itself lies more than 5 minutes in the future.
        """
        passed = max(wall - self.seen_at, timedelta(0))
        return min(self.highest_event_at + passed, wall + AHEAD_LIMIT)

    def seen(self, event_at: datetime, wall: datetime) -> ModelClock:
        """The clock after an event of this time was seen at this wall moment; never behind what it showed."""
        event_at = min(event_at, wall + AHEAD_LIMIT)
        if event_at <= self.highest_event_at:
            return self
        return ModelClock(highest_event_at=event_at, seen_at=wall)


def as_utc(moment: datetime) -> datetime:
    """The same moment in UTC. A moment without zone is taken as UTC, as the project file's data are."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC)


def parse_moment(text: str) -> datetime:
    """An ISO 8601 date or date and time as an aware UTC moment. Raises ValueError."""
    return as_utc(datetime.fromisoformat(text))


def isoformat(moment: datetime) -> str:
    """The one written form of a moment: ISO 8601 in UTC with a trailing Z."""
    return as_utc(moment).isoformat().replace("+00:00", "Z")
