"""The rollout as a pure state machine: rules and evidence in, the next action with its reason out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from flyball.core.durations import parse_duration
from flyball.core.project import GuardSection, RolloutSection
from flyball.judge.guards import (
    GuardEvidence,
    GuardRule,
    GuardStatus,
    guard_kind,
    judge_guard,
)
from flyball.judge.sequential.ratio import SAMPLE_RATIO_ALPHA

Action = Literal["wait", "advance", "promote", "abort", "hold"]
Strategy = Literal["canary", "shadow", "blue-green", "immediate"]


class RolloutRules(msgspec.Struct, frozen=True, kw_only=True):
    """What a rollout was asked to do.

    steps: shares of traffic, rising; a step of 1.0 is the promotion itself. Bake is wall time, the longest
    duration is model time. min_outcome_days: least days with known outcomes before a loss guard may promote.
    """

    strategy: Strategy
    steps: list[float]
    min_requests: int
    bake_seconds: float
    max_duration_seconds: float
    on_undecided: Literal["abort", "hold"] = "abort"
    confidence: float = 0.95
    min_outcome_days: int = 7
    guards: list[GuardRule] = []

    @property
    def partial_steps(self) -> list[float]:
        """The shares below full traffic, through which a canary goes."""
        return [share for share in self.steps if share < 1.0]


class RolloutEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known at one look. Guards carry all evidence since the rollout began, not of this step alone.

    step: index into `partial_steps`. candidate_requests: answered (or mirrored) in this step.
    sample_ratio_log: see `sequential.ratio`; 0.0 says nothing.
    """

    step: int
    elapsed_seconds: float
    bake_elapsed_seconds: float
    candidate_requests: int
    guards: list[GuardEvidence] = []
    sample_ratio_log: float = 0.0


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What to do next, and why. `undecided` marks an end for lack of evidence, which is no harm shown."""

    action: Action
    because: str
    guards: list[GuardStatus] = []
    undecided: bool = False


_DEFAULT_MARGINS = {
    "error_rate": 0.005,
    "contract_violations": 0.01,
    "disagreement": 0.10,
    "latency_p99_ms": 5.0,
    "latency_p50_ms": 2.0,
}
LOSS_MARGIN_SHARE = 0.10


def rules_of(section: RolloutSection, *, loss: str, champion_loss: float | None = None) -> RolloutRules:
    """The rules that a [rollout] section means.

    loss: the task's default loss (`metrics.table.default_loss`), what the guard `loss` stands for. Without
    guards of its own a shadow rollout guards the loss with a margin of 10 % of `champion_loss`, and every
    other strategy the error rate. A guard without margin gets the default of its metric.
    """
    guards = list(section.guards)
    if not guards:
        guards = [GuardSection(metric="loss" if section.strategy == "shadow" else "error_rate")]
    return RolloutRules(
        strategy=section.strategy,
        steps=list(section.steps),
        min_requests=section.min_requests,
        bake_seconds=parse_duration(section.bake).total_seconds(),
        max_duration_seconds=parse_duration(section.max_duration).total_seconds(),
        on_undecided=section.on_undecided,
        confidence=section.confidence,
        min_outcome_days=section.min_outcome_days,
        guards=[_rule(guard, loss, champion_loss) for guard in guards],
    )


def next_action(rules: RolloutRules, evidence: RolloutEvidence) -> Decision:
    """What a rollout does at this look.

    Too little evidence waits; at `max_duration` it ends as undecided. Shown harm on any guard aborts (the
    error rate is shared over the guards); promotion needs every required guard shown not worse (each at the
    full rate). Steps below full traffic go on when no harm is shown. Looking more often does not raise either
    error rate.
    """
    if rules.strategy == "immediate":
        return Decision(action="promote", because="strategy immediate asks for no evidence")
    alpha = 1.0 - rules.confidence
    statuses = [
        judge_guard(rule, _find(evidence.guards, rule.metric), alpha=alpha, shared_by=len(rules.guards))
        for rule in rules.guards
    ]
    harmed = [status for status in statuses if status.state == "harm"]
    if harmed:
        return Decision(action="abort", because="; ".join(s.because for s in harmed), guards=statuses)
    if evidence.sample_ratio_log > -math.log(SAMPLE_RATIO_ALPHA):
        because = (
            "the arms do not get the shares of entities (requests, where rows name none) that they were assigned, so "
            "no comparison holds. Look for entities that are not stable or clients that send one request again and "
            "again; [model] entity names the column whose values stay with one version. Then `flyball rollout resume` "
            "goes on, `flyball rollout abort` ends it"
        )
        return Decision(action="hold", because=because, guards=statuses)
    missing = _still_missing(rules, evidence, statuses)
    if not missing:
        return _go_on(rules, evidence, statuses)
    if evidence.elapsed_seconds >= rules.max_duration_seconds:
        because = f"undecided after {rules.max_duration_seconds / 86_400:g} days: {'; '.join(missing)}"
        return Decision(action=rules.on_undecided, because=because, guards=statuses, undecided=True)
    return Decision(action="wait", because="; ".join(missing), guards=statuses)


def _still_missing(
    rules: RolloutRules, evidence: RolloutEvidence, statuses: Sequence[GuardStatus]
) -> list[str]:
    """What has to come before the next move, in words; empty when nothing does."""
    missing = []
    if evidence.candidate_requests < rules.min_requests:
        missing.append(f"{evidence.candidate_requests} of {rules.min_requests} requests seen in this step")
    if evidence.bake_elapsed_seconds < rules.bake_seconds:
        missing.append(f"baked {evidence.bake_elapsed_seconds:.0f} of {rules.bake_seconds:.0f} seconds")
    if rules.strategy == "blue-green" or not _is_last(rules, evidence):
        return missing
    for rule, status in zip(rules.guards, statuses, strict=True):
        if rule.required and status.state != "not-worse":
            missing.append(status.because)
        elif rule.required and rule.kind == "paired_loss" and status.count < rules.min_outcome_days:
            missing.append(f"{status.count} of {rules.min_outcome_days} outcome days of {rule.metric} known")
    return missing


def _is_last(rules: RolloutRules, evidence: RolloutEvidence) -> bool:
    return rules.strategy != "canary" or evidence.step >= len(rules.partial_steps) - 1


def _go_on(rules: RolloutRules, evidence: RolloutEvidence, statuses: list[GuardStatus]) -> Decision:
    if not _is_last(rules, evidence):
        share = rules.partial_steps[evidence.step + 1]
        because = f"no harm shown at {rules.partial_steps[evidence.step]:.0%} of traffic, on to {share:.0%}"
        return Decision(action="advance", because=because, guards=statuses)
    if rules.strategy == "blue-green":
        return Decision(action="promote", because="answers without harm beside the champion", guards=statuses)
    shown = [s.because for s, rule in zip(statuses, rules.guards, strict=True) if rule.required]
    because = "; ".join(shown) or "no guard is required, and no harm was shown"
    return Decision(action="promote", because=because, guards=statuses)


def _rule(guard: GuardSection, loss: str, champion_loss: float | None) -> GuardRule:
    metric = loss if guard.metric == "loss" else guard.metric
    margin = guard.max_increase if guard.max_increase is not None else guard.max_decrease
    if margin is None:
        margin = _DEFAULT_MARGINS.get(metric)
    if margin is None and champion_loss is not None:
        margin = LOSS_MARGIN_SHARE * champion_loss
    return GuardRule(metric=metric, margin=margin, required=guard.required, kind=guard_kind(metric))


def _find(guards: Sequence[GuardEvidence], metric: str) -> GuardEvidence | None:
    return next((guard for guard in guards if guard.metric == metric), None)
