"""One guard of a rollout: is harm shown, is it shown not worse, or is it still open?"""

from __future__ import annotations

import math
import zlib
from typing import Literal

import msgspec
import numpy as np

from flyball.judge.sequential.betting import counted_process, mean_process
from flyball.judge.sequential.proportions import ArmBlock, difference_evidence
from flyball.judge.sequential.quantiles import LatencyCounts, quantile_interval

GuardKind = Literal["paired_loss", "proportion", "share", "latency"]
State = Literal["not-worse", "harm", "open", "absent"]

# Differences are clipped at this many margins. Below 3.5 a candidate that fails on weekends only passes (its
# good days outvote clipped bad ones); far above, one wild day costs weeks of evidence.
CLIP_MARGINS = 4.0

_LATENCY_QUANTILES = {
    "latency_p50_ms": 0.5,
    "latency_p90_ms": 0.9,
    "latency_p95_ms": 0.95,
    "latency_p99_ms": 0.99,
}
_PROPORTIONS = ("error_rate", "contract_violations")


class GuardRule(msgspec.Struct, frozen=True, kw_only=True):
    """A harm and its margin, in the metric's unit. Without a margin the guard can't be shown and stays
    absent.
    """

    metric: str
    margin: float | None
    required: bool = True
    kind: GuardKind = "paired_loss"


class GuardEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about one guard since the rollout began. Give the field of its kind.

    paired: per day, mean harm of the candidate minus that of the champion, oldest first, positive is worse;
      only days whose outcomes are all due. For a metric where larger is better, pass champion minus
      candidate.
    blocks: entities as assigned and how many met the harm, per step and block of time.
    share_units, share_bad: units compared, and the sum of each one's share of answers that differed (disagreement).
    """

    metric: str
    paired: list[float] | None = None
    blocks: list[ArmBlock] | None = None
    share_units: int | None = None
    share_bad: float | None = None
    champion_latency: LatencyCounts | None = None
    candidate_latency: LatencyCounts | None = None


class GuardStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How one guard stands. estimate: candidate minus champion in the metric's unit, positive is worse.

    The e-values are the largest so far; at their thresholds they decide. A latency guard has bounds in place
    of e-values, both None. count: days, matched entities, compared units or the candidate's latencies.
    """

    metric: str
    state: State
    because: str
    count: int
    margin: float | None
    estimate: float | None = None
    e_not_worse: float | None = None
    e_harm: float | None = None
    threshold_not_worse: float | None = None
    threshold_harm: float | None = None


def guard_kind(metric: str) -> GuardKind:
    """The kind of evidence a guard's metric needs; metrics of the task are paired losses."""
    if metric in _LATENCY_QUANTILES:
        return "latency"
    if metric in _PROPORTIONS:
        return "proportion"
    return "share" if metric == "disagreement" else "paired_loss"


def judge_guard(
    rule: GuardRule, evidence: GuardEvidence | None, *, alpha: float, shared_by: int
) -> GuardStatus:
    """Where one guard stands. `not-worse` errs with probability <= alpha, `harm` with <= alpha / shared_by.

    Both are compared with the margin: not worse means worse by less than it, harm means worse by more, and
    both hold at whatever moment one looks. Shown harm wins over an earlier "not worse".
    """
    if rule.margin is None or rule.margin <= 0:
        return _absent(rule, f"{rule.metric} has no margin above zero, so nothing can be shown")
    if evidence is not None:
        if rule.kind == "paired_loss" and evidence.paired:
            return _paired(rule, rule.margin, evidence.paired, alpha, shared_by)
        if rule.kind == "proportion" and evidence.blocks:
            return _proportion(rule, rule.margin, evidence.blocks, alpha, shared_by)
        if rule.kind == "share" and evidence.share_units:
            return _share(rule, rule.margin, evidence.share_units, evidence.share_bad or 0, alpha, shared_by)
        if rule.kind == "latency" and evidence.candidate_latency and evidence.champion_latency:
            return _latency(rule, rule.margin, evidence, alpha, shared_by)
    return _absent(rule, f"no evidence on {rule.metric} yet")


