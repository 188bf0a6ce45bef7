"""The metrics that gates, guards and service objectives may name, for which task, and which way is better."""

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
    "r2": MetricName(("regression",), "higher"),
    "roc_auc": MetricName(("binary",), "higher"),
    "average_precision": MetricName(("binary",), "higher"),
    "log_loss": MetricName(_BOTH, "lower"),
    "brier": MetricName(_BOTH, "lower"),
    "calibration_error": MetricName(("binary",), "lower"),
    "accuracy": MetricName(_BOTH, "higher"),
    "true_positive_rate": MetricName(("binary",), "higher"),
    "false_positive_rate": MetricName(("binary",), "lower"),
    "precision": MetricName(("binary",), "higher"),
    "positive_rate": MetricName(("binary",), "higher"),
    "cost": MetricName(("binary",), "lower"),
    "macro_f1": MetricName(("multiclass",), "higher"),
    "latency_p99_ms": MetricName((), "lower", ("gate", "guard", "slo")),
    "package_mb": MetricName((), "lower", ("gate",)),
    "memory_mb": MetricName((), "lower", ("gate", "slo")),
    "disagreement": MetricName((), "lower", ("gate", "guard")),
    "error_rate": MetricName((), "lower", ("guard", "slo")),
    "loss": MetricName((), "lower", ("gate", "guard")),
    "contract_violations": MetricName((), "lower", ("guard", "slo")),
}
