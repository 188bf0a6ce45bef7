"""The gates of an environment on what is recorded of a version. Pure: nothing is trained, measured or asked again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.core.project import GateSection, Task
from flyball.core.values import Interval, Verdict
from flyball.pipelines.metric_names import PACKAGE_METRICS

if TYPE_CHECKING:
    from flyball.judge.gates.gate import GateEvidence

MEASURED_CONFIDENCE = 0.95


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a version when it comes to an environment.

    evaluation: facts of its evaluation; gates: of the gates that its run judged. compared_with: digest of the champion
    that the run compared it with; champion: digest of the environment's, None where there is none.
    """

    task: Task
    digest: str
    evaluation: dict[str, Any]
    gates: list[dict[str, Any]]
    compared_with: str | None
    champion: str | None


def judge_recorded(gates: Sequence[GateSection], recorded: Recorded) -> list[dict[str, Any]]:
    """A verdict per gate, as evidence keeps it. What the record can't answer is inconclusive."""
    found = []
    for gate in gates:
        verdict, rule = _judge(gate, recorded), _rule(gate)
        found.append({**rule, "outcome": verdict.outcome, "because": verdict.because})
    return found


def _judge(gate: GateSection, recorded: Recorded) -> Verdict:
    from flyball.judge.gates.gate import judge_gate

    if gate.over is not None or gate.metric == "disagreement":
        return Verdict("inconclusive", f"{gate.metric}: production requests are not replayed for a gate yet")
    if gate.versus == "champion" and recorded.champion is not None:
        if recorded.champion == recorded.digest:
            return Verdict("pass", f"{gate.metric}: the champion there has the same bytes")
        if recorded.champion != recorded.compared_with:
            return Verdict(
                "inconclusive",
                f"{gate.metric} was not compared with the champion there; `flyball ci` beside that environment's "
                "objects compares them",
            )
    said = None if gate.versus and recorded.champion is None else _find_said(gate, recorded)
    return said or judge_gate(gate, _evidence_for(gate, recorded))


def _find_said(gate: GateSection, recorded: Recorded) -> Verdict | None:
    """What the run said about the very same gate."""
    rule = _rule(gate)
    for facts in recorded.gates:
        told = {name: value for name, value in facts.items() if name not in ("outcome", "because")}
        if told == rule:
            return Verdict(facts["outcome"], facts["because"])
    return None


def _evidence_for(gate: GateSection, recorded: Recorded) -> GateEvidence:
    from flyball.judge.gates.gate import GateEvidence
    from flyball.judge.metrics.measure import Measured, Paired
    from flyball.judge.metrics.table import default_loss

    loss = default_loss(recorded.task)
    metric = loss if gate.metric == "loss" else gate.metric
    if metric in PACKAGE_METRICS:
        package = recorded.evaluation.get("package") or {}
        span = package.get("latency_interval") if metric == "latency_p99_ms" else None
        return GateEvidence(
            value=package.get(metric),
            interval=None if span is None else msgspec.convert(span, Interval),
            row_count=package.get("calls") or 0,
            is_exact=metric != "latency_p99_ms",
        )
    known = (recorded.evaluation.get("metrics") or {}).get(metric)
    measured = None if known is None else msgspec.convert(known, Measured)
    # Intervals are kept at one confidence; those of another would have to be measured again.
    is_kept = gate.confidence == MEASURED_CONFIDENCE
    beside = (recorded.evaluation.get("comparison") or {}).get("loss")
    return GateEvidence(
        value=None if measured is None else measured.value,
        interval=measured.interval if measured is not None and is_kept else None,
        row_count=0 if measured is None else measured.row_count,
        has_champion=recorded.champion is not None,
        paired=msgspec.convert(beside, Paired) if beside and is_kept and metric == loss else None,
    )


def _rule(gate: GateSection) -> dict[str, Any]:
    return {name: value for name, value in msgspec.to_builtins(gate).items() if value is not None}
