"""The route table: who answers a model's requests, as one small published document (format 1, docs/decisions/0001).

Published create-only as `routes/<model>/<revision>.json`; a model server asks for the next revision. No SQL here: the
model server imports this.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal

import msgspec

from flyball.core.contract import Contract
from flyball.core.digests import canonical_json
from flyball.core.errors import Conflict, Corrupt
from flyball.core.project import LogSection, ServeSection, Task

if TYPE_CHECKING:
    from flyball.backends.blobs.store import BlobStore

ROUTE_FORMAT = 1
Arm = Literal["champion", "candidate"]
CandidateRole = Literal["canary", "shadow"]
_SPACE = 2**64


class RoutedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version that may answer: its number, its bundle's digest, and whether it needs a process of its own."""

    number: int
    bundle: str
    isolated: bool = False


class RouteTable(msgspec.Struct, frozen=True, kw_only=True):
    """What a model server needs to know to answer for one model.

    `share` (0 to 1) of the keys are asked of a canary candidate; a shadow candidate is asked beside the champion.
    `previous` is kept loaded, so that a rollback is a change of routing.
    """

    format: int
    model: str
    revision: int
    published_at: datetime
    task: Task
    target: str
    champion: RoutedVersion | None
    contract: Contract
    on_violation: Literal["flag", "reject"]
    entity: str | None = None
    time: str | None = None
    candidate: RoutedVersion | None = None
    candidate_role: CandidateRole | None = None
    share: float = 0.0
    previous: RoutedVersion | None = None
    salt: str = ""
    positive: str | int | bool | None = None
    threshold: float | None = None
    log: LogSection = msgspec.field(default_factory=LogSection)
    serve: ServeSection = msgspec.field(default_factory=ServeSection)


def choose(table: RouteTable, key: str) -> Arm:
    """Which arm a key is assigned to: stable for a salt, and a growing share only adds keys to the candidate.

    key: the entity, or the request id where a request has none.
    """
    if table.candidate is None or table.candidate_role != "canary" or table.share <= 0.0:
        return "champion"
    if table.share >= 1.0:
        return "candidate"
    point = int.from_bytes(blake2b(key.encode(), key=table.salt.encode()[:64], digest_size=8).digest(), "big")
    return "candidate" if point < table.share * _SPACE else "champion"


def route_key(model: str, revision: int) -> str:
    """The object key of a revision."""
    return f"routes/{model}/{revision:012d}.json"


def publish(blobs: BlobStore, table: RouteTable) -> None:
    """Publish a revision, once. The same content again is fine; other content raises Conflict."""
    from flyball.backends.blobs.store import ObjectExists

    key, data = route_key(table.model, table.revision), canonical_json(table)
    try:
        blobs.create(key, data)
    except ObjectExists as error:
        if blobs.get(key) != data:
            raise Conflict(
                f"revision {table.revision} of {table.model} is published with other content; two databases write "
                "routes into one object store",
                model=table.model,
                revision=table.revision,
            ) from error


def read_table(data: bytes) -> RouteTable:
    """A route table from its bytes. Raises Corrupt for anything else, or a format this release does not know."""
    try:
        table = msgspec.json.decode(data, type=RouteTable)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Corrupt(f"not a route table: {error}") from error
    if table.format != ROUTE_FORMAT:
        raise Corrupt(
            f"route table format {table.format}; this release reads format {ROUTE_FORMAT}: update Flyball"
        )
    return table


def find_next(blobs: BlobStore, model: str, after: int) -> RouteTable | None:
    """The newest published revision above `after`, or None. Cheap when there is none: one look for the next key."""
    if after > 0 and not blobs.exists(route_key(model, after + 1)):
        return None
    keys = blobs.list(f"routes/{model}", after=route_key(model, after))
    return read_table(blobs.get(keys[-1])) if keys else None


def list_routed_models(blobs: BlobStore) -> list[str]:
    """The models that have a published route, by name."""
    return sorted({key.split("/")[1] for key in blobs.list("routes")})
