"""Objects in S3, Google Cloud Storage or Azure, by obstore."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError

from flyball.backends.blobs.keys import check_key
from flyball.backends.blobs.port import BlobStore
from flyball.core.errors import BlobsUnavailable, ObjectExists, ObjectNotFound

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_CHUNK = 1 << 20
# At most three attempts within a quarter of a minute: a store that is gone must not be met by a storm.
_RETRY: Any = {
    "max_retries": 2,
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=2), "base": 2},
    "retry_timeout": timedelta(seconds=15),
}


class CloudBlobs(BlobStore):
    """The objects below one prefix of a bucket. Create-only is the store's own conditional put."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._prefix = urlsplit(url).path.strip("/")
        if self._prefix:
            check_key(self._prefix)
        self._store = open_bucket(url)

    def create(self, key: str, data: bytes) -> None:
        with self._reached():
            try:
                obstore.put(self._store, self._at(key), data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                raise ObjectExists(f"object {key} is in {self.url} already", key=key) from None

    def put_latest(self, key: str, data: bytes) -> None:
        with self._reached():
            obstore.put(self._store, self._at(key), data)

    def find(self, key: str) -> bytes | None:
        with self._reached():
            try:
                return obstore.get(self._store, self._at(key)).bytes().to_bytes()
            except (NotFoundError, FileNotFoundError):
                return None

    def read_chunks(self, key: str) -> Iterator[bytes]:
        with self._reached():
            try:
                found = obstore.get(self._store, self._at(key))
            except (NotFoundError, FileNotFoundError):
                raise ObjectNotFound(f"there is no object {key} in {self.url}", key=key) from None
            for chunk in found.stream(min_chunk_size=_CHUNK):
                yield bytes(chunk)

    def find_size(self, key: str) -> int | None:
        with self._reached():
            try:
                return int(obstore.head(self._store, self._at(key))["size"])
            except (NotFoundError, FileNotFoundError):
                return None

    def list(self, prefix: str = "", after: str | None = None, limit: int | None = None) -> list[str]:
        keys: list[str] = []
        below = self._at(prefix) if prefix else (self._prefix or None)
        offset = self._at(after) if after else None
        cut = len(self._prefix) + 1 if self._prefix else 0
        with self._reached():
            for batch in obstore.list(self._store, below, offset=offset, chunk_size=1000):
                keys.extend(str(found["path"])[cut:] for found in batch)
                if limit is not None and len(keys) >= limit:
                    break
        return sorted(keys)[:limit]

    def delete(self, key: str) -> None:
        with self._reached():
            try:
                obstore.delete(self._store, self._at(key))
            except (NotFoundError, FileNotFoundError):
                return

    def _upload(self, key: str, path: Path) -> None:
        # In parts, which can't be create-only; the same digest means the same bytes, so nothing is lost by it.
        with self._reached():
            obstore.put(self._store, self._at(key), path, chunk_size=8 << 20)

    def _confirm(self, key: str) -> None:
        """An answer of the store is durable as it is."""

    def _at(self, key: str) -> str:
        check_key(key)
        return f"{self._prefix}/{key}" if self._prefix else key

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (BaseError, TimeoutError, ConnectionError) as error:
            reason = str(error).strip().split("\n", 1)[0][:300]
            raise BlobsUnavailable(
                f"{self.url} can't be used: {reason}; check endpoint, credentials (AWS_…) and network",
                url=self.url,
            ) from error


def open_bucket(url: str) -> ObjectStore:
    """obstore's store for a bucket, configured from the environment as the cloud's own tools are."""
    from obstore.store import AzureStore, GCSStore, S3Store

    parts = urlsplit(url)
    options: Any = {"timeout": timedelta(seconds=60), "connect_timeout": timedelta(seconds=5)}
    if parts.scheme == "gs":
        return GCSStore(parts.netloc, client_options=options, retry_config=_RETRY)
    if parts.scheme == "az":
        return AzureStore(parts.netloc, client_options=options, retry_config=_RETRY)
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    settings: Any = {"region": region}
    if endpoint:
        settings["endpoint"] = endpoint
        options["allow_http"] = is_loopback(endpoint) or os.environ.get("AWS_ALLOW_HTTP") == "true"
    return S3Store(parts.netloc, client_options=options, retry_config=_RETRY, **settings)


def is_loopback(endpoint: str) -> bool:
    """Whether an endpoint is on this machine: only there may a secret travel unencrypted."""
    host = urlsplit(endpoint).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
