"""Objects as files of a folder.

Plain system calls, not obstore: its local store does not sync (a put of 4 KiB takes it 0.02 ms), and "durable
before it is named" is our promise. The order is bytes, sync, name, sync of the folder. Serving asks for the next
route table ten times a second, which costs one `stat` here.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from flyball.backends.blobs.keys import check_key
from flyball.backends.blobs.port import BlobStore
from flyball.core.errors import BlobsUnavailable, FlyballError, ObjectExists, ObjectNotFound, StorageFull

_CHUNK = 1 << 20
_UNFINISHED = ".tmp"  # on the same file system, where no key can point


class FileBlobs(BlobStore):
    """The objects below one folder. Many processes may use it at once."""

    def __init__(self, url: str, make: bool = True) -> None:
        self.url = url
        self._root = Path(unquote(urlsplit(url).path))
        self._make = make and not (self._root / _UNFINISHED).is_dir()

    def create(self, key: str, data: bytes) -> None:
        target = self._path(key)
        # Asking first saves the write; the link below is what decides.
        if target.exists():
            raise ObjectExists(f"object {key} is in {self.url} already", key=key)
        with self._written(data) as unfinished:
            self._name(unfinished, target, key)

    def put_latest(self, key: str, data: bytes) -> None:
        target = self._path(key)
        with self._written(data) as unfinished:
            self._make_folder(target.parent)
            unfinished.replace(target)
            _sync_folder(target.parent)

    def find(self, key: str) -> bytes | None:
        with self._reading(key) as handle:
            if handle is None:
                return None
            with os.fdopen(handle, "rb", closefd=False) as file:
                return file.read()

    def read_chunks(self, key: str) -> Iterator[bytes]:
        with self._reading(key) as handle:
            if handle is None:
                raise ObjectNotFound(f"there is no object {key} in {self.url}", key=key)
            while chunk := os.read(handle, _CHUNK):
                yield chunk

    def find_size(self, key: str) -> int | None:
        try:
            return self._path(key).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._problem(error) from error

    def list(self, prefix: str = "", after: str | None = None, limit: int | None = None) -> list[str]:
        start = self._path(prefix) if prefix else self._root
        keys = sorted(key for key in self._walk(start, prefix) if after is None or key > after)
        return keys if limit is None else keys[:limit]

    def _walk(self, folder: Path, prefix: str) -> Iterator[str]:
        try:
            with os.scandir(folder) as entries:
                found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise self._problem(error) from error
        for name, is_folder in found:
            key = f"{prefix}/{name}" if prefix else name
            if is_folder and not name.startswith("."):
                yield from self._walk(folder / name, key)
            elif not is_folder:
                yield key

    def delete(self, key: str) -> None:
        target = self._path(key)
        try:
            target.unlink()
            _sync_folder(target.parent)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise self._problem(error) from error

    def sweep(self, older_than_seconds: float = 86_400) -> int:
        swept = 0
        with suppress(OSError):
            for entry in os.scandir(self._root / _UNFINISHED):
                with suppress(OSError):  # gone meanwhile, or another user's
                    if time.time() - entry.stat().st_mtime > older_than_seconds:
                        os.unlink(entry.path)
                        swept += 1
        return swept

    def _upload(self, key: str, path: Path) -> None:
        target = self._path(key)
        with self._unfinished() as unfinished:
            with path.open("rb") as source, unfinished.open("wb") as copy:
                shutil.copyfileobj(source, copy, _CHUNK)
                copy.flush()
                os.fsync(copy.fileno())
            self._make_folder(target.parent)
            unfinished.replace(target)
            _sync_folder(target.parent)

    def _confirm(self, key: str) -> None:
        # Whoever linked it may not have come to syncing the folder yet, and we are about to call it stored.
        _sync_folder(self._path(key).parent)

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    @contextmanager
    def _reading(self, key: str) -> Iterator[int | None]:
        try:
            handle = os.open(self._path(key), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            yield None
            return
        except OSError as error:
            raise self._problem(error) from error
        try:
            yield handle
        except IsADirectoryError:
            raise ObjectNotFound(f"there is no object {key} in {self.url}, but a folder", key=key) from None
        except OSError as error:
            raise self._problem(error) from error
        finally:
            os.close(handle)

    @contextmanager
    def _written(self, data: bytes) -> Iterator[Path]:
        with self._unfinished() as unfinished:
            handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(handle, view) :]
                os.fsync(handle)
            finally:
                os.close(handle)
            yield unfinished

    @contextmanager
    def _unfinished(self) -> Iterator[Path]:
        """A path for a file that is not there yet, removed unless it was moved away; errors in our words."""
        path = self._root / _UNFINISHED / uuid4().hex
        try:
            self._require_store(path.parent)
            yield path
        except OSError as error:
            raise self._problem(error) from error
        finally:
            with suppress(OSError):
                path.unlink()

    def _require_store(self, folder: Path) -> None:
        """A store that was there and is not has been moved, or is not mounted: a new one would hide what comes next."""
        if self._make:
            self._make_folder(folder)
            self._make = False  # only now: another thread takes this for a promise that the folder is there
        elif not folder.is_dir():
            raise BlobsUnavailable(f"{self.url} is not there: it was moved, or is not mounted", url=self.url)

    def _name(self, unfinished: Path, target: Path, key: str) -> None:
        self._make_folder(target.parent)
        try:
            os.link(unfinished, target)
        except FileExistsError:
            raise ObjectExists(f"object {key} is in {self.url} already", key=key) from None
        _sync_folder(target.parent)

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        if folder == self._root and not self._make:  # moved while it was written to
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
        self._make_folder(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        _sync_folder(folder.parent)

    def _problem(self, error: OSError) -> FlyballError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return StorageFull(
                f"{self.url} has no room left: {error.strerror}; nothing was changed", url=self.url
            )
        return BlobsUnavailable(f"{self.url} can't be used: {error.strerror or error}", url=self.url)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
