"""The loop on the same rows without any change over time: it should sit still.

Run: python benchmarks/bike_policy/shuffled.py [--seeds 9]
"""

from __future__ import annotations

import argparse

import numpy as np
from loop import Loop
from stream import STREAM_START, Stream, read_project, read_rows


def main() -> None:
    """Print retrainings, promotions and signals per seed, and whether a promotion made anything worse."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=9)
    options = parser.parse_args()
    retrainings, promotions, worse, alarms, windows_judged = 0, 0, 0, 0, 0
    for seed in range(1, options.seeds + 1):
        stream = Stream(read_rows(shuffle_seed=seed), read_project())
        result = Loop(stream).run()
        rows = stream.at >= STREAM_START
        retrainings += result.retrainings
        promotions += len(result.promotions)
        alarms += len(result.signals)
        windows_judged += 78
        for at, before, after in result.replaced:
            rest = stream.at >= at
            change = (np.abs(stream.y - after) - np.abs(stream.y - before))[rest].mean()
            worse += change > 0
            print(f"  promoted: {change:+.2f} on the {rest.sum()} rows that remained")
        print(
            f"seed {seed}: MAE frozen {np.abs(stream.y - result.frozen)[rows].mean():.1f}, served "
            f"{np.abs(stream.y - result.served)[rows].mean():.1f}, {len(result.signals)} signals, "
            f"{result.retrainings} retrainings, {len(result.promotions)} promotions",
            flush=True,
        )
        for line in result.story:
            print("  " + line)
    print(
        f"{options.seeds} seeds: {retrainings} retrainings, {promotions} promotions (at most 2 each), "
        f"{worse} of them worse afterwards (0 wanted), {alarms} windows with a signal of {windows_judged}"
    )


if __name__ == "__main__":
    main()
