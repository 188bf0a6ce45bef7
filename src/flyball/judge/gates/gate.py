"""One gate: a rule over evidence on which a version passes, fails, or is not decided."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from flyball.core.project import GateSection
from flyball.core.values import Interval, Verdict
from flyball.judge.metrics.measure import Measured, Paired
from flyball.judge.metrics.table import METRICS


class GateEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about one metric of a candidate; what is absent is absent, never zero.

    value, interval: of the candidate. is_exact: the value has no sampling error (a size in MB), so it needs
    no interval. paired: against the champion on rows neither was trained on. slices: per level of the gate's
    `by`.
    """

    value: float | None = None
    interval: Interval | None = None
    row_count: int = 0
    is_exact: bool = False
    has_champion: bool = False
    paired: Paired | None = None
    slices: Mapping[str, Measured] = {}


def judge_gate(gate: GateSection, evidence: GateEvidence) -> Verdict:
    """Whether a candidate passes a gate. All rules in one gate must hold; missing evidence is inconclusive.

    Bounds of the interval decide, never the value: `min` passes when the lower bound reaches it and fails
    when the upper bound does not. `versus` passes "not worse than the margin" at the gate's confidence.

    `confidence` is that of the two-sided interval which the verdict shows. So of versions worse by just the
    margin at most (1 - confidence) / 2 pass, and of those within it as few fail: at 0.95 one in forty, which
    leaves room for the promised one in twenty where an interval is not exact (skewed losses, ten blocks of time).
    """
    verdicts = []
    if gate.min is not None or gate.max is not None:
        verdicts.append(_absolute(gate, evidence))
    if gate.versus == "champion":
        verdicts.append(_versus(gate, evidence))
    if gate.max_gap is not None:
        verdicts.append(_gap(gate, gate.max_gap, evidence))
    if not verdicts:
        return Verdict("inconclusive", f"the gate on {gate.metric} sets no bound, so it can't be passed")
    because = "; ".join(verdict.because for verdict in verdicts)
    outcomes = {verdict.outcome for verdict in verdicts}
    if "fail" in outcomes:
        return Verdict("fail", because)
    return Verdict("inconclusive" if "inconclusive" in outcomes else "pass", because)


def no_worse_than(difference: Interval, *, margin: float) -> Verdict:
    """Whether a harm grew by at most `margin`. difference: interval of candidate minus champion harm.

    >>> no_worse_than(Interval(-0.02, 0.05), margin=0.01).outcome
    'inconclusive'
    """
    if difference.high <= margin:
        return Verdict("pass", f"at most {difference.high:+.4g}, {margin:g} is allowed")
    if difference.low > margin:
        return Verdict("fail", f"at least {difference.low:+.4g}, {margin:g} is allowed")
    return Verdict("inconclusive", f"{difference.low:+.4g} to {difference.high:+.4g} spans {margin:g}")


def shows_gain(paired: Paired | None) -> Verdict:
    """Whether a candidate made by automation has a positive estimated gain, which it needs besides its gates.

    Without it many candidates "not worse than the margin" could add up to a loss. An estimate, not a proof:
    the rollout proves. Nothing compared is inconclusive.
    """
    if paired is None:
        return Verdict("inconclusive", "candidate and champion were not compared on the same rows")
    metric = METRICS[paired.metric]
    if paired.estimate == 0:
        return Verdict("fail", f"no estimated gain in {paired.metric} on {paired.row_count} recent rows")
    gain = paired.estimate if metric.larger_is_better else -paired.estimate
    text = f"estimated gain in {paired.metric} of {gain:+.4g} on {paired.row_count} recent rows"
    return Verdict("pass" if gain > 0 else "fail", text)


