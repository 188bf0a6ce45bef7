"""The champion as the object store knows it, for a home whose database does not: a fresh runner beside shared objects.

The route table names its bundle. What it was trained on is kept under the bundle's digest when a version is registered;
where that is missing, nobody can tell which rows count, and a comparison stays undecided.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec

from flyball.backends.blobs.store import BlobStore
from flyball.core.digests import digest_bytes
from flyball.core.errors import ObjectExists
from flyball.registry.route_table import find_next

FORMAT = 1
FOLDER = "cache/lineages"


class KnownChampion(msgspec.Struct, frozen=True, kw_only=True):
    """A version in service that may stand in another database: number there, bundle, and lineage (empty: unknown)."""

    number: int
    digest: str
    lineage: dict[str, Any]

    @property
    def source_tree(self) -> str | None:
        """Digest of the files it was made of."""
        tree: str | None = self.lineage.get("tree")
        return tree


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A lineage as it is stored, with the digest of its JSON."""

    format: int = FORMAT
    digest: str
    bundle: str
    lineage: msgspec.Raw


def keep_lineage(blobs: BlobStore, bundle: str, lineage: dict[str, Any]) -> None:
    """Keep what a bundle came from, once."""
    raw = msgspec.json.encode(lineage)
    kept = _Kept(digest=digest_bytes(raw), bundle=bundle, lineage=msgspec.Raw(raw))
    with suppress(ObjectExists):
        blobs.create(_key(bundle), msgspec.json.encode(kept))


def find_known_champion(blobs: BlobStore, model: str) -> KnownChampion | None:
    """The champion of the newest published routes, None where nothing is published. Raises Corrupt, NewerFormat."""
    table = find_next(blobs, model, 0)
    if table is None or table.champion is None:
        return None
    champion = table.champion
    return KnownChampion(
        number=champion.number, digest=champion.bundle, lineage=_lineage(blobs, champion.bundle)
    )


def _lineage(blobs: BlobStore, bundle: str) -> dict[str, Any]:
    """What was kept of a bundle; empty for nothing, and for what is damaged: then it is not known."""
    data = blobs.find(_key(bundle))
    if data is None:
        return {}
    try:
        kept = msgspec.json.decode(data, type=_Kept)
        if (kept.format, kept.bundle, kept.digest) != (FORMAT, bundle, digest_bytes(kept.lineage)):
            return {}
        return msgspec.json.decode(kept.lineage, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {}


def _key(bundle: str) -> str:
    return f"{FOLDER}/{bundle.removeprefix('sha256:')}.json"