def _paired(rule: GuardRule, margin: float, paired: list[float], alpha: float, shared_by: int) -> GuardStatus:
    bound = CLIP_MARGINS * margin
    safe = float(mean_process(paired, margin, low=-bound, high=bound, side="less").max())
    harm = float(mean_process(paired, margin, low=-bound, high=bound, side="greater").max())
    estimate = float(np.mean(paired))
    days = f"{len(paired)} day{'' if len(paired) == 1 else 's'}"
    what = f"{rule.metric} {estimate:+.3g} over {days}, {margin:g} is allowed"
    return _status(rule, what, len(paired), estimate, safe, harm, alpha, shared_by)


def _proportion(
    rule: GuardRule, margin: float, blocks: list[ArmBlock], alpha: float, shared_by: int
) -> GuardStatus:
    # The seed only fixes how units are matched; the same guard must give the same answer to the same counts.
    shown = difference_evidence(blocks, margin, seed=zlib.crc32(rule.metric.encode()))
    if shown.estimate is None:
        return _absent(rule, f"no block of {rule.metric} has entities on both sides yet")
    what = f"{rule.metric} {shown.estimate:+.2%} over {shown.pairs} matched entities, {margin:.2%} is allowed"
    return _status(
        rule, what, shown.pairs, shown.estimate, shown.log_not_worse, shown.log_harm, alpha, shared_by
    )


def _share(
    rule: GuardRule, margin: float, units: int, bad: float, alpha: float, shared_by: int
) -> GuardStatus:
    safe = counted_process(bad, units - bad, margin, side="less")
    harm = counted_process(bad, units - bad, margin, side="greater")
    what = f"{rule.metric} {bad / units:.2%} of the answers to {units} entities or requests, {margin:.2%} is allowed"
    return _status(rule, what, units, bad / units, safe, harm, alpha, shared_by)


def _status(
    rule: GuardRule,
    what: str,
    count: int,
    estimate: float,
    log_safe: float,
    log_harm: float,
    alpha: float,
    shared_by: int,
) -> GuardStatus:
    safe_at, harm_at = 1.0 / alpha, shared_by / alpha
    state: State = "open"
    if log_harm >= math.log(harm_at):
        state = "harm"
    elif log_safe >= math.log(safe_at):
        state = "not-worse"
    words = {"harm": "harm shown", "not-worse": "shown not worse", "open": "not decided yet"}[state]
    e_safe, e_harm = math.exp(min(log_safe, 300.0)), math.exp(min(log_harm, 300.0))
    because = (
        f"{words}: {what} (evidence {e_safe:.3g} of {safe_at:.3g} for, {e_harm:.3g} of {harm_at:.3g} against)"
    )
    return GuardStatus(
        metric=rule.metric,
        state=state,
        because=because,
        count=count,
        margin=rule.margin,
        estimate=estimate,
        e_not_worse=e_safe,
        e_harm=e_harm,
        threshold_not_worse=safe_at,
        threshold_harm=harm_at,
    )


def _latency(
    rule: GuardRule, margin: float, evidence: GuardEvidence, alpha: float, shared_by: int
) -> GuardStatus:
    quantile = _LATENCY_QUANTILES[rule.metric]
    candidate, champion = evidence.candidate_latency, evidence.champion_latency
    assert candidate is not None and champion is not None
    # One side of each arm matters per question, so alpha / 2 per arm and side; the interval splits 1 -
    # confidence.
    safe_c, safe_h = (quantile_interval(arm, quantile, confidence=1 - alpha) for arm in (candidate, champion))
    spent = alpha / shared_by
    harm_c, harm_h = (quantile_interval(arm, quantile, confidence=1 - spent) for arm in (candidate, champion))
    state: State = "open"
    if harm_c.low - harm_h.high > margin:
        state = "harm"
    elif safe_c.high - safe_h.low <= margin:
        state = "not-worse"
    words = {"harm": "harm shown", "not-worse": "shown not worse", "open": "not decided yet"}[state]
    because = (
        f"{words}: {rule.metric} of the candidate {safe_c.low:.3g} to {safe_c.high:.3g}, of the champion "
        f"{safe_h.low:.3g} to {safe_h.high:.3g}, {margin:g} more is allowed"
    )
    return GuardStatus(
        metric=rule.metric, state=state, because=because, count=candidate.total, margin=rule.margin
    )


def _absent(rule: GuardRule, because: str) -> GuardStatus:
    return GuardStatus(metric=rule.metric, state="absent", because=because, count=0, margin=rule.margin)
