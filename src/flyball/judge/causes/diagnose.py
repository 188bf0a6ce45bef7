"""The likely cause of what monitoring found, in one sentence with its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

from flyball.judge.causes.residuals import ResidualSummary
from flyball.judge.drift.facts import BrokenColumn
from flyball.judge.drift.performance import Confirmation
from flyball.judge.drift.statistics import ColumnDrift
from flyball.judge.drift.watch import Watched

Cause = Literal[
    "broken-data", "serving-path", "concept-drift", "covariate-shift", "label-shift", "undetermined"
]

# Above this share of the extra error being expected from the inputs alone, the inputs are what changed.
EXPLAINED_SHARE = 0.5
# Bias below this share of the error is no direction worth naming.
LEAST_BIAS_SHARE = 0.25
# Outcome rates this far apart, with answers per class alike, are a label shift.
LABEL_SHIFT_SHARE = 0.25
LARGEST_CLASS_DISTANCE = 0.15


class ServingChange(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of a window's requests, 0 to 1, that point to the path and not to the model."""

    failed_share: float = 0.0
    fallback_share: float = 0.0
    replay_mismatch_share: float = 0.0


class LabelChange(msgspec.Struct, frozen=True, kw_only=True):
    """Binary and multiclass: share of the watched class now and in training, and how far answers moved per
    class.

    class_distance: largest KS distance of the answers given the true class, 0 to 1; small means P(x|y) held.
    """

    share: float
    reference_share: float
    class_distance: float


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the window in question. Everything but its times may be absent; absent is never
    "fine".

    since_seconds: start of the first window with this problem. loss, reference_loss: in the task's loss.
    expected_loss: what the inputs alone let one expect (`residuals.expected_loss`).
    """

    window_from_seconds: float
    window_until_seconds: float
    since_seconds: float | None = None
    row_count: int = 0
    broken: list[BrokenColumn] = []
    serving: ServingChange | None = None
    drift: Mapping[str, ColumnDrift] = {}
    drift_watch: Watched | None = None
    prediction_watch: Watched | None = None
    loss_metric: str = "loss"
    loss: float | None = None
    reference_loss: float | None = None
    expected_loss: float | None = None
    loss_watch: Watched | None = None
    confirmation: Confirmation | None = None
    residuals: ResidualSummary | None = None
    labels: LabelChange | None = None


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """The cause, one sentence for people, and the facts under it.

    features: columns that carry the cause, most telling first. sure: how sure, in words with numbers.
    may_retrain: False where training on this data would teach the fault.
    """

    cause: Cause
    sentence: str
    sure: str
    features: list[str] = []
    evidence: dict[str, float | str | list[str]] = {}
    may_retrain: bool = True


def diagnose(findings: Findings) -> Diagnosis:
    """The most likely cause of an alarm, by the most certain kind of evidence first.

    Broken columns are facts and come before everything computed from them. Then the serving path, then
    outcomes (is the extra error what the changed inputs explain, or did the relation change?), then inputs
    alone.
    """
    if findings.broken:
        return _broken(findings)
    if (served := _serving(findings)) is not None:
        return served
    if _is_bad(findings):
        return _labels(findings) or _performance(findings)
    if findings.drift_watch is not None and findings.drift_watch.alarm:
        return _covariate(findings)
    evidence = _evidence(findings)
    if findings.prediction_watch is not None and findings.prediction_watch.alarm:
        text = (
            f"{_since(findings)} the answers are distributed differently, but no watched input is out of "
            "the ordinary and no outcome says they are wrong"
        )
        return Diagnosis(
            cause="undetermined", sentence=text, sure=findings.prediction_watch.because, evidence=evidence
        )
    text = f"{_since(findings)} nothing that is watched explains the alarm"
    return Diagnosis(
        cause="undetermined", sentence=text, sure="no evidence for any known cause", evidence=evidence
    )


def _broken(findings: Findings) -> Diagnosis:
    first = findings.broken[0]
    others = [column.feature for column in findings.broken[1:]]
    more = f" (also broken: {', '.join(others)})" if others else ""
    affected = round(first.share * findings.row_count)
    rows = f"{affected} of {findings.row_count} rows" if findings.row_count else f"{first.share:.0%} of rows"
    return Diagnosis(
        cause="broken-data",
        sentence=f"Broken data upstream {_since(findings)}: {first.sentence}{more}; training on it is held.",
        sure=f"a fact about {rows}, outside the alarm budget",
        features=[first.feature, *others],
        evidence=_evidence(findings),
        may_retrain=False,
    )


def _serving(findings: Findings) -> Diagnosis | None:
    change = findings.serving
    if change is None:
        return None
    parts = [
        (change.replay_mismatch_share, 0.0, "of replayed requests are answered differently than they were"),
        (change.fallback_share, 0.05, "of requests were answered by the fallback"),
        (change.failed_share, 0.05, "of requests failed"),
    ]
    told = [f"{share:.1%} {words}" for share, limit, words in parts if share > limit]
    if not told:
        return None
    return Diagnosis(
        cause="serving-path",
        sentence=f"The serving path changed {_since(findings)}: {', '.join(told)}.",
        sure="counted, not estimated",
        evidence=_evidence(findings),
        may_retrain=False,
    )


def _is_bad(findings: Findings) -> bool:
    watched = findings.loss_watch is not None and findings.loss_watch.alarm
    return watched or (findings.confirmation is not None and findings.confirmation.confirmed)


def _labels(findings: Findings) -> Diagnosis | None:
    labels = findings.labels
    if labels is None or not labels.reference_share:
        return None
    change = labels.share / labels.reference_share - 1.0
    if abs(change) < LABEL_SHIFT_SHARE or labels.class_distance > LARGEST_CLASS_DISTANCE:
        return None
    return Diagnosis(
        cause="label-shift",
        sentence=(
            f"Label shift {_since(findings)}: the class is now {labels.share:.1%} of outcomes instead of "
            f"{labels.reference_share:.1%}, while answers within each class look as before."
        ),
        sure=f"answers given the class moved by at most {labels.class_distance:.2f} (KS distance)",
        evidence=_evidence(findings),
    )


def _performance(findings: Findings) -> Diagnosis:
    """Outcomes say that the error grew: the inputs' doing, the relation's, or not to be told."""
    loss, reference, residuals = findings.loss, findings.reference_loss, findings.residuals
    grown = f"{findings.loss_metric} {loss:.4g}" if loss is not None else f"{findings.loss_metric} is worse"
    if loss is not None and reference:
        grown += f" instead of {reference:.4g} in held-out training rows"
    explained = _explained(findings)
    if explained is not None and explained >= EXPLAINED_SHARE:
        names = _shifted(findings)
        told = f"; most changed: {', '.join(names[:3])}" if names else ""
        return Diagnosis(
            cause="covariate-shift",
            sentence=f"Covariate shift {_since(findings)}: harder inputs, {grown}{told}.",
            sure=f"the changed inputs explain {min(explained, 1):.0%} of the extra error; {_sure(findings)}",
            features=names,
            evidence=_evidence(findings),
        )
    if residuals is not None and _has_direction(residuals):
        return _concept(findings, residuals, grown)
    watched = findings.drift_watch
    if explained is not None and watched is not None and watched.enough and not watched.alarm:
        return Diagnosis(
            cause="concept-drift",
            sentence=f"Concept drift {_since(findings)}: {grown}, although the inputs look as before.",
            sure=_sure(findings),
            evidence=_evidence(findings),
        )
    return Diagnosis(
        cause="undetermined",
        sentence=f"The error grew {_since(findings)} ({grown}), without a direction; cause undetermined.",
        sure=_sure(findings),
        evidence=_evidence(findings),
    )


def _concept(findings: Findings, residuals: ResidualSummary, grown: str) -> Diagnosis:
    side = "low" if residuals.bias > 0 else "high"
    low, high = sorted((abs(residuals.bias_interval.low), abs(residuals.bias_interval.high)))
    where = ""
    features = []
    same_side = [s for s in residuals.segments if s.bias * residuals.bias > 0]
    if residuals.explained >= 0.15 and same_side:
        features = [same_side[0].feature]
        named = " and ".join(f"{s.where} ({abs(s.bias):.3g})" for s in same_side[:2])
        where = f", most where {same_side[0].feature} {named}"
    return Diagnosis(
        cause="concept-drift",
        sentence=(
            f"Concept drift {_since(findings)}: answers are too {side} by {abs(residuals.bias):.3g} "
            f"on average{where}; {grown}."
        ),
        sure=f"95 % interval of the bias {low:.3g} to {high:.3g} too {side}; {_sure(findings)}",
        features=features,
        evidence=_evidence(findings),
    )


def _covariate(findings: Findings) -> Diagnosis:
    names = _shifted(findings)
    told = []
    for name in names[:3]:
        drift = findings.drift[name]
        if drift.mean is not None and drift.reference_mean is not None:
            told.append(f"`{name}` (mean {drift.mean:.3g}, was {drift.reference_mean:.3g})")
        else:
            told.append(f"`{name}` (distance {drift.ks:.2f})")
    words = ", ".join(told) or "several inputs together"
    known = findings.loss is not None and findings.loss_watch is not None and findings.loss_watch.enough
    effect = (
        "outcomes show no loss of quality so far" if known else "outcomes can't tell yet whether it matters"
    )
    sure = findings.drift_watch.because if findings.drift_watch is not None else "no watch was kept"
    return Diagnosis(
        cause="covariate-shift",
        sentence=f"Covariate shift {_since(findings)}: {words} changed; {effect}.",
        sure=sure,
        features=names,
        evidence=_evidence(findings),
    )


def _explained(findings: Findings) -> float | None:
    """Share of the extra error that the inputs let one expect; None where it can't be told."""
    loss, reference, expected = findings.loss, findings.reference_loss, findings.expected_loss
    if loss is None or reference is None or expected is None or loss <= reference:
        return None
    return (expected - reference) / (loss - reference)


