"""The loop on one stream, offline: the decisions of the running system with its own functions, without the
system.

A day is one step. Outcomes are known a day after their hour; windows of seven days are judged then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from stream import DAY, STREAM_START, Stream, Values, day_means

from flyball.core.durations import parse_duration, parse_rate
from flyball.judge import choosing, rollout
from flyball.judge.causes.diagnose import Diagnosis, Findings, diagnose
from flyball.judge.causes.residuals import ExpectedLoss, expected_loss, fit_expected_loss, summarise_residuals
from flyball.judge.drift import facts, performance, profile, watch
from flyball.judge.drift.statistics import compare, drift_scores
from flyball.judge.gates.gate import GateEvidence, judge_gate, shows_gain
from flyball.judge.guards import GuardEvidence
from flyball.judge.metrics.measure import Answers, paired_difference


@dataclass
class Version:
    """A trained model: its answers to every row, and what was promised of it."""

    number: int
    answers: Values
    reference: performance.PerformanceReference
    expected: ExpectedLoss
    inputs: profile.Reference
    training_scores: list[dict[str, float]]


@dataclass
class Shadow:
    """A candidate beside the champion, since when."""

    version: Version
    since: float


@dataclass
class Result:
    """What came of a stream."""

    served: Values
    frozen: Values
    retrainings: int = 0
    promotions: list[float] = field(default_factory=list)
    replaced: list[tuple[float, Values, Values]] = field(default_factory=list)
    signals: list[tuple[float, str, Diagnosis]] = field(default_factory=list)
    story: list[str] = field(default_factory=list)


class Loop:
    """One run of the loop over a stream. `broken` marks rows whose features were spoiled on purpose."""

    def __init__(self, stream: Stream, *, candidate_seed: int = 11) -> None:
        project = stream.project
        self.stream, self.project = stream, project
        self.window = parse_duration(project.monitor.window).total_seconds()
        self.delay = parse_duration(project.data.outcome_delay).total_seconds()
        self.cooldown = parse_duration(project.retrain.cooldown).total_seconds()
        alarms, period = parse_rate(project.monitor.false_alarms)
        self.alphas = watch.window_alpha(alarms, period.total_seconds(), self.window)
        self.rules = rollout.rules_of(project.rollout, loss="mae")
        self.margin = self.rules.guards[0].margin or 0.0
        self.candidate_seed = candidate_seed
        first = stream.at[0]
        held_out = int(project.data.split.test * (stream.at < STREAM_START).sum())
        until = float(stream.at[stream.at < STREAM_START][-held_out])
        self.champion = self._version(1, first, until, None, project.train.seed)
        self.champion_since = STREAM_START
        self.healthy = [self.champion.inputs.summary]
        self.input_history = list(self.champion.training_scores)
        self.loss_history: list[float] = []
        self.window_losses: list[float] = []
        self.shadow: Shadow | None = None
        self.last_retraining = -np.inf
        self.open_since: float | None = None

    def run(self, until: float | None = None) -> Result:
        """Walk through the stream day by day."""
        stream = self.stream
        end = float(stream.at[-1]) + self.delay + DAY if until is None else until
        result = Result(served=np.full(stream.at.size, np.nan), frozen=self.champion.answers)
        start = STREAM_START
        while start < end:
            now = start + DAY
            today = stream.between(start, now)
            result.served[today] = self.champion.answers[today]
            if self.shadow is not None:
                self._look(now, result)
            if (now - self.delay) % self.window == 0:
                self._judge_window(now, result)
            start = now
        return result

    def _look(self, now: float, result: Result) -> None:
        shadow = self.shadow
        assert shadow is not None
        stream, champion = self.stream, self.champion
        rows = stream.between(shadow.since, now - self.delay)
        seen = int(stream.between(shadow.since, now).sum())
        errors = np.abs(shadow.version.answers - stream.y) - np.abs(champion.answers - stream.y)
        days = day_means(stream.at[rows], errors[rows])
        evidence = rollout.RolloutEvidence(
            step=0,
            elapsed_seconds=now - shadow.since,
            bake_elapsed_seconds=now - shadow.since,
            candidate_requests=seen,
            guards=[GuardEvidence(metric=self.rules.guards[0].metric, paired=days)],
        )
        decision = rollout.next_action(self.rules, evidence)
        if decision.action == "wait":
            return
        result.story.append(f"{_day(now)} {decision.action}: {decision.because}")
        if decision.action == "promote":
            result.promotions.append(now)
            result.replaced.append((now, champion.answers, shadow.version.answers))
            self.champion, self.champion_since = shadow.version, now
            self.window_losses, self.loss_history = [], []
            self.open_since = None
        self.shadow = None

    def _judge_window(self, now: float, result: Result) -> None:
        stream, champion = self.stream, self.champion
        until = now - self.delay
        start = until - self.window
        rows = stream.between(max(start, STREAM_START), until)
        if rows.sum() < self.project.monitor.min_rows:
            return
        columns = stream.columns(rows)
        current = profile.summarise(self.healthy_reference, columns)
        broken = facts.find_broken(self.healthy_reference.features, self.healthy, current)
        drifts = compare(champion.inputs, profile.summarise(champion.inputs, columns))
        scores = drift_scores(drifts)
        drift_watch = watch.watch_columns(self.input_history, scores, self.alphas.drift)
        served = stream.between(max(start, self.champion_since), until)
        findings = Findings(
            window_from_seconds=start,
            window_until_seconds=until,
            row_count=int(rows.sum()),
            broken=broken,
            drift=drifts,
            drift_watch=drift_watch,
        )
        confirmation = None
        if served.sum() >= self.project.monitor.min_rows and not broken:
            loss = float(np.abs(stream.y - champion.answers)[served].mean())
            self.window_losses.append(loss)
            history = [*champion.reference.block_losses, *self.loss_history]
            loss_watch = watch.watch_value(history, loss, self.alphas.outcomes)
            confirmation = performance.confirm(self.window_losses, champion.reference.loss)
            if not loss_watch.alarm:
                self.loss_history.append(loss)
            findings = Findings(
                **{name: getattr(findings, name) for name in findings.__struct_fields__}
                | {
                    "loss_metric": "mae",
                    "loss": loss,
                    "reference_loss": champion.reference.loss,
                    "expected_loss": expected_loss(champion.expected, champion.answers[served]),
                    "loss_watch": loss_watch,
                    "confirmation": confirmation,
                    "residuals": summarise_residuals(
                        stream.y[served], champion.answers[served], stream.at[served], stream.columns(served)
                    ),
                }
            )
        if not broken:
            self.healthy.append(current)
            if not drift_watch.alarm:
                self.input_history.append(scores)
        confirmed = confirmation is not None and confirmation.confirmed
        watched = findings.loss_watch is not None and findings.loss_watch.alarm
        if broken or confirmed or watched or drift_watch.alarm:
            kind = "data" if broken else "performance" if confirmed or watched else "drift"
            diagnosis = diagnose(findings)
            result.signals.append((now, kind + ("!" if confirmed else ""), diagnosis))
        if confirmed and not broken:
            self._retrain(now, until, result)

    def _retrain(self, now: float, until: float, result: Result) -> None:
        if self.shadow is not None or now - self.last_retraining < self.cooldown:
            return
        choice = self._choose(until)
        if not choice.act or choice.name is None:
            result.story.append(f"{_day(now)} no retraining: {choice.because}")
            return
        self.last_retraining = now
        result.retrainings += 1
        cut = until - self.window
        begin = max(choosing.training_start(choice.name, cut), float(self.stream.at[0]))
        seed = self.candidate_seed + result.retrainings
        version = self._version(result.retrainings + 1, begin, cut, choice.loss, seed)
        rows = self.stream.between(cut, until)
        paired = paired_difference(
            "regression",
            "mae",
            self.stream.y[rows],
            Answers(prediction=self.champion.answers[rows]),
            Answers(prediction=version.answers[rows]),
            seed=0,
            groups=np.floor(self.stream.at[rows] / DAY),
        )
        verdicts = [shows_gain(paired)] + [
            judge_gate(gate, GateEvidence(has_champion=True, paired=paired)) for gate in self.project.gates
        ]
        passed = all(verdict.passed for verdict in verdicts)
        result.story.append(
            f"{_day(now)} retraining {result.retrainings}: {choice.because}; "
            + "; ".join(f"{verdict.outcome}: {verdict.because}" for verdict in verdicts)
        )
        if passed:
            self.shadow = Shadow(version, now)

    def _choose(self, until: float) -> choosing.Choice:
        stream = self.stream
        folds = choosing.progressive_folds(
            until, window_seconds=self.window, outcome_delay_seconds=self.delay, count=4
        )
        tests = [stream.between(fold.test_from, fold.test_until) for fold in folds]
        counts = [int(test.sum()) for test in tests]
        candidates = []
        for name in choosing.TRAINING_WINDOWS:
            losses: list[float | None] = []
            for fold, test in zip(folds, tests, strict=True):
                begin = choosing.training_start(name, fold.train_until)
                begin = max(begin, float(stream.at[0]))
                enough = stream.between(begin, fold.train_until).sum() >= choosing.LEAST_TRAINING_ROWS
                answers = stream.answers(begin, fold.train_until) if enough else None
                losses.append(None if answers is None else _mae(stream.y, answers, test))
            candidates.append(choosing.FoldLosses(name=name, losses=losses, row_counts=counts))
        own: list[float | None] = [_mae(stream.y, self.champion.answers, test) for test in tests]
        champion = choosing.FoldLosses(name="champion", losses=own, row_counts=counts)
        return choosing.choose(candidates, champion, least_gain=self.margin)

    def _version(
        self, number: int, begin: float, until: float, progressive: float | None, seed: int
    ) -> Version:
        stream = self.stream
        rows = stream.between(begin, until)
        blocks = np.floor(stream.at[rows] / self.window)
        answers = stream.held_out(begin, until, performance.block_folds(blocks))
        losses = np.abs(stream.y[rows] - answers)
        inputs = profile.fit_reference(stream.columns(rows), dict.fromkeys(stream.columns(rows), "numeric"))
        scores = []
        for block in np.unique(blocks):
            week = rows.copy()
            week[rows] = blocks == block
            if week.sum() >= self.project.monitor.min_rows:
                summary = profile.summarise(inputs, stream.columns(week))
                scores.append(drift_scores(compare(inputs, summary)))
        if number == 1:
            self.healthy_reference = inputs
        return Version(
            number=number,
            answers=stream.answers(begin, until, seed=seed),
            reference=performance.performance_reference(losses, blocks, progressive=progressive),
            expected=fit_expected_loss(stream.y[rows], answers),
            inputs=inputs,
            training_scores=scores,
        )


def _mae(y: Values, answers: Values, rows: NDArray[np.bool_]) -> float:
    return float(np.abs(y - answers)[rows].mean())


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
