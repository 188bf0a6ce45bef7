"""Opens the object store that a URL names."""

from __future__ import annotations

from urllib.parse import urlsplit

from flyball.backends.blobs.layered import LayeredBlobs, split_url
from flyball.backends.blobs.port import BlobStore
from flyball.core.errors import UnsupportedUrl

__all__ = ["BlobStore", "open_blobs"]


def open_blobs(url: str, *, make: bool = True) -> BlobStore:
    """The object store at `file:///folder`, `s3://bucket/prefix`, `gs://…` or `az://…`, or two of them as one.

    make: whether a folder that is not there is made by the first write (once: should it vanish, writes are refused).

    Credentials and endpoint come from the environment only (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …). Raises
    UnsupportedUrl.
    """
    if (both := split_url(url)) is not None:
        return LayeredBlobs(open_blobs(both[0], make=make), open_blobs(both[1], make=False))
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UnsupportedUrl(
            "the object store's URL holds more than a place; credentials go into the environment"
        )
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
        from flyball.backends.blobs.files import FileBlobs

        return FileBlobs(url, make)
    if parts.scheme in ("s3", "gs", "az") and parts.netloc:
        from flyball.backends.blobs.cloud import CloudBlobs

        return CloudBlobs(url)
    raise UnsupportedUrl(
        f"no object store opens {url[:100]!r}; use file:///folder, s3://bucket/prefix, gs://… or az://…"
    )
