"""The spool folder: closed segments go to the object store, those of dead writers are closed first."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from flyball.backends.blobs.store import BlobStore
from flyball.core.digests import digest_bytes
from flyball.core.errors import NewerFormat, NotASegment, ObjectExists
from flyball.data.segments import FOLDER, read_segment

OPEN, CLOSED, DRAFT = ".open", ".seg", ".draft"
_SHORTEST_BYTES = 200  # a header and one record are longer
_LONGEST_START_BYTES = 4096
_STALE_DRAFT_SECONDS = 60.0


def ship(folder: Path, blobs: BlobStore, *, limit: int = 64) -> int:
    """Upload closed segments, oldest first, and delete them here once they are durable there; how many went.

    limit: at most so many in one call. Killed at any point and repeated, each segment arrives once: the upload is
    create-only, and what was folded in the meantime is known to the folder by its name. Also closes what dead
    writers left open. Raises Unavailable when the store does not answer; the segment stays here.
    """
    close_abandoned(folder)
    shipped = 0
    for path in list_closed(folder)[:limit]:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue  # another shipper took it
        _upload(path.stem, data, blobs)
        path.unlink(missing_ok=True)
        shipped += 1
    return shipped


def _upload(stem: str, data: bytes, blobs: BlobStore) -> None:
    key = f"{FOLDER}/{stem}{CLOSED}"
    try:
        blobs.create(key, data)
    except ObjectExists:
        if blobs.find(key) in (data, None):
            # An upload that was cut off may have left it visible and not yet durable.
            blobs.put_latest(key, data)
        else:
            # Two workers under one name should not be; their records are kept all the same.
            _upload(f"{stem}.{digest_bytes(data)[7:23]}", data, blobs)


def list_closed(folder: Path) -> list[Path]:
    """Closed segments that wait to be shipped, oldest first; empty when there is no such folder."""
    return sorted(_files(folder, CLOSED), key=lambda path: (path.stem.rpartition("-")[2], path.name))


def close_abandoned(folder: Path) -> list[Path]:
    """Close the open segments of dead writers, so that they are shipped; the closed paths.

    A living writer holds a lock on its file; one that can be locked here has no writer any more.
    """
    closed = []
    for path in sorted(_files(folder, OPEN)):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_same_file(descriptor, path):
                continue  # its writer closed it in the meantime
            if _holds_nothing(descriptor):
                path.unlink()
                continue
            os.fsync(descriptor)
            os.rename(path, path.with_suffix(CLOSED))
            sync_folder(folder)
            closed.append(path.with_suffix(CLOSED))
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)
    _remove_stale_drafts(folder)
    return closed


def _holds_nothing(descriptor: int) -> bool:
    """Whether a segment ends with its header, or before it does: its writer died before it had written a record."""
    size_bytes = os.fstat(descriptor).st_size
    if size_bytes > _LONGEST_START_BYTES:
        return False
    try:
        segment = read_segment(os.pread(descriptor, size_bytes, 0))
    except NotASegment:
        return size_bytes < _SHORTEST_BYTES  # else damaged: kept, and told when it can't be read
    except NewerFormat:
        return False
    return not segment.records and not segment.torn_bytes and not segment.damaged_frames


def _remove_stale_drafts(folder: Path) -> None:
    for path in _files(folder, DRAFT):
        try:
            if time.time() - path.stat().st_mtime > _STALE_DRAFT_SECONDS:
                path.unlink()
        except FileNotFoundError:
            continue


def folder_bytes(folder: Path) -> int:
    """Bytes of all segments in the folder, open and closed."""
    total = 0
    for path in (*_files(folder, OPEN), *_files(folder, CLOSED)):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def _files(folder: Path, suffix: str) -> Iterator[Path]:
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.name.endswith(suffix):
            yield Path(entry.path)


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
