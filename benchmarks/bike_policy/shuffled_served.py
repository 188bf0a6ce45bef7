"""The shuffled streams of shuffled.py through real processes and HTTP: trained, deployed, served, watched by the loop.

Run: python benchmarks/bike_policy/shuffled_served.py [--seeds 9] [--weeks 78] [--at-once 3] [--out out/shuffled_served]

One home, one `flyball up`, a model a seed. Each model's rows are replayed in the order of their event times, outcomes a
day later, by the example's own replay. Exits with 1 when the loop did more than it may, or when a prediction was lost.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

# The example's modules, in front of this folder's, whose `stream` is the offline one.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "bike_sharing"))

import numpy as np
import polars as pl
from measures import loop_counts, served_errors, version_errors
from processes import HERE as EXAMPLE
from processes import Up, flyball, make_project
from replay import Replay, Row
from stream import STREAM_START, as_requests, read_rows, split

OUT = EXAMPLE.parents[1] / "out" / "shuffled_served"
DELAY = timedelta(days=1)
MOST_RETRAININGS = MOST_PROMOTIONS = 2


def main() -> None:
    """Replay every seed, print a line each and the verdict, and write `results.json`."""
    options = parse()
    started = time.monotonic()
    if options.out == OUT:
        shutil.rmtree(OUT, ignore_errors=True)
    home = options.out / "home"
    home.mkdir(parents=True)
    seeds = range(1, options.seeds + 1)
    streams = {seed: deal(seed) for seed in seeds}
    # Terminated, it ends as after Ctrl-C, and takes the servers with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ThreadPoolExecutor(options.at_once) as pool:
        folders = list(pool.map(lambda seed: put_in_service(seed, streams[seed], options.out, home), seeds))
        up = Up(folders[0], home, options.out / "up.log")
        try:
            up.wait_ready()
            measure = partial(replay_seed, streams=streams, weeks=options.weeks, up=up, home=home)
            results = []
            for result in pool.map(measure, seeds):
                print(told(result), flush=True)
                results.append(result)
        finally:
            up.stop()
    report = summarise(results) | {"seconds": round(time.monotonic() - started, 1)}
    (options.out / "results.json").write_text(json.dumps(report, indent=2))
    print(verdict(report))
    sys.exit(0 if report["passed"] else 1)


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=9, help="how many streams, from seed 1 on")
    parser.add_argument("--weeks", type=int, default=79, help="how much of each stream; it has 78.5 weeks")
    parser.add_argument(
        "--at-once", type=int, default=3, help="how many models are replayed at the same time"
    )
    parser.add_argument(
        "--out", type=lambda text: Path(text).resolve(), default=OUT, help="holds no home yet"
    )
    return parser.parse_args()


def deal(seed: int) -> pl.DataFrame:
    """All rows of the example, dealt out anew just as shuffled.py does it for the same seed."""
    frame = read_rows(EXAMPLE / "data" / "bike_sharing_hourly.parquet")
    order = np.random.default_rng(seed).permutation(frame.height)
    return frame.select("ts").hstack(frame.drop("ts")[order])


def model_of(seed: int) -> str:
    """The model's name of a seed."""
    return f"bikes-shuffled-{seed}"


def put_in_service(seed: int, frame: pl.DataFrame, out: Path, home: Path) -> Path:
    """A project trained on the first half year of a stream, and deployed; its folder."""
    model = model_of(seed)
    folder = make_project(out / model, model, split(frame)[0])
    run = flyball("run", folder=folder, home=home)
    flyball("deploy", f"{model}@{run['version']}", "--why", "first version", folder=folder, home=home)
    return folder


