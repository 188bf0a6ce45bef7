"""The object store's port: content-addressed objects, create-only keys and a few that are replaced.

Whatever a method has acknowledged is durable: a row that names an object is written after the call returned.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from flyball.backends.blobs.keys import object_key
from flyball.core.digests import digest_bytes, digest_file
from flyball.core.errors import CorruptObject, ObjectExists, ObjectNotFound


class BlobStore(ABC):
    """Objects by key. Keys are checked; folders need not be made. Raises BlobsUnavailable, StorageFull, BadKey."""

    url: str

    @abstractmethod
    def create(self, key: str, data: bytes) -> None:
        """Store a new object. Raises ObjectExists when the key is taken; of two racing calls, one wins."""

    @abstractmethod
    def put_latest(self, key: str, data: bytes) -> None:
        """Store an object in place of whatever had the key; readers see the old bytes or the new ones."""

    @abstractmethod
    def find(self, key: str) -> bytes | None:
        """The object's bytes, or None."""

    @abstractmethod
    def read_chunks(self, key: str) -> Iterator[bytes]:
        """The object's bytes in pieces. Raises ObjectNotFound."""

    @abstractmethod
    def find_size(self, key: str) -> int | None:
        """The object's size in bytes, or None; costs no transfer."""

    @abstractmethod
    def list(self, prefix: str = "", after: str | None = None, limit: int | None = None) -> list[str]:
        """The keys below a folder, sorted by their bytes; only those behind `after`, at most `limit`."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is fine."""

    def sweep(self, older_than_seconds: float = 86_400) -> int:
        """Remove what killed writers left unfinished; how many files that were. Buckets do so themselves: 0."""
        return 0

    @abstractmethod
    def _upload(self, key: str, path: Path) -> None:
        """Store a file's bytes under a key, in pieces, in place of whatever had the key."""

    @abstractmethod
    def _confirm(self, key: str) -> None:
        """Make sure that a key which is there stays there, whoever is just writing it."""

    def get(self, key: str) -> bytes:
        """The object's bytes. Raises ObjectNotFound."""
        found = self.find(key)
        if found is None:
            raise ObjectNotFound(f"there is no object {key} in {self.url}", key=key)
        return found

    def exists(self, key: str) -> bool:
        """Whether the key is taken; cheap enough to ask ten times a second."""
        return self.find_size(key) is not None

    def size(self, key: str) -> int:
        """The object's size in bytes. Raises ObjectNotFound."""
        found = self.find_size(key)
        if found is None:
            raise ObjectNotFound(f"there is no object {key} in {self.url}", key=key)
        return found

    def object_key(self, digest: str) -> str:
        """The key of a content-addressed object."""
        return object_key(digest)

    def has_object(self, digest: str) -> bool:
        """Whether an object with this digest is stored."""
        return self.exists(object_key(digest))

    def put_object(self, data: bytes) -> str:
        """Store bytes under their own digest, which is returned. Storing them again changes nothing."""
        digest = digest_bytes(data)
        key = object_key(digest)
        try:
            self.create(key, data)
        except ObjectExists:
            if self.find_size(key) != len(data):  # cut short by a failing disk: these bytes are the repair
                self.put_latest(key, data)
            self._confirm(key)
        return digest

    def put_file(self, path: Path) -> str:
        """As `put_object`, for a file of any size. The file must not change meanwhile."""
        digest = digest_file(path)
        key = object_key(digest)
        if self.find_size(key) == path.stat().st_size:
            self._confirm(key)
        else:
            self._upload(key, path)
        return digest

    def get_object(self, digest: str) -> bytes:
        """The bytes with this digest, verified. Raises ObjectNotFound, CorruptObject."""
        data = self.get(object_key(digest))
        if digest_bytes(data) != digest:
            raise self._corrupt(digest)
        return data

    def check_object(self, digest: str) -> None:
        """Read the object a piece at a time and forget it. Raises ObjectNotFound, CorruptObject."""
        seen = hashlib.sha256()
        for chunk in self.read_chunks(object_key(digest)):
            seen.update(chunk)
        if "sha256:" + seen.hexdigest() != digest:
            raise self._corrupt(digest)

    def fetch_object(self, digest: str, target: Path) -> None:
        """Write the object to a file, which gets its name once its bytes are verified and on disk.

        Raises ObjectNotFound, CorruptObject.
        """
        seen = hashlib.sha256()
        partial = target.with_name(f".{target.name}.{uuid4().hex}.partial")
        try:
            with partial.open("wb") as file:
                for chunk in self.read_chunks(object_key(digest)):
                    seen.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            if "sha256:" + seen.hexdigest() != digest:
                raise self._corrupt(digest)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def _corrupt(self, digest: str) -> CorruptObject:
        return CorruptObject(
            f"object {digest} in {self.url} has other bytes than its name says, and is not used; bring it back "
            f"from a backup (key {object_key(digest)}), or delete it and run again what made it",
            digest=digest,
            key=object_key(digest),
        )
