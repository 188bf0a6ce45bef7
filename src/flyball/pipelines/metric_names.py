"""The metrics that gates, guards and service objectives may name, for which task, and which way is better.

Those of a task are the ones of `judge.metrics.table`, named here too so that reading a project file loads no numpy.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from flyball.core.project import Task

Direction = Literal["higher", "lower"]


class MetricName(msgspec.Struct, frozen=True):
    """A metric: tasks it is defined for (empty: every task), the better direction, where it may stand."""

    tasks: tuple[Task, ...]
    better: Direction
    places: tuple[Literal["gate", "guard", "slo"], ...] = ("gate", "guard")


_BOTH: tuple[Task, ...] = ("binary", "multiclass")

METRICS: dict[str, MetricName] = {
    "mae": MetricName(("regression",), "lower"),
    "rmse": MetricName(("regression",), "lower"),
    "median_absolute_error": MetricName(("regression",), "lower"),
    "mape": MetricName(("regression",), "lower"),
    "r2": MetricName(("regression",), "higher"),
    "absolute_bias": MetricName(("regression",), "lower"),
    "roc_auc": MetricName(_BOTH, "higher"),
    "average_precision": MetricName(("binary",), "higher"),
    "log_loss": MetricName(_BOTH, "lower"),
    "brier": MetricName(("binary",), "lower"),
    "accuracy": MetricName(_BOTH, "higher"),
    "balanced_accuracy": MetricName(_BOTH, "higher"),
    "f1": MetricName(("binary",), "higher"),
    "precision": MetricName(("binary",), "higher"),
    "true_positive_rate": MetricName(("binary",), "higher"),
    "false_positive_rate": MetricName(("binary",), "lower"),
    "f1_macro": MetricName(("multiclass",), "higher"),
    "latency_p99_ms": MetricName((), "lower", ("gate", "guard", "slo")),
    "latency_p50_ms": MetricName((), "lower", ("guard",)),
    "latency_p90_ms": MetricName((), "lower", ("guard",)),
    "latency_p95_ms": MetricName((), "lower", ("guard",)),
    "package_mb": MetricName((), "lower", ("gate",)),
    "memory_mb": MetricName((), "lower", ("gate", "slo")),
    "disagreement": MetricName((), "lower", ("gate", "guard")),
    "error_rate": MetricName((), "lower", ("guard", "slo")),
    "loss": MetricName((), "lower", ("gate", "guard")),
    "contract_violations": MetricName((), "lower", ("guard", "slo")),
}
# Those of the packaged model, measured once and not per row.
PACKAGE_METRICS = ("latency_p99_ms", "package_mb", "memory_mb")