def _absolute(gate: GateSection, evidence: GateEvidence) -> Verdict:
    if evidence.value is None:
        return Verdict("inconclusive", f"{gate.metric} was not measured")
    interval = evidence.interval
    if interval is None:
        if not evidence.is_exact:
            rows = evidence.row_count
            text = f"{gate.metric} is {evidence.value:.4g} on {rows} rows, too few for a confidence interval"
            return Verdict("inconclusive", text)
        interval = Interval(evidence.value, evidence.value)
    low = gate.min if gate.min is not None else float("-inf")
    high = gate.max if gate.max is not None else float("inf")
    wanted = " and ".join(
        f"at {side} {bound:g}"
        for side, bound in (("least", gate.min), ("most", gate.max))
        if bound is not None
    )
    shown = f"{gate.metric} {evidence.value:.4g}"
    if not evidence.is_exact:
        shown += f" ({interval.low:.4g} to {interval.high:.4g})"
    if interval.low >= low and interval.high <= high:
        return Verdict("pass", f"{shown}, {wanted} asked")
    if interval.high < low or interval.low > high:
        return Verdict("fail", f"{shown}, {wanted} asked")
    return Verdict("inconclusive", f"{shown} spans the bound, {wanted} asked")


def _versus(gate: GateSection, evidence: GateEvidence) -> Verdict:
    if not evidence.has_champion:
        return Verdict("pass", f"first version: there is no champion to compare {gate.metric} with")
    paired = evidence.paired
    if paired is None:
        return Verdict("inconclusive", f"{gate.metric} was not compared with the champion on the same rows")
    metric = METRICS.get(gate.metric)
    larger_is_better = metric.larger_is_better if metric is not None else gate.max_decrease is not None
    margin = gate.max_decrease if larger_is_better else gate.max_increase
    margin = 0.0 if margin is None else margin
    rows = f"on the same {paired.row_count} rows"
    shown = f"{gate.metric} {paired.candidate:.4g}, champion {paired.champion:.4g} {rows}"
    if paired.identical:
        return Verdict("pass", f"{shown}: the answers are identical")
    if paired.difference is None:
        return Verdict("inconclusive", f"{shown}: too few rows for an interval of the difference")
    if paired.difference.high - paired.difference.low <= 0.0 or paired.group_count < 2:
        return Verdict("inconclusive", f"{shown}: the rows show no spread, so the difference has no interval")
    harm = paired.difference
    if larger_is_better:
        harm = Interval(-harm.high, -harm.low)
    verdict = no_worse_than(harm, margin=margin)
    return Verdict(verdict.outcome, f"{shown}: worse by {verdict.because}")


def _gap(gate: GateSection, max_gap: float, evidence: GateEvidence) -> Verdict:
    """Whether the largest gap between two slices is within bounds, by the bounds of the slices' intervals."""
    known = {name: m.interval for name, m in evidence.slices.items() if m.interval is not None}
    left_out = sorted(set(evidence.slices) - set(known))
    if len(known) < 2:
        return Verdict(
            "inconclusive", f"{gate.metric} is known in {len(known)} slices of {gate.by}, 2 are needed"
        )
    best = max(known, key=lambda name: evidence.slices[name].value)
    worst = min(known, key=lambda name: evidence.slices[name].value)
    gap = evidence.slices[best].value - evidence.slices[worst].value
    most = max(interval.high for interval in known.values()) - min(i.low for i in known.values())
    least = max(i.low for i in known.values()) - min(i.high for i in known.values())
    shown = f"{gate.metric} differs by {gap:.4g} between {gate.by} {best} and {worst}, {max_gap:g} is allowed"
    if left_out:
        return Verdict("inconclusive", f"{shown}; too few rows in {', '.join(left_out[:5])}")
    if most <= max_gap:
        return Verdict("pass", f"{shown} (at most {most:.4g})")
    if least > max_gap:
        return Verdict("fail", f"{shown} (at least {max(least, 0.0):.4g})")
    return Verdict("inconclusive", f"{shown} ({max(least, 0.0):.4g} to {most:.4g})")
