"""A run's result in the words of the report: metrics beside champion and base, gates with their lines, tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from flyball.core.errors import (
    BadInput,
    FlyballError,
    NotEnoughEvidence,
    Refused,
    RunOutOfMemory,
    RunTimedOut,
    UserCodeFailed,
    find_class,
)
from flyball.core.values import Interval
from flyball.judge.metrics.table import METRICS
from flyball.operations.ci.report import (
    Annotation,
    ChangedPrediction,
    CiOutcome,
    Difference,
    Importance,
    MetricLine,
    ModelTestResult,
    StageOutcome,
)
from flyball.pipelines.project_file import ProjectFile

_ORDER: tuple[StageOutcome, ...] = ("broken", "fail", "inconclusive", "pass", "skipped")


def worst(outcomes: Sequence[StageOutcome]) -> CiOutcome:
    """The outcome of a check whose stages ended so; what was skipped says nothing.

    >>> worst(["pass", "inconclusive", "skipped"])
    'inconclusive'
    """
    found = min((_ORDER.index(outcome) for outcome in outcomes), default=_ORDER.index("pass"))
    names: tuple[CiOutcome, ...] = ("broken", "fail", "inconclusive", "pass", "pass")
    return names[found]


def outcome_of_error(code: str) -> CiOutcome:
    """What a run that ended with an error says of a change: rows or settings that are refused are a no, a crash is not.

    >>> outcome_of_error("contract_broken"), outcome_of_error("user_code_failed")
    ('fail', 'broken')
    """
    kind = find_class(code) or FlyballError
    if issubclass(kind, NotEnoughEvidence):
        return "inconclusive"
    if issubclass(kind, UserCodeFailed | RunTimedOut | RunOutOfMemory):
        return "broken"
    return "fail" if issubclass(kind, Refused | BadInput) else "broken"


def metric_lines(
    result: dict[str, Any], contrasts: dict[str, Any], protected: Sequence[str]
) -> list[MetricLine]:
    """Every metric over all held-out rows, and the task's loss in each slice, beside champion and base."""
    lines = []
    for name, measured in result["metrics"].items():
        lines.append(
            MetricLine(
                metric=name,
                larger_is_better=METRICS[name].larger_is_better,
                value=measured["value"],
                interval=_interval(measured.get("interval")),
                rows=measured["row_count"],
                versus_champion=_difference(contrasts.get("champion"), name, "", ""),
                versus_base=_difference(contrasts.get("base"), name, "", ""),
            )
        )
    loss = _loss_of(result)
    for column, levels in result["slices"].items():
        for level, entry in levels.items():
            if loss is None or entry.get("loss") is None:
                continue
            lines.append(
                MetricLine(
                    metric=loss,
                    larger_is_better=METRICS[loss].larger_is_better,
                    value=entry["loss"]["value"],
                    interval=_interval(entry["loss"].get("interval")),
                    rows=entry["row_count"],
                    slice=f"{column} = {level}",
                    is_protected=column in protected,
                    versus_champion=_difference(contrasts.get("champion"), loss, column, level),
                    versus_base=_difference(contrasts.get("base"), loss, column, level),
                )
            )
    return lines


def _loss_of(result: dict[str, Any]) -> str | None:
    return next((name for name in ("log_loss", "mae") if name in result["metrics"]), None)


def _difference(contrast: dict[str, Any] | None, metric: str, column: str, level: str) -> Difference | None:
    for found in (contrast or {}).get("differences", []):
        if (found["metric"], found["column"], found["level"]) == (metric, column, level):
            return Difference(
                estimate=found["estimate"], interval=_interval(found["interval"]), label=found["label"]
            )
    return None


def _interval(value: dict[str, float] | None) -> Interval | None:
    return None if value is None else Interval(value["low"], value["high"])


def changed_predictions(contrast: dict[str, Any] | None) -> list[ChangedPrediction]:
    """The held-out rows whose answer differs most from that of what is compared with."""
    return [msgspec.convert(found, ChangedPrediction) for found in (contrast or {}).get("changed", [])]


def importances(found: dict[str, dict[str, float]], before: str | None) -> list[Importance]:
    """Importance of each feature now and before, the largest first."""
    old = found.get(before or "", {})
    lines = [
        Importance(feature=name, now=value, before=old.get(name))
        for name, value in found.get("now", {}).items()
    ]
    return sorted(lines, key=lambda line: -abs(line.now))


def gate_annotations(gates: Sequence[dict[str, Any]], file: ProjectFile, path: str) -> list[Annotation]:
    """Each gate that was not passed, at the line of its table; what automation asks besides has none."""
    found = []
    for number, gate in enumerate(gates):
        line = file.lines.get(f"gates[{number}]")
        if gate["outcome"] == "pass" or line is None:
            continue
        has_failed = gate["outcome"] == "fail"
        message = (
            f"gate on {gate['metric']} {'failed' if has_failed else 'is not decided'}: {gate['because']}"
        )
        level: Literal["error", "warning"] = "error" if has_failed else "warning"
        found.append(Annotation(path=path, line=line, level=level, rule="gate", message=message))
    return found


def read_tests(result: dict[str, Any]) -> list[ModelTestResult]:
    """The model tests that a run's result tells of; none where it has none."""
    return msgspec.convert(result.get("tests") or [], list[ModelTestResult])


def gate_reasons(gates: Sequence[dict[str, Any]]) -> tuple[StageOutcome, list[str]]:
    """How the gates together ended, and what decided, gate by gate."""
    for outcome, said in (("fail", "failed"), ("inconclusive", "not decided")):
        named = [gate for gate in gates if gate["outcome"] == outcome]
        if named:
            reasons = [f"gate on {gate['metric']} {said}: {gate['because']}" for gate in named]
            return ("fail" if outcome == "fail" else "inconclusive"), reasons
    if not gates:
        return "skipped", ["the project has no gates"]
    return "pass", [f"{len(gates)} gate{'' if len(gates) == 1 else 's'} passed"]
