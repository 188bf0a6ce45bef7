"""A file of predictions that is there whole or not at all: written in a folder beside it, then renamed."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from flyball.core.errors import BadInput, Conflict, StorageFull

if TYPE_CHECKING:
    import polars as pl

FORMATS = (".parquet", ".csv", ".jsonl")
_PART_ROWS = 50_000
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_POLL_SECONDS = 0.2


def check_output(path: Path) -> Path:
    """The place as an absolute path. Raises BadInput for one that no predictions can be written to."""
    if path.suffix not in FORMATS:
        raise BadInput(
            f"OUTPUT {path} ends in none of {', '.join(FORMATS)}, which say how it is written",
            output=str(path),
        )
    if path.is_dir():
        raise BadInput(f"OUTPUT {path} is a folder; name a file in it", output=str(path))
    if not path.parent.is_dir():
        raise BadInput(f"there is no folder {path.parent} to write {path.name} to", output=str(path))
    return path.parent.resolve() / path.name


class Draft:
    """An output that is being written."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._path = path
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._waiting: list[pl.DataFrame] = []
        self._parts: list[Path] = []

    def write(self, frame: pl.DataFrame) -> None:
        """Add rows. Raises StorageFull, BadInput."""
        with told(self._path):
            if self._path.suffix == ".parquet":
                self._waiting.append(frame)
                if sum(part.height for part in self._waiting) >= _PART_ROWS:
                    self._write_part()
                return
            is_first = self._file is None
            if self._file is None:
                self._file = self._whole.open("wb")
            text = io.BytesIO()
            if self._path.suffix == ".csv":
                frame.write_csv(text, include_header=is_first)
            else:
                frame.write_ndjson(text)
            self._file.write(text.getbuffer())

    def finish(self) -> None:
        """Bring all rows to disk and give the file its name. Raises StorageFull, BadInput."""
        with told(self._path):
            if self._path.suffix == ".parquet":
                self._join_parts()
            assert self._file is not None
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._whole, self._path)
            descriptor = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """Let go of the file, which may have no room for its last bytes."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()

    @property
    def _whole(self) -> Path:
        return self._folder / f"whole{self._path.suffix}"

    def _write_part(self) -> None:
        import polars as pl

        part = io.BytesIO()
        pl.concat(self._waiting).write_parquet(part, compression="zstd")
        self._waiting.clear()
        self._parts.append(self._folder / f"{len(self._parts):06d}.parquet")
        self._parts[-1].write_bytes(part.getbuffer())

    def _join_parts(self) -> None:
        """The parts as one file, never all of them in memory."""
        import polars as pl

        if self._waiting:
            self._write_part()
        if len(self._parts) == 1:
            self._parts[0].rename(self._whole)
        else:
            parts = pl.scan_parquet(self._parts, glob=False)
            parts.sink_parquet(self._whole, compression="zstd", maintain_order=True)
        self._file = self._whole.open("ab")


@contextmanager
def open_draft(
    path: Path, key: str, check: Callable[[], object], say: Callable[[str], None]
) -> Iterator[Draft]:
    """A draft of the file at `path`, which nobody else writes meanwhile; another one with the same key is waited for.

    check: raises when the time is over. What a killed process left is removed. Raises Conflict, BadInput.
    """
    folder = path.with_name(f".{path.name}.scoring")
    with told(path), suppress(FileExistsError):
        folder.mkdir()
    descriptor = _lock(path, folder, key, check, say)
    draft = None
    try:
        with told(path):
            for left in folder.iterdir():
                left.unlink()
            (folder / "key").write_text(f"{os.getpid()}\n{key}")
        draft = Draft(path, folder)
        yield draft
    finally:
        if draft is not None:
            draft.close()
        shutil.rmtree(folder, ignore_errors=True)  # while it is locked: what comes after makes its own
        os.close(descriptor)


def _lock(path: Path, folder: Path, key: str, check: Callable[[], object], say: Callable[[str], None]) -> int:
    """The descriptor of the folder, which is locked by this process alone."""
    is_told = False
    while True:
        with told(path), suppress(FileExistsError):
            folder.mkdir()
        with told(path), suppress(FileNotFoundError):
            # No link: what lies in the folder is removed.
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            if _try_lock(descriptor) and _is_same(descriptor, folder):
                return descriptor
            os.close(descriptor)
        process, _, other = _read(folder / "key").partition("\n")
        if process and other != key:
            raise Conflict(f"process {process} is writing {path}; wait for its end, or name another file")
        if not is_told:
            say("waiting for the job with this key that is under way")
            is_told = True
        check()
        time.sleep(_POLL_SECONDS)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_same(descriptor: int, folder: Path) -> bool:
    """Whether the folder is still the one that was opened; who held it before has removed it at its end."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return False
    return os.fstat(descriptor).st_ino == found.st_ino


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


@contextmanager
def told(path: Path) -> Iterator[None]:
    """What can't be written is told by the name of the output."""
    import polars as pl

    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise StorageFull(
                f"there is no room for {path}: {error.strerror}; nothing was written there"
            ) from error
        raise BadInput(f"{path} can't be written: {error.strerror or error}", output=str(path)) from error
    except pl.exceptions.PolarsError as error:
        if any(f"os error {number}" in str(error) for number in _NO_ROOM):
            raise StorageFull(f"there is no room for {path}: {error}; nothing was written there") from error
        raise
