"""Parameters and bodies that several endpoints share, each with its limits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter, QueryParameter

from flyball.app import ControlApp
from flyball.core.endpoints import MOST_DIGESTS
from flyball.core.ids import LONGEST_KEY
from flyball.web.paging import MOST_ITEMS

LONGEST_REASON = 1000

App = NamedDependency[ControlApp]
"""The Flyball object of this process, for handlers."""
InPath = FromPath[str]

Limit = Annotated[int, QueryParameter(ge=1, le=MOST_ITEMS, description="Most items of a page.")]
Cursor = Annotated[
    str | None, QueryParameter(max_length=400, description="`next` of the page before; none for the first.")
]
ModelFilter = Annotated[
    str | None, QueryParameter(name="model", max_length=63, description="Only what belongs to this model.")
]
RequestKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        max_length=200,
        description="A name for this request: sent again under it, it changes nothing and gets the same answer.",
    ),
]
Reason = Annotated[str, msgspec.Meta(max_length=LONGEST_REASON)]
RefText = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
DigestText = Annotated[str, msgspec.Meta(min_length=71, max_length=71)]
CallerKey = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_KEY)]
Strategy = Literal["canary", "shadow", "blue-green", "immediate"]
Decision = Literal["pause", "resume", "promote", "abort"]


class Deploy(msgspec.Struct, forbid_unknown_fields=True):
    """What to roll out: a version number, alias or digest prefix (the newest registered version without one).

    `settings`: of a project with the section of its environment applied, under which it is rolled out.
    """

    version: Annotated[int, msgspec.Meta(ge=1, le=999_999_999)] | RefText | None = None
    why: Reason = ""
    strategy: Strategy | None = None
    settings: dict[str, Any] | None = None


class Digests(msgspec.Struct, forbid_unknown_fields=True):
    """Names of objects."""

    digests: Annotated[list[DigestText], msgspec.Meta(max_length=MOST_DIGESTS)]


class Sent(msgspec.Struct, forbid_unknown_fields=True):
    """A version whose objects were sent: the object that is its record, and the verdicts of the environment's gates."""

    record: DigestText
    verdicts: Annotated[list[dict[str, Any]], msgspec.Meta(max_length=200)] = []


class Because(msgspec.Struct, forbid_unknown_fields=True):
    """The reason of a person's decision; kept in the audit trail."""

    why: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_REASON)]


class Retrain(Because):
    """The reason of a retraining, and a name for it: asked for again under it, it is the same retraining."""

    key: CallerKey | None = None


class Check(msgspec.Struct, forbid_unknown_fields=True):
    """A name for what is asked: asked again under it within a week, it is not done again and the answer is the same."""

    key: CallerKey | None = None


class Rollback(msgspec.Struct, forbid_unknown_fields=True):
    """Where to go back to (the previous champion without `to`), and why."""

    why: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_REASON)]
    to: Annotated[int, msgspec.Meta(ge=1, le=999_999_999)] | RefText | None = None


class Note(msgspec.Struct, forbid_unknown_fields=True):
    """A note on an incident."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]
