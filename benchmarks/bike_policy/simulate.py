"""What the loop is worth on the bike-sharing stream: frozen, retrained monthly, and the loop, side by side.

Run: python benchmarks/bike_policy/simulate.py [--story]
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
from loop import Loop
from stream import DAY, STREAM_START, Stream, Values, read_project, read_rows

from flyball.judge.metrics.intervals import moving_block_mean_interval


def retrained_monthly(stream: Stream) -> tuple[Values, int]:
    """Answers of a model retrained each month on the last six months, all outcomes known: the costly
    rival.
    """
    answers = np.full(stream.at.size, np.nan)
    months = [datetime(2011 + (6 + i) // 12, (6 + i) % 12 + 1, 1, tzinfo=UTC).timestamp() for i in range(19)]
    for start, until in pairwise(months):
        rows = stream.between(start, until)
        answers[rows] = stream.answers(start - 182 * DAY, start)[rows]
    return answers, len(months) - 2


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--story", action="store_true", help="print every decision and signal")
    parser.add_argument("--seed", type=int, default=11, help="seed of the first candidate")
    options = parser.parse_args()
    stream = Stream(read_rows(), read_project())
    result = Loop(stream, candidate_seed=options.seed).run()
    if options.story:
        print("\n".join(result.story))
        for at, kind, diagnosis in result.signals:
            print(f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d} {kind:13s} {diagnosis.sentence}")
    monthly, trainings = retrained_monthly(stream)
    rows = stream.at >= STREAM_START
    frozen_error = np.abs(stream.y - result.frozen)[rows]
    print(f"{'':28s}{'MAE':>6s}  retrainings  promotions  gain over frozen (95 %, 7-day blocks)")
    table = (
        ("frozen first model", result.frozen, 0, 0),
        ("monthly, last six months", monthly, trainings, trainings),
        ("Flyball's loop", result.served, result.retrainings, len(result.promotions)),
    )
    for name, answers, retrainings, promotions in table:
        error = np.abs(stream.y - answers)[rows]
        gain = moving_block_mean_interval(
            frozen_error - error, stream.at[rows], block_seconds=7 * DAY, seed=0
        )
        print(
            f"{name:28s}{error.mean():6.1f}  {retrainings:11d}  {promotions:10d}  "
            f"{gain.low:.1f} to {gain.high:.1f}"
        )


if __name__ == "__main__":
    main()
