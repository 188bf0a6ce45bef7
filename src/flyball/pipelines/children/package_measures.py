"""What the package costs to answer with: time for one row, size on disk, memory."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.core.values import Interval

if TYPE_CHECKING:
    import polars as pl

MOST_CALLS = 1000
LEAST_CALLS = 50
TIME_SECONDS = 0.6
WARM_CALLS = 20


class PackageMeasures(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of one-row requests in this process (median; p99 with its 95 % interval), and sizes in MB.

    p99 is the call's own time, without network and queue; `calls` is how many were timed. `memory_mb`: by how much
    this process grew when the package was loaded and asked, which is what a model server pays for it.
    """

    latency_p50_ms: float
    latency_p99_ms: float
    latency_interval: Interval | None
    calls: int
    package_mb: float
    memory_mb: float


def measure_package(package: Path, rows: pl.DataFrame) -> tuple[PackageMeasures, Any]:
    """The measures and the loaded predictor; asked row by row for at most about half a second.

    To be called before anything else loads a model in this process, or memory would look too small.
    """
    from flyball.registry.bundle import read_folder_manifest
    from flyball.registry.formats.loading import load_predictor

    before = _resident_mb()
    predictor = load_predictor(package, in_model_process=True)
    requests = rows.select(predictor.features).head(100).to_dicts()
    for number in range(WARM_CALLS):
        predictor.predict_rows([requests[number % len(requests)]])
    grown = max(0.0, _resident_mb() - before)
    latencies = _time_calls(predictor, requests)
    measures = PackageMeasures(
        latency_p50_ms=latencies[len(latencies) // 2],
        latency_p99_ms=latencies[min(len(latencies) - 1, int(0.99 * len(latencies)))],
        latency_interval=_p99_interval(latencies),
        calls=len(latencies),
        package_mb=round(read_folder_manifest(package).size_bytes / 1e6, 4),
        memory_mb=round(grown, 2),
    )
    return measures, predictor


def _time_calls(predictor: Any, requests: list[dict[str, Any]]) -> list[float]:
    """Milliseconds per call, sorted."""
    latencies: list[float] = []
    deadline = time.perf_counter() + TIME_SECONDS
    while len(latencies) < MOST_CALLS:
        began = time.perf_counter()
        predictor.predict_rows([requests[len(latencies) % len(requests)]])
        ended = time.perf_counter()
        latencies.append((ended - began) * 1000)
        if ended > deadline and len(latencies) >= LEAST_CALLS:
            break
    return sorted(latencies)


def _p99_interval(latencies: list[float]) -> Interval | None:
    """Order statistics that hold the 99th percentile with 95 % confidence; None for too few calls to bound it.

    The number of calls above the true p99 is binomial (n, 0.01). Source: David, Nagaraja (2003), section 7.1.
    """
    count = len(latencies)
    fewest, most = _binomial_quantile(count, 0.025), _binomial_quantile(count, 0.975)
    if fewest == 0:
        return None
    return Interval(latencies[max(count - most - 1, 0)], latencies[count - fewest])


def _binomial_quantile(count: int, share: float) -> int:
    """The least number of exceedances among `count` calls, each with probability 0.01, that covers this share.

    Summed up here: importing scipy.stats would take longer than the measurement.
    """
    chance = 0.99**count
    covered, number = chance, 0
    while covered < share and number < count:
        chance *= (count - number) / (number + 1) * (0.01 / 0.99)
        number += 1
        covered += chance
    return number


def _resident_mb() -> float:
    """Resident memory of this process now, in MB; 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0.0
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
