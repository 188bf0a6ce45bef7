"""The route table: who answers a model's requests, as one small published document (format 1, docs/decisions/0001).

Published create-only as `routes/<model>/<revision>.json`; a model server asks for the next revision. No SQL here: the
model server imports this.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal

import msgspec

from flyball.core.contract import Contract
from flyball.core.digests import canonical_json
from flyball.core.errors import Corrupt, NewerFormat, ObjectExists, RouteConflict
from flyball.core.formats import check_format
from flyball.core.project import LogSection, ServeSection, Task

if TYPE_CHECKING:
    from flyball.backends.blobs.store import BlobStore

ROUTE_FORMAT = 1
Arm = Literal["champion", "candidate"]
CandidateRole = Literal["canary", "shadow"]
_SPACE = 2**64
# No model is called that: names have no underscore. One marker a model spares readers a list of every revision.
_INDEX = "routes/_index"
_NEAR = 16


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

    format: int = ROUTE_FORMAT
    model: str
    revision: int
    published_at: datetime
    task: Task
    target: str
    champion: RoutedVersion | None = None
    contract: Contract = Contract()
    on_violation: Literal["flag", "reject"] = "flag"
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
    data = key.encode("utf-8", "surrogatepass")  # JSON may carry half a surrogate pair
    point = int.from_bytes(blake2b(data, key=table.salt.encode()[:64], digest_size=8).digest(), "big")
    return "candidate" if point < table.share * _SPACE else "champion"


def route_key(model: str, revision: int) -> str:
    """The object key of a revision."""
    return f"routes/{model}/{revision:012d}.json"


def publish(blobs: BlobStore, table: RouteTable) -> None:
    """Publish a revision, once. The same content again is fine; other content raises RouteConflict."""
    with suppress(ObjectExists):
        blobs.create(f"{_INDEX}/{table.model}", table.model.encode())
    key, data = route_key(table.model, table.revision), canonical_json(table)
    try:
        blobs.create(key, data)
    except ObjectExists as error:
        if blobs.get(key) != data:
            raise RouteConflict(
                f"revision {table.revision} of {table.model} is published with other content: two databases write "
                "routes into one object store, or the database was restored from an older backup than the objects",
                model=table.model,
                revision=table.revision,
            ) from error


def read_table(data: bytes) -> RouteTable:
    """A route table from its bytes. Raises Corrupt for anything else, NewerFormat for one of a later release."""
    try:
        check_format(data, ROUTE_FORMAT, "this route table")
        return msgspec.json.decode(data, type=RouteTable)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt(f"not a route table: {error}") from error


def find_next(blobs: BlobStore, model: str, after: int) -> RouteTable | None:
    """The newest published revision above `after`, or None. Cheap when there is none: one look for the next key.

    Raises Corrupt, NewerFormat; Corrupt also for a table that belongs elsewhere.
    """
    found = _near(blobs, model, after) if after > 0 else _listed(blobs, model, 0)
    if found is None:
        return None
    key, data = found
    table = read_table(data)
    if route_key(table.model, table.revision) != key:
        raise Corrupt(f"{key} holds revision {table.revision} of {table.model}; bring it back from a backup")
    return table


def list_before(blobs: BlobStore, model: str, revision: int) -> list[RouteTable]:
    """The last published revisions before one (at most 16), newest first; those that can't be read are left out."""
    tables = []
    for number in range(revision - 1, max(revision - 1 - _NEAR, 0), -1):
        data = blobs.find(route_key(model, number))
        with suppress(Corrupt, NewerFormat):
            tables += [read_table(data)] if data is not None else []
    return tables


def list_routed_models(blobs: BlobStore) -> list[str]:
    """The models that have a published route, by name."""
    return [key.rpartition("/")[2] for key in blobs.list(_INDEX)]


def _near(blobs: BlobStore, model: str, after: int) -> tuple[str, bytes] | None:
    """Revision by revision, since they are dense; by a list when far behind."""
    found: tuple[str, bytes] | None = None
    for revision in range(after + 1, after + 1 + _NEAR):
        key = route_key(model, revision)
        data = blobs.find(key)
        if data is None:
            return found
        found = key, data
    return _listed(blobs, model, after + _NEAR) or found


def _listed(blobs: BlobStore, model: str, after: int) -> tuple[str, bytes] | None:
    keys = blobs.list(f"routes/{model}", after=route_key(model, after))
    return (keys[-1], blobs.get(keys[-1])) if keys else None
