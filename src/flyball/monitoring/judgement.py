"""Is this window as it should be? Pure: its numbers, the past and the version's standard give alarms and a cause."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from flyball.judge.causes.diagnose import Diagnosis, Findings, ServingChange, diagnose
from flyball.judge.drift.facts import LEAST_BROKEN_SHARE, BrokenColumn, find_broken
from flyball.judge.drift.performance import CONFIRM_RATIO, Confirmation, PerformanceReference, confirm
from flyball.judge.drift.profile import Summary
from flyball.judge.drift.statistics import ColumnDrift, compare
from flyball.judge.drift.watch import Alphas, Watched, watch_columns, watch_value, window_alpha
from flyball.monitoring.measure import Measure
from flyball.monitoring.plan import Look, MonitorPlan
from flyball.monitoring.reference import Standard, score_inputs, score_predictions
from flyball.monitoring.signals import SignalKind
from flyball.monitoring.windows import Window

# Rows that break the contract: a window's share that is a fact worth telling, and how far above earlier windows.
LEAST_VIOLATIONS = 0.05
VIOLATIONS_JUMP = 3.0


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be. `p_value` None: a fact, outside the budget of false alarms."""

    kind: SignalKind
    sentence: str
    statistic: float | None = None
    threshold: float | None = None
    p_value: float | None = None
    feature: str | None = None
    confirmed: bool = False


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at one window says.

    `is_enough`: whether there were rows enough to judge anything. Absent answers (None) are no answers: nothing
    recovers on them and nothing is raised on them.
    """

    is_enough: bool
    alarms: list[Alarm]
    diagnosis: Diagnosis | None
    broken: list[BrokenColumn]
    scores: dict[str, float]
    prediction_scores: dict[str, float]
    columns: dict[str, ColumnDrift]
    drift: Watched | None = None
    prediction: Watched | None = None
    outcomes: Watched | None = None
    confirmation: Confirmation | None = None
    reference_loss: float | None = None
    since: datetime | None = None


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """What is known from before: the first version's training counts, judged windows (oldest first), open problems.

    `since` says where the open incident on each problem began.
    """

    first_inputs: Summary | None
    windows: list[Window]
    since: dict[str, datetime] = {}


def judge_window(
    look: Look, plan: MonitorPlan, measure: Measure, standard: Standard | None, past: Past
) -> Judgement:
    """Everything that one look at one window can say; alarms only about the part that this look is for."""
    if measure.row_count < plan.min_rows or standard is None:
        return Judgement(
            is_enough=False,
            alarms=_service_alarms(measure, plan) if look.part != "outcomes" else [],
            diagnosis=None,
            broken=[],
            scores={},
            prediction_scores={},
            columns={},
        )
    alphas = window_alpha(plan.alarms, plan.period.total_seconds(), plan.window.total_seconds())
    judged = _judge(look, plan, measure, standard, past, alphas)
    if not judged.alarms:
        return judged
    since = _since(look, judged, measure, past)
    findings = _findings(look, plan, measure, judged, since)
    return msgspec.structs.replace(judged, diagnosis=diagnose(findings), since=since)


def _judge(
    look: Look, plan: MonitorPlan, measure: Measure, standard: Standard, past: Past, alphas: Alphas
) -> Judgement:
    own = [w for w in past.windows if w.version == measure.version and not w.held]
    broken = _find_broken(standard, measure, past)
    scores, prediction_scores, columns = _scores(standard, measure)
    drift = prediction = None
    if scores and not broken:
        drift = watch_columns([*standard.input_scores, *_kept(own, "scores")], scores, alphas.drift)
    if prediction_scores and not broken and measure.version_rows >= plan.min_rows:
        history = [*standard.prediction_scores, *_kept(own, "prediction_scores")]
        prediction = watch_columns(history, prediction_scores, alphas.predictions)
    reference = standard.reference.performance if standard.reference is not None else None
    outcomes, confirmation = None, None
    if reference is not None:
        outcomes, confirmation = _watch_outcomes(plan, measure, reference, own, alphas)
    judged = Judgement(
        is_enough=True,
        alarms=[],
        diagnosis=None,
        broken=broken,
        scores=scores,
        prediction_scores=prediction_scores,
        columns=columns,
        drift=drift,
        prediction=prediction,
        outcomes=outcomes,
        confirmation=None if broken else confirmation,
        reference_loss=reference.loss if reference is not None else None,
    )
    alarms = [*_input_alarms(judged, measure, plan, own, past)] if look.part != "outcomes" else []
    alarms += _outcome_alarms(judged, measure) if look.part != "inputs" else []
    return msgspec.structs.replace(judged, alarms=alarms)


def _watch_outcomes(
    plan: MonitorPlan,
    measure: Measure,
    reference: PerformanceReference,
    own: Sequence[Window],
    alphas: Alphas,
) -> tuple[Watched | None, Confirmation | None]:
    """Whether the loss is unusual, and whether it has risen for long enough; None where outcomes are too few."""
    if measure.loss is None or measure.labelled_count < plan.min_rows:
        return None, None
    known = [(w.loss, w.healthy) for w in own if w.loss is not None and w.labelled_count >= plan.min_rows]
    calm = [loss for loss, is_healthy in known if is_healthy]
    outcomes = watch_value([*reference.block_losses, *calm], measure.loss, alphas.outcomes)
    # More than in training's blocks, and still no more than was promised.
    if measure.loss <= reference.loss:
        outcomes = msgspec.structs.replace(outcomes, alarm=False)
    if reference.loss <= 0:
        return outcomes, None
    losses = [*(loss for loss, _ in known), measure.loss]
    return outcomes, confirm(losses, reference.loss, needed=plan.confirm_needed, of=plan.confirm_of)


def _find_broken(standard: Standard, measure: Measure, past: Past) -> list[BrokenColumn]:
    if standard.reference is None or measure.inputs is None:
        return []
    reference = standard.reference
    first = past.first_inputs or reference.inputs.summary
    healthy = [first, reference.inputs.summary, *(w.inputs for w in reference.windows)]
    healthy += [
        msgspec.convert(w.summary["inputs"], Summary, str_keys=True)
        for w in past.windows
        if not w.held and w.summary.get("inputs")
    ]
    return find_broken(dict(reference.inputs.features), healthy, measure.inputs)


def _scores(
    standard: Standard, measure: Measure
) -> tuple[dict[str, float], dict[str, float], dict[str, ColumnDrift]]:
    reference = standard.reference
    if reference is None:
        return {}, {}, {}
    inputs = score_inputs(reference, measure.inputs) if measure.inputs is not None else {}
    answers = score_predictions(reference, measure.predictions) if measure.predictions is not None else {}
    columns = compare(reference.inputs, measure.inputs) if measure.inputs is not None else {}
    return inputs, answers, columns


def _kept(windows: Sequence[Window], name: str) -> list[dict[str, float]]:
    """The scores of healthy windows of the same version."""
    return [w.statistics[name] for w in windows if w.healthy and w.statistics.get(name)]


def _input_alarms(
    judged: Judgement, measure: Measure, plan: MonitorPlan, own: Sequence[Window], past: Past
) -> list[Alarm]:
    alarms = [
        Alarm(
            kind="contract",
            sentence=column.sentence,
            statistic=column.share,
            threshold=LEAST_BROKEN_SHARE,
            feature=column.feature,
            confirmed=True,
        )
        for column in judged.broken[:5]
    ]
    if not judged.broken:
        alarms += _violation_alarms(measure, past)
    for kind, watched in (("drift", judged.drift), ("prediction", judged.prediction)):
        if watched is not None and watched.alarm:
            alarms.append(_watched_alarm(kind, watched, plan, own))  # type: ignore[arg-type]  # one of the two kinds above
    return alarms + _service_alarms(measure, plan)


def _watched_alarm(kind: SignalKind, watched: Watched, plan: MonitorPlan, own: Sequence[Window]) -> Alarm:
    earlier = [bool((w.statistics.get(kind) or {}).get("alarm")) for w in own[-(plan.confirm_of - 1) :]]
    recent = earlier if plan.confirm_of > 1 else []
    named = watched.top[0][0].split("|", 1)[0] if watched.top else None
    what = "the inputs" if kind == "drift" else "the answers"
    return Alarm(
        kind=kind,
        sentence=f"{what} are distributed differently: {watched.because}",
        statistic=watched.top[0][1] if watched.top else None,
        p_value=watched.p,
        feature=named if kind == "drift" else None,
        confirmed=1 + sum(recent) >= plan.confirm_needed,
    )


def _violation_alarms(measure: Measure, past: Past) -> list[Alarm]:
    share = measure.served.contract_violations
    usual = max(
        (float((w.statistics.get("served") or {}).get("contract_violations", 0.0)) for w in past.windows),
        default=0.0,
    )
    if share < LEAST_VIOLATIONS or share < VIOLATIONS_JUMP * usual:
        return []
    named = ", ".join(
        f"{flag} in {count} rows" for flag, count in list(measure.served.violations.items())[:3]
    )
    sentence = f"{share:.0%} of requests break the contract ({named}); at most {usual:.0%} ever did"
    first = next(iter(measure.served.violations), "")
    return [
        Alarm(
            kind="contract",
            sentence=sentence,
            statistic=share,
            threshold=max(LEAST_VIOLATIONS, VIOLATIONS_JUMP * usual),
            feature=first.partition(":")[2] or None,
            confirmed=True,
        )
    ]


def _service_alarms(measure: Measure, plan: MonitorPlan) -> list[Alarm]:
    alarms = []
    for objective in plan.slo:
        value = measure.served.find(objective.metric)
        if value is None:
            continue
        if objective.max is not None and value > objective.max:
            words, bound = "above the objective of at most", objective.max
        elif objective.min is not None and value < objective.min:
            words, bound = "below the objective of at least", objective.min
        else:
            continue
        alarms.append(
            Alarm(
                kind="operational",
                sentence=f"{objective.metric} is {value:.4g}, {words} {bound:g}",
                statistic=value,
                threshold=bound,
                feature=objective.metric,
                confirmed=True,
            )
        )
    return alarms


def _outcome_alarms(judged: Judgement, measure: Measure) -> list[Alarm]:
    confirmed = judged.confirmation is not None and judged.confirmation.confirmed
    watched = judged.outcomes is not None and judged.outcomes.alarm
    if not confirmed and not watched:
        return []
    reasons = []
    if judged.confirmation is not None and confirmed:
        reasons.append(judged.confirmation.because)
    if judged.outcomes is not None and watched:
        reasons.append(judged.outcomes.because)
    return [
        Alarm(
            kind="performance",
            sentence="; ".join(reasons),
            statistic=measure.loss,
            threshold=None if judged.reference_loss is None else CONFIRM_RATIO * judged.reference_loss,
            p_value=judged.outcomes.p if judged.outcomes is not None else None,
            confirmed=confirmed,
        )
    ]


def _findings(
    look: Look, plan: MonitorPlan, measure: Measure, judged: Judgement, since: datetime
) -> Findings:
    served = measure.served
    return Findings(
        window_from_seconds=look.start.timestamp(),
        window_until_seconds=look.end.timestamp(),
        since_seconds=since.timestamp(),
        row_count=measure.row_count,
        broken=judged.broken,
        serving=ServingChange(failed_share=served.error_rate, fallback_share=served.fallback_share),
        drift=judged.columns,
        drift_watch=judged.drift,
        prediction_watch=judged.prediction,
        loss_metric=_loss_name(plan),
        loss=measure.loss,
        reference_loss=judged.reference_loss,
        expected_loss=measure.expected_loss,
        loss_watch=judged.outcomes,
        confirmation=judged.confirmation,
        residuals=measure.residuals,
    )


def _since(look: Look, judged: Judgement, measure: Measure, past: Past) -> datetime:
    """Where the problem began: with the open incident, or the first bad window of those that confirm it."""
    problem = "data" if judged.broken else "change"
    if problem in past.since:
        return past.since[problem]
    start = look.start
    if judged.confirmation is not None and judged.confirmation.confirmed and not judged.broken:
        earlier = [
            w for w in past.windows if w.version == measure.version and not w.held and w.loss is not None
        ]
        recent = earlier[1 - len(judged.confirmation.ratios) :] if len(judged.confirmation.ratios) > 1 else []
        bad = [
            w.start
            for w, ratio in zip(recent, judged.confirmation.ratios, strict=False)
            if ratio >= CONFIRM_RATIO
        ]
        start = min([*bad, start])
    return start


def _loss_name(plan: MonitorPlan) -> str:
    from flyball.judge.metrics.table import METRICS, default_loss

    return METRICS[default_loss(plan.task)].title.lower()


def statistics_of(judged: Judgement, measure: Measure) -> dict[str, Any]:
    """What a window keeps of its judgement, as JSON values: for history, charts and people who ask why."""
    unusual: dict[str, float] = {}
    for key, score in judged.drift.top if judged.drift is not None else []:
        name = key.split("|", 1)[0]
        unusual[name] = max(unusual.get(name, score), score)
    columns = {
        name: {**msgspec.to_builtins(drift), "score": round(drift.js, 6), "unusual": unusual.get(name)}
        for name, drift in judged.columns.items()
    }
    kept: dict[str, Any] = {
        "is_enough": judged.is_enough,
        "metrics": measure.metrics,
        "expected_loss": measure.expected_loss,
        "version_rows": measure.version_rows,
        "served": measure.served,
        "broken": judged.broken,
        "columns": columns,
        "scores": judged.scores,
        "prediction_scores": judged.prediction_scores,
        "drift": judged.drift,
        "prediction": judged.prediction,
        "outcomes": judged.outcomes,
        "confirmation": judged.confirmation,
        "diagnosis": judged.diagnosis,
        "residuals": measure.residuals,
    }
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(kept))
    return plain