def replay_seed(
    seed: int, *, streams: dict[int, pl.DataFrame], weeks: int, up: Up, home: Path
) -> dict[str, Any]:
    """Replay one stream to its end; errors of the first version and of what was served, and what the loop did."""
    model = model_of(seed)
    until = STREAM_START + timedelta(weeks=weeks)
    rows = as_requests(split(streams[seed])[1].filter(pl.col("ts") < until))
    tally = Replay(model, rows, DELAY, serve_url=up.serve_url, control_url=up.control_url).run()
    frozen, served = version_errors(home, f"{model}@1", rows), served_errors(tally, rows)
    rollouts = up.items("rollouts", model)
    promoted = sorted((r for r in rollouts if r["state"] == "promoted"), key=lambda r: r["ended_model_at"])
    signals = up.items("signals", model)
    windows = up.get(f"/api/v1/models/{model}/series")["windows"]
    first = datetime.fromisoformat(promoted[0]["ended_model_at"]) if promoted else None
    rest = np.array([first is not None and row.at >= first for row in rows])
    return {
        "seed": seed,
        **loop_counts(up, model),
        "windows": len(windows),
        "windows_with_a_signal": len({raised["window_start"] for raised in signals}),
        "rows": len(rows),
        "lost": len(rows) - up.get(f"/api/v1/models/{model}/progress")["predictions"],
        "errors": tally.errors[:10],
        "frozen": mean(frozen),
        "served": mean(served),
        "rows_after": int(rest.sum()),
        "frozen_after": mean(frozen[rest]),
        "served_after": mean(served[rest]),
        "replaced": [change_by(rollout, model, home, rows) for rollout in promoted],
    }


def change_by(rollout: dict[str, Any], model: str, home: Path, rows: list[Row]) -> dict[str, Any]:
    """What a promotion changed on all rows from its moment on: below 0, the promoted version errs less."""
    at = datetime.fromisoformat(rollout["ended_model_at"])
    remaining = [row for row in rows if row.at >= at]
    before, after = (
        version_errors(home, f"{model}@{rollout[side]}", remaining) if remaining else np.empty(0)
        for side in ("champion", "candidate")
    )
    return {"at": rollout["ended_model_at"], "rows": len(remaining), "change": mean(after - before)}


def mean(values: np.ndarray) -> float | None:
    """The mean without rows that were not answered, or None of no rows."""
    kept = values[~np.isnan(values)]
    return round(float(kept.mean()), 3) if kept.size else None


def told(result: dict[str, Any]) -> str:
    """One seed's line."""
    text = (
        f"seed {result['seed']}: {result['retrainings']} retrainings, {result['promotions']} promotions, "
        f"{result['signals']} signals in {result['windows_with_a_signal']} of {result['windows']} windows; "
        f"MAE of {result['rows']} rows: frozen {result['frozen']:.1f}, served {result['served']:.1f}; "
    )
    if result["rows_after"]:
        text += (
            f"of the {result['rows_after']} after the first promotion: frozen {result['frozen_after']:.1f}, "
            f"served {result['served_after']:.1f}"
        )
    else:
        text += "no rows after a promotion"
    changes = (f"\n  promoted {p['at'][:10]}: {p['change']:+.2f}" for p in result["replaced"] if p["rows"])
    return text + "".join(changes)


def summarise(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The totals, and whether they are what they may be."""
    totals = {
        name: sum(result[name] for result in results)
        for name in (
            "retrainings",
            "promotions",
            "signals",
            "windows",
            "windows_with_a_signal",
            "rows",
            "lost",
        )
    }
    totals["worse"] = sum((p["change"] or 0.0) > 0 for result in results for p in result["replaced"])
    passed = (
        totals["retrainings"] <= MOST_RETRAININGS
        and totals["promotions"] <= MOST_PROMOTIONS
        and not totals["worse"]
        and not totals["lost"]
        and not any(result["errors"] for result in results)
    )
    return {"passed": passed, "totals": totals, "seeds": results}


def verdict(report: dict[str, Any]) -> str:
    """The last line: totals beside what they may be."""
    totals = report["totals"]
    return (
        f"{'passed' if report['passed'] else 'FAILED'}: {len(report['seeds'])} seeds, {totals['retrainings']} "
        f"retrainings (at most {MOST_RETRAININGS}), {totals['promotions']} promotions (at most {MOST_PROMOTIONS}), "
        f"{totals['worse']} of them worse on the rows that remained (0 wanted), a signal in "
        f"{totals['windows_with_a_signal']} of {totals['windows']} windows, {totals['lost']} of {totals['rows']} "
        f"predictions lost, {report['seconds']:.0f} s"
    )


if __name__ == "__main__":
    main()
