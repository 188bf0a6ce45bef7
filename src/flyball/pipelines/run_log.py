"""What a run prints, on disk with a limit: its first 4 MiB and at least its last 12, whatever its code does.

The first 4 MiB are `log.txt`; what follows goes to files of 4 MiB in the folder `log`, of which the newest four stay.
Each is named by the bytes and lines before it, so that what was left out is known without a count that a killed
process could lose.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import zip_longest
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

LOG_NAME = "log.txt"
SEGMENT_BYTES = 4 << 20
KEPT_SEGMENTS = 4
MOST_LINE_BYTES = 4 << 10
# Threads of one process write to one log: trials of a retraining, and a child's output beside our own lines.
_writing = threading.Lock()
# The file that each log with more than one is written to, by its first one: a folder is not listed for each line.
_newest: dict[Path, Path] = {}


class LogPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some lines of a log, oldest first.

    `offset`: number of the first one, from 0; `next`: offset of what follows, None at the end; `total`: how many lines
    were printed so far; `left_out`: how many of them are not kept. A line in brackets stands where they were.
    """

    lines: list[str]
    offset: int
    next: int | None
    total: int
    left_out: int


class _Segment(NamedTuple):
    """A file of a log, and the bytes and lines before it."""

    byte: int
    line: int
    path: Path


class RunLog:
    """The log of a run, by the path of its first file; the others lie in a folder beside it."""

    def __init__(self, path: Path) -> None:
        self.path, self.folder = path, path.with_suffix("")

    def exists(self) -> bool:
        """Whether anything was printed, on this machine."""
        return self.path.is_file()

    def write_line(self, line: str) -> None:
        """Add a line (or several), cut at 4 KiB each; the oldest after the first 4 MiB make room for it."""
        for one in line.rstrip("\n").split("\n"):
            data = _line_bytes(one)
            with _writing, self._for_writing(len(data)).open("ab") as file:
                file.write(data)

    def page(self, offset: int | None = None, limit: int = 200) -> LogPage:
        """At most `limit` lines from number `offset` on; the last ones without it. Never reads more than two files."""
        segments = self._segments()
        if not segments:
            return LogPage(lines=[], offset=0, next=None, total=0, left_out=0)
        total = segments[-1].line + _count_lines(segments[-1].path)
        gap = _gap(segments)
        start = max(0, total - limit) if offset is None else offset
        lines: list[str] = []
        first, at = None, start
        for number, after, line in self._numbered(segments, gap, start):
            if len(lines) == limit:
                break
            first = number if first is None else first
            at = after
            lines.append(line)
        return LogPage(
            lines=lines,
            offset=start if first is None else first,
            next=at if lines and at < total else None,
            total=total,
            left_out=0 if gap is None else gap[1] - gap[0],
        )

    def chunks(self) -> Iterator[bytes]:
        """All that is kept, in pieces of at most 64 KiB, with the line that tells what is not."""
        with ExitStack() as opened:
            # All at once: a run that goes on may remove one while an earlier one is being sent.
            segments, files = self._segments(), []
            for segment in segments:
                with suppress(FileNotFoundError):
                    files.append((segment, opened.enter_context(segment.path.open("rb"))))
            gap = _gap([segment for segment, _ in files])
            for segment, file in files:
                if gap is not None and segment.line == gap[1]:
                    yield f"{_told(gap)}\n".encode()
                while data := file.read(64 << 10):
                    yield data

    def write_to(self, file: IO[bytes]) -> None:
        """Write all that is kept into an open file."""
        for data in self.chunks():
            file.write(data)

    def new_lines(self, byte: int) -> tuple[list[str], int]:
        """Whole lines after the first `byte` bytes that were printed, at most about 1 MiB, and where they end."""
        segments = self._segments()
        following = [one for one in segments if one.byte + one.path.stat().st_size > byte] if segments else []
        if not following:
            return [], byte
        segment = following[0]
        lines = []
        if segment.byte > byte:
            lines = ["[lines that came faster than they could be shown are left out here]"]
            byte = segment.byte
        with segment.path.open("rb") as file:
            file.seek(byte - segment.byte)
            data = file.read(1 << 20)
        whole = data[: data.rfind(b"\n") + 1]
        return lines + _split(whole), byte + len(whole)

    def _for_writing(self, size: int) -> Path:
        """The file that a line of so many bytes goes to; a new one when the newest is full."""
        newest = _newest.get(self.path, self.path)
        with suppress(FileNotFoundError):
            if newest.stat().st_size + size <= SEGMENT_BYTES:
                return newest
        segments = self._segments()
        if not segments:
            return self.path
        last = segments[-1]
        used = last.path.stat().st_size
        if used + size <= SEGMENT_BYTES:
            return last.path
        self.folder.mkdir(exist_ok=True)
        for old in segments[1 : 1 + max(0, len(segments) - KEPT_SEGMENTS)]:
            old.path.unlink(missing_ok=True)
        path = self.folder / f"{last.byte + used}-{last.line + _count_lines(last.path)}.txt"
        _newest[self.path] = path
        return path

    def _segments(self) -> list[_Segment]:
        """The files of the log in order; none when there is no first one."""
        if not self.path.is_file():
            return []
        found = [_Segment(0, 0, self.path)]
        with suppress(FileNotFoundError, NotADirectoryError):
            for path in self.folder.iterdir():
                byte, _, line = path.stem.partition("-")
                if byte.isdecimal() and line.isdecimal():
                    found.append(_Segment(int(byte), int(line), path))
        return sorted(found)

    def _numbered(
        self, segments: list[_Segment], gap: tuple[int, int, int] | None, start: int
    ) -> Iterator[tuple[int, int, str]]:
        """Number, number of the following one, and text of each kept line from `start` on."""
        ends = [gap[0] if gap else segment.line for segment in segments[1:2]]
        ends += [segment.line for segment in segments[2:]]
        for segment, end in zip_longest(segments, ends):
            if gap is not None and segment.line == gap[1] and start <= gap[0]:
                yield gap[0], gap[1], _told(gap)
            if end is not None and end <= start:
                continue
            with suppress(FileNotFoundError), segment.path.open("rb") as file:
                for number, line in enumerate(file, segment.line):
                    if number >= start and line.endswith(b"\n"):
                        yield number, number + 1, _split(line)[0]


def _line_bytes(line: str) -> bytes:
    data = line.encode("utf-8", errors="replace")
    if len(data) > MOST_LINE_BYTES:
        left_out = f" … [{len(data) - MOST_LINE_BYTES} more bytes of this line are left out]"
        data = data[:MOST_LINE_BYTES].decode("utf-8", errors="ignore").encode() + left_out.encode()
    return data + b"\n"


def _gap(segments: list[_Segment]) -> tuple[int, int, int] | None:
    """Between which line numbers lines were left out, and how many bytes; None where none were."""
    if len(segments) < 2:
        return None
    first, second = segments[0], segments[1]
    size = first.path.stat().st_size
    if second.byte <= size:
        return None
    return _count_lines(first.path), second.line, second.byte - size


def _told(gap: tuple[int, int, int]) -> str:
    return f"[{gap[1] - gap[0]} lines ({gap[2] / (1 << 20):.1f} MiB) were left out here: a log has a limit]"


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(data.count(b"\n") for data in iter(lambda: file.read(1 << 20), b""))


def _split(data: bytes) -> list[str]:
    """Lines ended by line feeds; other characters that end lines somewhere stay within them."""
    text = data.decode("utf-8", errors="replace")
    return [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")] if text else []
