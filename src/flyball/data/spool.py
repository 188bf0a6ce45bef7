"""The prediction log's near end: a worker appends records to segment files of its own. Used by the model server.

Loads nothing heavy. What a server may use of the log's other files is offered here too.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import threading
import time
import zlib
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from flyball.core.errors import BadInput, SpoolFull
from flyball.core.records import LogRecord
from flyball.data.redaction import LogRules, hash_value, read_hash_key
from flyball.data.segments import (
    FRAME_HEAD,
    UNWRITABLE,
    Segment,
    SegmentHeader,
    encode_records,
    read_segment,
    segment_start,
)
from flyball.data.shipping import (
    CLOSED,
    DRAFT,
    OPEN,
    close_abandoned,
    folder_bytes,
    list_closed,
    ship,
    sync_folder,
)

__all__ = [
    "LogRules",
    "Segment",
    "SpoolWriter",
    "close_abandoned",
    "folder_bytes",
    "hash_value",
    "list_closed",
    "read_hash_key",
    "read_segment",
    "ship",
]

_RETRY_SECONDS = 1.0
_WORKER = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,100}$")
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_encoder = msgspec.msgpack.Encoder()


class _OpenSegment:
    """One segment file being written, held by a lock that dies with the process."""

    def __init__(self, folder: Path, worker: str, sequence: int) -> None:
        self.path = folder / f"{worker}-{sequence:013d}{OPEN}"
        draft = self.path.with_suffix(DRAFT)
        self.begun = time.monotonic()
        self.dirty = True
        start = segment_start(SegmentHeader(worker=worker, sequence=sequence, created_at=datetime.now(UTC)))
        self.descriptor = os.open(
            draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        # The lock comes before the name: whoever sees an unlocked `.open` file knows that its writer is dead.
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)
        try:
            written = os.write(self.descriptor, start)
            if written != len(start):
                raise OSError(errno.ENOSPC, "short write")
            os.rename(draft, self.path)
        except OSError:
            os.close(self.descriptor)
            draft.unlink(missing_ok=True)
            raise
        self.size = self.empty_size = len(start)

    @property
    def is_empty(self) -> bool:
        return self.size == self.empty_size

    def sync(self) -> None:
        self.dirty = False
        os.fdatasync(self.descriptor)

    def close(self) -> None:
        """Sync, then give the segment its closed name (or remove it when nothing was written)."""
        if self.is_empty:
            self.path.unlink(missing_ok=True)
        else:
            os.fsync(self.descriptor)
            os.rename(self.path, self.path.with_suffix(CLOSED))
            sync_folder(self.path.parent)
        os.close(self.descriptor)


class SpoolWriter:
    """Appends records to segments in `folder`; several workers share a folder, each with its own id.

    worker_id: unique per process start. max_bytes, max_seconds: size and age of the oldest record at which a
    segment is closed. sync_seconds: how long a record may stay unsynced. limit_bytes: of all segments in the
    folder together; beyond it, and when the disk is full, `append` raises SpoolFull and nothing is written.
    Thread-safe. A thread of its own syncs, closes segments by age and makes them ready to be shipped.
    """

    def __init__(
        self,
        folder: Path,
        worker_id: str,
        *,
        max_bytes: int = 8 * 2**20,
        max_seconds: float = 1.0,
        sync_seconds: float = 0.05,
        limit_bytes: int = 2**30,
    ) -> None:
        if not _WORKER.match(worker_id):
            raise BadInput(f"{worker_id!r} can't name a worker's segments; use letters, digits, ., _ and -")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._worker = folder, worker_id
        self._max_bytes, self._max_seconds = max_bytes, max_seconds
        self._sync_seconds, self._limit = sync_seconds, limit_bytes
        self._lock = threading.Lock()
        self._wake, self._urgent = threading.Event(), threading.Event()
        self._waiting: list[Future[None]] = []
        self._ended: list[_OpenSegment] = []
        self._buffer = bytearray(FRAME_HEAD.size)
        self._sequence = 0
        self._segment: _OpenSegment | None = None
        self._others_bytes = folder_bytes(folder)
        self._recount = False
        self._closed = False
        self._thread = threading.Thread(target=self._tend, name="spool", daemon=True)
        self._thread.start()

    def append(self, records: list[LogRecord]) -> None:
        """Hand records to the operating system: they survive the death of this process. Raises SpoolFull."""
        with self._lock:
            self._write(records)

    def append_synced(self, records: list[LogRecord]) -> Future[None]:
        """Like `append`; the future is done once the records are on disk (syncs are grouped)."""
        done: Future[None] = Future()
        with self._lock:
            self._write(records)
            self._waiting.append(done)
        self._urgent.set()
        self._wake.set()
        return done

    def close(self) -> None:
        """Sync and close the segment; the writer can't be used afterwards."""
        with self._lock:
            self._closed = True
        self._wake.set()
        self._urgent.set()
        self._thread.join()

    # --- under the lock ---

    def _write(self, records: list[LogRecord]) -> None:
        if not records:
            return
        if self._closed:
            raise SpoolFull("this server is ending and writes no more records; ask again")
        buffer = self._buffer
        try:
            _encoder.encode_into(records, buffer, FRAME_HEAD.size)
        except UNWRITABLE:
            buffer[FRAME_HEAD.size :] = encode_records(records)
        length = len(buffer)
        payload = memoryview(buffer)[FRAME_HEAD.size :]
        FRAME_HEAD.pack_into(buffer, 0, length - FRAME_HEAD.size, zlib.crc32(payload))
        payload.release()
        segment = self._segment
        if segment is None or segment.size + length > self._max_bytes:
            segment = self._next_segment()
        if self._others_bytes + segment.size + length > self._limit:
            self._refuse()
        self._put(segment, buffer)
        if not segment.dirty:
            segment.dirty = True
            self._wake.set()

    def _put(self, segment: _OpenSegment, data: bytearray) -> None:
        """One write; what a full disk cut off is taken back, so that no half frame stays before the next."""
        try:
            written = os.write(segment.descriptor, data)
            if written == len(data):
                segment.size += written
                return
            raise OSError(errno.ENOSPC, "short write")
        except OSError as error:
            os.ftruncate(segment.descriptor, segment.size)
            if error.errno in _NO_ROOM:
                raise SpoolFull(
                    f"no room for the prediction log in {self._folder}: {os.strerror(error.errno or 0)}; "
                    "free some space, nothing needs a restart",
                    folder=str(self._folder),
                ) from error
            raise

    def _next_segment(self) -> _OpenSegment:
        self._rotate()
        # Milliseconds, and never twice: names sort by time, and a worker id used again does not clash.
        self._sequence = max(self._sequence + 1, time.time_ns() // 1_000_000)
        try:
            self._segment = _OpenSegment(self._folder, self._worker, self._sequence)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            raise SpoolFull(
                f"no room to begin a segment of the prediction log in {self._folder}; free some space",
                folder=str(self._folder),
            ) from error
        self._wake.set()
        return self._segment

    def _refuse(self) -> None:
        self._recount = True
        self._wake.set()
        raise SpoolFull(
            f"the prediction log waits to be shipped and has reached its limit of {self._limit >> 20} MiB in "
            f"{self._folder}; see why the object store does not take it (`flyball doctor`)",
            folder=str(self._folder),
        )

    def _is_due(self) -> bool:
        segment = self._segment
        if segment is None or segment.is_empty:
            return False
        return segment.size >= self._max_bytes or time.monotonic() - segment.begun >= self._max_seconds

    def _rotate(self) -> None:
        segment = self._segment
        if segment is not None and not segment.is_empty:
            self._segment = None
            self._ended.append(segment)
            self._others_bytes += segment.size
            self._wake.set()

    # --- the thread: the only place where segments are synced and closed ---

    def _tend(self) -> None:
        while True:
            self._wake.wait(self._wait_seconds())
            self._wake.clear()
            if not self._closed and not self._waiting:
                self._urgent.wait(self._sync_seconds)
            self._urgent.clear()
            with self._lock:
                closing = self._closed
                if closing or self._is_due():
                    self._rotate()
                waiting, self._waiting = self._waiting, []
                ended, self._ended = self._ended, []
                segment = self._segment
            unclosed = _settle(segment, ended, waiting)
            if ended or self._recount:
                self._count()
            if closing:
                if segment is not None:
                    segment.close()
                return
            with self._lock:
                self._ended = unclosed + self._ended

    def _wait_seconds(self) -> float | None:
        with self._lock:
            if self._ended or self._recount:
                return _RETRY_SECONDS
            if self._segment is None or self._segment.is_empty:
                return None
            return max(self._segment.begun + self._max_seconds - time.monotonic(), 0.0)

    def _count(self) -> None:
        """How full the folder is. Here and not in `append`: after a long outage there are many files."""
        total = folder_bytes(self._folder)
        with self._lock:
            self._others_bytes = max(total - (self._segment.size if self._segment else 0), 0)
            self._recount = self._others_bytes >= self._limit


def _settle(
    segment: _OpenSegment | None, ended: list[_OpenSegment], waiting: list[Future[None]]
) -> list[_OpenSegment]:
    """Bring everything to disk; those that could not be closed, for the next round. Who waits is told."""
    problem: OSError | None = None
    unclosed = []
    for old in ended:
        try:
            old.close()
        except OSError as error:
            problem = error
            unclosed.append(old)
    if segment is not None and (segment.dirty or waiting):
        try:
            segment.sync()
        except OSError as error:
            segment.dirty = True
            problem = error
    for done in waiting:
        if problem is None:
            done.set_result(None)
        else:
            done.set_exception(SpoolFull(f"the prediction log could not be brought to disk: {problem}"))
    return unclosed
