"""The gates of a project over what was measured, each with its verdict and its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from flyball.core.project import GateSection, Project
from flyball.core.values import Interval, Verdict
from flyball.pipelines.children.answering import Held
from flyball.pipelines.children.comparing import Comparison, Pairing
from flyball.pipelines.children.measuring import LEAST_SLICE_ROWS, group_rows, slice_rows, take
from flyball.pipelines.children.package_measures import PackageMeasures
from flyball.pipelines.metric_names import PACKAGE_METRICS

if TYPE_CHECKING:
    from flyball.judge.gates.gate import GateEvidence
    from flyball.judge.metrics.measure import Measured


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All that gates may look at."""

    project: Project
    metrics: dict[str, Any]
    measures: PackageMeasures
    test: Any
    held: Held
    comparison: Comparison | None
    pairing: Pairing | None


def judge_gates(evidence: Evidence, *, is_automatic: bool) -> list[dict[str, Any]]:
    """A verdict per gate of the project; for a version that automation made, also one on its estimated gain."""
    from flyball.judge.gates.gate import judge_gate, shows_gain
    from flyball.judge.metrics.table import default_loss

    verdicts = []
    for gate in evidence.project.gates:
        verdict = _special(gate) or judge_gate(gate, _evidence_for(gate, evidence))
        if verdict.outcome == "inconclusive" and evidence.comparison is not None and gate.versus is not None:
            reason = evidence.comparison.because
            verdict = Verdict(verdict.outcome, f"{verdict.because}: {reason}" if reason else verdict.because)
        verdicts.append(_told(gate, verdict))
    if is_automatic and evidence.comparison is not None:
        metric = default_loss(evidence.project.model.task)
        paired = None if evidence.pairing is None else evidence.pairing.paired(metric, 0.95)
        gain = shows_gain(paired)
        rule = {"metric": metric, "versus": "champion", "asks": "a positive estimated gain, for automation"}
        verdicts.append({**rule, "outcome": gain.outcome, "because": gain.because})
    return verdicts


def _special(gate: GateSection) -> Verdict | None:
    """What can't be judged yet is never passed."""
    if gate.over is not None or gate.metric == "disagreement":
        return Verdict("inconclusive", f"{gate.metric}: production requests are not replayed for a gate yet")
    return None


def _evidence_for(gate: GateSection, evidence: Evidence) -> GateEvidence:
    from flyball.judge.gates.gate import GateEvidence
    from flyball.judge.metrics.table import METRICS, default_loss

    if gate.metric in PACKAGE_METRICS:
        value = float(getattr(evidence.measures, gate.metric))
        is_latency = gate.metric == "latency_p99_ms"
        interval = evidence.measures.latency_interval if is_latency else None
        return GateEvidence(
            value=value, interval=interval, row_count=evidence.measures.calls, is_exact=not is_latency
        )
    metric = default_loss(evidence.project.model.task) if gate.metric == "loss" else gate.metric
    measured: Measured | None = evidence.metrics.get(metric) if metric in METRICS else None
    paired = None
    if gate.versus is not None and evidence.pairing is not None:
        paired = evidence.pairing.paired(metric, gate.confidence)
    return GateEvidence(
        value=None if measured is None else measured.value,
        interval=None if measured is None else _at_confidence(measured, metric, gate, evidence),
        row_count=0 if measured is None else measured.row_count,
        has_champion=evidence.comparison is not None,
        paired=paired,
        slices=_slices(metric, gate, evidence),
    )


def _at_confidence(measured: Measured, metric: str, gate: GateSection, evidence: Evidence) -> Interval | None:
    """The metric's interval at the gate's own confidence; it is measured at 95 % for everything else."""
    if gate.confidence == 0.95:
        return measured.interval
    from flyball.judge.metrics.measure import measure

    held, project = evidence.held, evidence.project
    again = measure(
        project.model.task,
        held.truth,
        held.prediction,
        scores=held.scores,
        positive=held.positive,
        classes=held.classes,
        groups=group_rows(evidence.test, project),
        confidence=gate.confidence,
        seed=project.train.seed,
        only=metric,
    )
    return again[metric].interval if metric in again else None


def _slices(metric: str, gate: GateSection, evidence: Evidence) -> dict[str, Measured]:
    """The metric per level of the gate's column; levels with too few rows have no interval, which leaves it open."""
    from flyball.judge.metrics.measure import Measured, measure

    if gate.by is None or gate.by not in evidence.test.columns:
        return {}
    found = {}
    project = evidence.project
    groups = group_rows(evidence.test, project)
    for level, rows in slice_rows(evidence.test, gate.by).items():
        part = take(evidence.held, rows)
        if len(rows) < LEAST_SLICE_ROWS:
            found[level] = Measured(value=0.0, interval=None, row_count=len(rows))
            continue
        measured = measure(
            project.model.task,
            part.truth,
            part.prediction,
            scores=part.scores,
            positive=part.positive,
            classes=part.classes,
            groups=None if groups is None else groups[rows],
            confidence=gate.confidence,
            seed=project.train.seed,
            only=metric,
        )
        if metric in measured:
            found[level] = measured[metric]
    return found


def _told(gate: GateSection, verdict: Verdict) -> dict[str, Any]:
    rule = {key: value for key, value in msgspec.to_builtins(gate).items() if value is not None}
    return {**rule, "outcome": verdict.outcome, "because": verdict.because}
