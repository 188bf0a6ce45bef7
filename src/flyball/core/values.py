"""Small values that judgements are made of."""

from __future__ import annotations

from typing import Literal

import msgspec

Outcome = Literal["pass", "fail", "inconclusive"]


class Interval(msgspec.Struct, frozen=True):
    """A confidence interval; `low` <= `high`, both in the unit of what is estimated."""

    low: float
    high: float


class Verdict(msgspec.Struct, frozen=True):
    """An answer with its reason. `inconclusive` never passes and never fails anything."""

    outcome: Outcome
    because: str

    @property
    def passed(self) -> bool:
        """Whether the answer is yes."""
        return self.outcome == "pass"


class Actor(msgspec.Struct, frozen=True):
    """Who did something: a person, an automation (policy, rollout) or a service account.

    `id` stays the same when the name changes; without one it is `kind:name`.
    """

    name: str
    kind: Literal["person", "automation", "service"] = "person"
    id: str = ""

    def __post_init__(self) -> None:
        if not self.id:
            msgspec.structs.force_setattr(self, "id", f"{self.kind}:{self.name}")
