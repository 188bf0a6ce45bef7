"""Two object stores as one: what is written goes into the upper one, what is not there is read from the lower one.

For whoever may read a shared store and must not write to it: the check of a stranger's change.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from flyball.backends.blobs.port import BlobStore
from flyball.core.errors import ObjectExists

_SCHEME, _OVER = "layered:", ",over:"


def layered_url(upper: str, lower: str) -> str:
    """The URL that opens two stores as one."""
    return f"{_SCHEME}{upper}{_OVER}{lower}"


def split_url(url: str) -> tuple[str, str] | None:
    """The URLs of both stores, None for another kind of URL.

    >>> split_url(layered_url("file:///a", "s3://b/c"))
    ('file:///a', 's3://b/c')
    """
    if not url.startswith(_SCHEME) or _OVER not in url:
        return None
    upper, _, lower = url.removeprefix(_SCHEME).partition(_OVER)
    return upper, lower


class LayeredBlobs(BlobStore):
    """The lower store is never written to: what is deleted or damaged there stays as it is."""

    def __init__(self, upper: BlobStore, lower: BlobStore) -> None:
        self._upper, self._lower = upper, lower
        self.url = layered_url(upper.url, lower.url)

    def create(self, key: str, data: bytes) -> None:
        if self._lower.exists(key):
            raise ObjectExists(f"object {key} is in {self._lower.url} already", key=key)
        self._upper.create(key, data)

    def put_latest(self, key: str, data: bytes) -> None:
        self._upper.put_latest(key, data)

    def find(self, key: str) -> bytes | None:
        found = self._upper.find(key)
        return self._lower.find(key) if found is None else found

    def read_chunks(self, key: str) -> Iterator[bytes]:
        return (self._upper if self._upper.exists(key) else self._lower).read_chunks(key)

    def find_size(self, key: str) -> int | None:
        found = self._upper.find_size(key)
        return self._lower.find_size(key) if found is None else found

    def list(self, prefix: str = "", after: str | None = None, limit: int | None = None) -> list[str]:
        both = heapq.merge(self._upper.list(prefix, after, limit), self._lower.list(prefix, after, limit))
        return [*islice(dict.fromkeys(both), limit)]

    def delete(self, key: str) -> None:
        self._upper.delete(key)

    def sweep(self, older_than_seconds: float = 86_400) -> int:
        return self._upper.sweep(older_than_seconds)

    def put_object(self, data: bytes) -> str:
        # Not left out because the lower store has it: an object that is damaged there is made whole here.
        return self._upper.put_object(data)

    def put_file(self, path: Path) -> str:
        return self._upper.put_file(path)

    def _upload(self, key: str, path: Path) -> None:
        self._upper._upload(key, path)

    def _confirm(self, key: str) -> None:
        if self._upper.exists(key):
            self._upper._confirm(key)
