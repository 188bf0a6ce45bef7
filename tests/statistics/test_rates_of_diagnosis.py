"""Simulations: which cause is named for changes whose cause is known."""

from __future__ import annotations

from collections import Counter

import numpy as np

from flyball.judge.causes.diagnose import Findings, diagnose
from flyball.judge.causes.residuals import expected_loss, fit_expected_loss, summarise_residuals
from flyball.judge.drift.facts import find_broken
from flyball.judge.drift.performance import confirm
from flyball.judge.drift.profile import fit_reference, summarise
from flyball.judge.drift.statistics import compare, drift_scores
from flyball.judge.drift.watch import watch_columns, watch_value

WEEKS, ROWS = 26, 168
AT = np.arange(float(ROWS)) * 3600.0


class World:
    """A known relation, a model that knows it, and weeks drawn from it."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        weeks = [self.week() for _ in range(WEEKS)]
        self.kinds = {"a": "numeric", "b": "numeric"}
        joined = {name: np.concatenate([week[name] for week in weeks]) for name in ("a", "b")}
        self.reference = fit_reference(joined, self.kinds)
        summaries = [summarise(self.reference, {name: week[name] for name in "ab"}) for week in weeks]
        self.healthy = [self.reference.summary, *summaries]
        self.history = [drift_scores(compare(self.reference, summary)) for summary in summaries]
        self.losses = [float(np.abs(week["y"] - self.answer(week)).mean()) for week in weeks]
        self.expected = fit_expected_loss(
            np.concatenate([week["y"] for week in weeks]),
            np.concatenate([self.answer(week) for week in weeks]),
        )

    def week(self, *, lean: float = 0.0, level: float = 0.0) -> dict[str, np.ndarray]:
        a = self.rng.normal(size=ROWS) + lean
        b = self.rng.uniform(1, 5, size=ROWS)
        center = 40 + 10 * a + 5 * b
        y = center + level + self.rng.normal(size=ROWS) * np.maximum(center, 5) / 5
        return {"a": a, "b": b, "y": y}

    def answer(self, week: dict[str, np.ndarray]) -> np.ndarray:
        return 40 + 10 * week["a"] + 5 * week["b"]

    def diagnose(self, week: dict[str, np.ndarray]) -> str:
        columns = {name: week[name] for name in "ab"}
        current = summarise(self.reference, columns)
        answers = self.answer(week)
        loss = float(np.abs(week["y"] - answers).mean())
        drifts = compare(self.reference, current)
        reference_loss = float(np.mean(self.losses))
        return diagnose(
            Findings(
                window_from_seconds=0.0,
                window_until_seconds=AT[-1],
                row_count=ROWS,
                broken=find_broken(self.reference.features, self.healthy, current),
                drift=drifts,
                drift_watch=watch_columns(self.history, drift_scores(drifts), 0.05),
                loss=loss,
                reference_loss=reference_loss,
                expected_loss=expected_loss(self.expected, answers),
                loss_watch=watch_value(self.losses, loss, 0.1),
                confirmation=confirm([loss, loss], reference_loss),
                residuals=summarise_residuals(week["y"], answers, AT, columns),
            )
        ).cause


def test_each_cause_is_named_for_what_it_is():
    named: dict[str, Counter[str]] = {name: Counter() for name in ("concept", "inputs", "unit")}
    for seed in range(20):
        world = World(seed)
        named["concept"][world.diagnose(world.week(level=15.0))] += 1
        named["inputs"][world.diagnose(world.week(lean=2.5))] += 1
        broken = world.week()
        broken["b"] = broken["b"] * 100
        named["unit"][world.diagnose(broken)] += 1
    assert named["concept"]["concept-drift"] >= 19
    assert named["inputs"]["covariate-shift"] >= 18
    assert named["unit"]["broken-data"] == 20


def test_a_week_like_the_others_is_never_called_broken_and_seldom_anything():
    named: Counter[str] = Counter()
    for seed in range(60):
        world = World(seed)
        named[world.diagnose(world.week())] += 1
    assert named["broken-data"] == 0
    # 0.1 for outcomes and 0.05 for inputs, and a Monte Carlo error of 10 points on 60 weeks.
    assert named["undetermined"] >= 45