def _has_direction(residuals: ResidualSummary) -> bool:
    interval = residuals.bias_interval
    sure = interval.low > 0 or interval.high < 0
    return sure and abs(residuals.bias) >= LEAST_BIAS_SHARE * residuals.loss


def _shifted(findings: Findings) -> list[str]:
    """Columns by how unusual they are, then by distance; only what is watched as a column."""
    names: list[str] = []
    if findings.drift_watch is not None:
        for key, score in findings.drift_watch.top:
            name = key.split("|", 1)[0]
            if score > 2 and name in findings.drift and name not in names:
                names.append(name)
    if not names:
        names = sorted(findings.drift, key=lambda name: -findings.drift[name].js)
        names = [name for name in names if findings.drift[name].js >= 0.1]
    return names[:5]


def _sure(findings: Findings) -> str:
    parts = []
    if findings.confirmation is not None and findings.confirmation.confirmed:
        parts.append(findings.confirmation.because)
    if findings.loss_watch is not None and findings.loss_watch.p is not None:
        parts.append(findings.loss_watch.because)
    return "; ".join(parts) or "not tested against past windows"


def _evidence(findings: Findings) -> dict[str, float | str | list[str]]:
    evidence: dict[str, float | str | list[str]] = {}
    for name in ("loss", "reference_loss", "expected_loss"):
        value = getattr(findings, name)
        if value is not None:
            evidence[name] = float(value)
    if findings.residuals is not None:
        evidence["bias"] = findings.residuals.bias
        evidence["bias_low"] = findings.residuals.bias_interval.low
        evidence["bias_high"] = findings.residuals.bias_interval.high
        evidence["mean_outcome"] = findings.residuals.mean_outcome
        evidence["mean_prediction"] = findings.residuals.mean_prediction
        evidence["segments"] = [
            f"{s.feature} {s.where}: {s.bias:+.3g} in {s.row_count} rows" for s in findings.residuals.segments
        ]
    for name, watched in (
        ("drift", findings.drift_watch),
        ("predictions", findings.prediction_watch),
        ("outcomes", findings.loss_watch),
    ):
        if watched is not None:
            evidence[name] = watched.because
    if findings.broken:
        evidence["broken"] = [column.sentence for column in findings.broken]
    if findings.confirmation is not None:
        evidence["confirmation"] = findings.confirmation.because
    return evidence


def _since(findings: Findings) -> str:
    start = findings.window_from_seconds if findings.since_seconds is None else findings.since_seconds
    return f"since {datetime.fromtimestamp(start, UTC):%Y-%m-%d}"
