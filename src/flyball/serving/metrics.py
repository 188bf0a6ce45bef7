"""Counters and histograms of all workers of a server, in one small file per worker that survives the worker.

Each worker maps its own file and adds to numbers in place, which costs about as much as adding to a list item.
Whoever is scraped reads all files and adds them up, so one answer covers every worker. A worker that is started
again in the same slot goes on from the numbers it finds: a sum that shrinks would read as a reset in Prometheus.
"""

from __future__ import annotations

import logging
import mmap
import os
import struct
import sys
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

SLOT_BYTES = 256
SLOT_COUNT = 4096
_KEY_AT = 10
_LENGTH = struct.Struct("<H")
_VALUE = struct.Struct("<d")
_LONGEST_KEY = SLOT_BYTES - _KEY_AT

SECONDS_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

METRICS: dict[str, tuple[Literal["counter", "gauge", "histogram"], str]] = {
    "flyball_requests_total": ("counter", "HTTP requests answered, by endpoint and status."),
    "flyball_predictions_total": (
        "counter",
        "Rows answered, by model, version and role of the asked version.",
    ),
    "flyball_prediction_seconds": (
        "histogram",
        "Time from a whole request to its answer, by model and role.",
    ),
    "flyball_contract_violations_total": ("counter", "Broken contract rules, by model and problem."),
    "flyball_faults_total": ("counter", "Faults of model processes, by model, version and kind."),
    "flyball_outcomes_total": ("counter", "Outcomes accepted, by model."),
    "flyball_log_records_total": ("counter", "Records handed to the operating system, by model."),
    "flyball_log_dropped_total": ("counter", "Records not logged because there was no room, by model."),
    "flyball_shadow_dropped_total": ("counter", "Rows no shadow was asked for because its queue was full."),
    "flyball_route_revision": ("gauge", "Revision of the route table in use, by model and worker slot."),
    "flyball_metrics_full": ("gauge", "1 where a worker had no room for further series."),
}


class Value:
    """One number of one worker."""

    __slots__ = ("_index", "_values")

    def __init__(self, values: memoryview[float], index: int) -> None:
        self._values = values
        self._index = index

    def add(self, amount: float = 1.0) -> None:
        """Count on."""
        self._values[self._index] += amount

    def set(self, value: float) -> None:
        """Replace the number (gauges)."""
        self._values[self._index] = value


class Histogram:
    """Counts per bucket and the sum, all of one series."""

    __slots__ = ("_buckets", "_sum")

    def __init__(self, buckets: list[Value], total: Value) -> None:
        self._buckets = buckets
        self._sum = total

    def observe(self, seconds: float, count: int = 1) -> None:
        """Note one duration (`count` times)."""
        self._buckets[bisect_left(SECONDS_BUCKETS, seconds)].add(count)
        self._sum.add(seconds * count)


def _open_map(path: Path, size: int) -> mmap.mmap:
    """The file's content as memory. Without room on the disk, memory of this process alone: it answers all the same."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if sys.platform == "linux":
                # Room for all of it now: a page that finds none when it is written to ends the process (SIGBUS).
                os.posix_fallocate(descriptor, 0, size)
            else:
                os.ftruncate(descriptor, size)
            return mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
    except OSError as error:
        logging.getLogger("flyball.worker").error("the numbers of this worker are its own: %s", error)
        return mmap.mmap(-1, size)


class WorkerMetrics:
    """The numbers of one worker, kept in `<folder>/<slot>.metrics`."""

    def __init__(self, folder: Path, slot: int) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._map = _open_map(folder / f"{slot}.metrics", SLOT_BYTES * SLOT_COUNT)
        self._values = memoryview(self._map).cast("d")
        self._known: dict[str, int] = {}
        for index, (key, _) in enumerate(_slots(self._map)):
            self._known[key] = index
        self._dropped = Value(self._values, 0) if not self._known else self.value("flyball_metrics_full")
        if not self._known:
            self.value("flyball_metrics_full")

    def value(self, name: str, **labels: str) -> Value:
        """The number of this name and these labels, at 0 when it is new."""
        return self._find(_series(name, labels))

    def histogram(self, name: str, **labels: str) -> Histogram:
        """The histogram of this name and these labels."""
        bounds = [f"{bound:g}" for bound in SECONDS_BUCKETS] + ["+Inf"]
        buckets = [self._find(_series(f"{name}_bucket", {**labels, "le": bound})) for bound in bounds]
        return Histogram(buckets, self._find(_series(f"{name}_sum", labels)))

    def render(self) -> bytes:
        """All workers' numbers, added up, as Prometheus text (format 0.0.4)."""
        return render(self._folder)

    def _find(self, key: str) -> Value:
        index = self._known.get(key)
        if index is None:
            index = len(self._known)
            raw = key.encode()
            if index >= SLOT_COUNT or len(raw) > _LONGEST_KEY:
                self._dropped.set(1.0)
                return Value(memoryview(bytearray(8)).cast("d"), 0)
            start = index * SLOT_BYTES
            self._map[start + _KEY_AT : start + _KEY_AT + len(raw)] = raw
            self._map[start + 8 : start + _KEY_AT] = _LENGTH.pack(
                len(raw)
            )  # last: a reader sees whole keys only
            self._known[key] = index
        return Value(self._values, index * (SLOT_BYTES // 8))


def render(folder: Path) -> bytes:
    """The numbers of every worker's file in `folder`, added up, as Prometheus text (format 0.0.4)."""
    totals: dict[str, float] = {}
    for path in sorted(folder.glob("*.metrics")):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        for key, value in _slots(data):
            totals[key] = totals.get(key, 0.0) + value
    lines: list[str] = []
    for name, (kind, words) in METRICS.items():
        samples = _histogram_lines(name, totals) if kind == "histogram" else _plain_lines(name, totals)
        if samples:
            lines += [f"# HELP {name} {words}", f"# TYPE {name} {kind}", *samples]
    return ("\n".join(lines) + "\n").encode()


def _plain_lines(name: str, totals: dict[str, float]) -> list[str]:
    return [f"{key} {totals[key]:g}" if totals[key] % 1 else f"{key} {int(totals[key])}" for key in sorted(totals)
            if key.partition("{")[0] == name]  # fmt: skip


def _histogram_lines(name: str, totals: dict[str, float]) -> list[str]:
    lines = []
    for key in sorted(key for key in totals if key.partition("{")[0] == f"{name}_sum"):
        labels = key.partition("{")[2].rstrip("}")
        prefix = f"{labels}," if labels else ""
        count = 0
        for bound in [f"{bound:g}" for bound in SECONDS_BUCKETS] + ["+Inf"]:
            series = f'{name}_bucket{{{prefix}le="{bound}"}}'
            count += int(totals.get(series, 0))
            lines.append(f"{series} {count}")
        braces = f"{{{labels}}}" if labels else ""
        lines += [f"{name}_sum{braces} {totals[key]:.6f}", f"{name}_count{braces} {count}"]
    return lines


def _slots(data: bytes | mmap.mmap) -> Iterator[tuple[str, float]]:
    for start in range(0, len(data) - SLOT_BYTES + 1, SLOT_BYTES):
        (length,) = _LENGTH.unpack_from(data, start + 8)
        if length == 0:
            return
        (value,) = _VALUE.unpack_from(data, start)
        yield data[start + _KEY_AT : start + _KEY_AT + length].decode("utf-8", "replace"), value


def _series(name: str, labels: dict[str, str]) -> str:
    if not labels:
        return name
    inside = ",".join(f'{key}="{_escape(value)}"' for key, value in labels.items())
    return f"{name}{{{inside}}}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
