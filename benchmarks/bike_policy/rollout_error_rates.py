"""What the example's rollout does with an equal candidate and with one that is worse by twice the margin.

Equal: the champion's training again with another bagging seed. Worse: an equal candidate spoiled until its
error over the four weeks is twice the margin above the champion's, in three ways: noise everywhere, noise at
weekends only (a harm that hides in the days between), answers scaled up. Each starts on a random day of the
stream.

Run: python benchmarks/bike_policy/rollout_error_rates.py [--repeats 200]
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable

import numpy as np
from stream import DAY, STREAM_START, Stream, Values, day_means, read_project, read_rows

from flyball.judge import rollout
from flyball.judge.guards import GuardEvidence


def walk(stream: Stream, champion: Values, candidate: Values, since: float) -> str:
    """How a rollout from `since` ends, looked at once a day."""
    rules = rollout.rules_of(stream.project.rollout, loss="mae")
    errors = np.abs(candidate - stream.y) - np.abs(champion - stream.y)
    now = since
    while True:
        now += DAY
        rows = stream.between(since, now - DAY)
        evidence = rollout.RolloutEvidence(
            step=0,
            elapsed_seconds=now - since,
            bake_elapsed_seconds=now - since,
            candidate_requests=int(stream.between(since, now).sum()),
            guards=[GuardEvidence(metric="mae", paired=day_means(stream.at[rows], errors[rows]))],
        )
        decision = rollout.next_action(rules, evidence)
        if decision.action != "wait":
            return "undecided" if decision.undecided else decision.action


def spoiled(
    stream: Stream, champion: Values, since: float, by: float, spoil: Callable[[float], Values]
) -> Values:
    """Answers spoiled just enough to be worse than the champion by `by` over the four weeks."""
    rows = stream.between(since, since + 28 * DAY)
    base = np.abs(champion - stream.y)[rows].mean()
    low, high = 0.0, 4000.0
    for _ in range(40):
        middle = (low + high) / 2
        if np.abs(spoil(middle) - stream.y)[rows].mean() - base < by:
            low = middle
        else:
            high = middle
    return spoil(high)


def simulate(*, repeats: int, seed: int) -> dict[str, Counter[str]]:
    """How rollouts of each kind of candidate end."""
    stream = Stream(read_rows(), read_project())
    margin = rollout.rules_of(stream.project.rollout, loss="mae").guards[0].margin or 0.0
    rng = np.random.default_rng(seed)
    days = np.arange(STREAM_START + 56 * DAY, stream.at[-1] - 31 * DAY, DAY)
    is_weekend = np.isin((stream.at // DAY + 4) % 7, (0, 6))
    names = ("equal", "worse: noise", "worse: weekends", "worse: scaled")
    ends: dict[str, Counter[str]] = {name: Counter() for name in names}
    for _ in range(repeats):
        since = float(rng.choice(days))
        until = since - 8 * DAY
        until -= until % (7 * DAY)
        begin = until - float(rng.choice([60, 120, 180])) * DAY
        champion = stream.answers(begin, until, seed=int(rng.integers(1, 5)))
        equal = stream.answers(begin, until, seed=int(rng.integers(11, 15)))
        noise = rng.normal(size=equal.size)
        ends["equal"][walk(stream, champion, equal, since)] += 1
        ways: dict[str, Callable[[float], Values]] = {
            "worse: noise": lambda size, a=equal, n=noise: a + size * n,
            "worse: weekends": lambda size, a=equal, n=noise: a + size * n * is_weekend,
            "worse: scaled": lambda size, a=equal: a * (1 + size / 1000),
        }
        for name, way in ways.items():
            candidate = spoiled(stream, champion, since, 2 * margin, way)
            ends[name][walk(stream, champion, candidate, since)] += 1
    return ends


def main() -> None:
    """Print how often each kind of candidate was promoted, aborted, undecided."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    ends = simulate(repeats=options.repeats, seed=options.seed)
    error = 1.96 * np.sqrt(0.05 * 0.95 / options.repeats)
    print(f"{options.repeats} rollouts each; Monte Carlo error of a rate of 5 %: {error:.1%} (95 %)")
    print(f"{'candidate':18s}{'promoted':>10s}{'aborted':>10s}{'undecided':>11s}   wanted")
    for name, counts in ends.items():
        wanted = "promoted >= 80 %, aborted <= 5 %" if name == "equal" else "promoted <= 5 %"
        shares = [counts[end] / options.repeats for end in ("promote", "abort", "undecided")]
        print(f"{name:18s}{shares[0]:10.1%}{shares[1]:10.1%}{shares[2]:11.1%}   {wanted}")


if __name__ == "__main__":
    main()
