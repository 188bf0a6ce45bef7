"""The demo: eighteen months of bike rentals pass in minutes, and the loop keeps its model right by itself.

    python demo.py            (make demo)
    KEEP=1 python demo.py     leaves the console up and prints its address

Only public commands and endpoints are used; nothing is scripted to happen. Writes out/demo/report.{html,json}.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from baselines import monthly_errors
from measures import loop_counts, served_errors, version_errors
from narrator import Narrator, Screen
from processes import Up, flyball, make_project
from replay import Replay, Row, Tally
from report import write_report
from stream import as_requests, in_fahrenheit, later, read_rows, shuffle, split

from flyball.judge.metrics.intervals import moving_block_mean_interval

HERE = Path(__file__).resolve().parent
OUT = HERE.parents[1] / "out" / "demo"
MODEL, SHUFFLED = "bike-sharing", "bike-sharing-shuffled"
DELAY = timedelta(days=1)
WEEK = timedelta(days=7)
SEED = 7


def main() -> None:
    """Run every chapter and write the report."""
    started = time.monotonic()
    shutil.rmtree(OUT, ignore_errors=True)
    home = OUT / "home"
    home.mkdir(parents=True)
    frame = read_rows(HERE / "data" / "bike_sharing_hourly.parquet")
    dealt = shuffle(frame, SEED)
    _, stream = split(frame)

    print("Chapter 1: eighteen months of hourly rentals, in order, through HTTP", flush=True)
    rows = {MODEL: frame, SHUFFLED: dealt}
    folders = {model: make_project(OUT / model, model, split(rows[model])[0]) for model in rows}
    with ThreadPoolExecutor(len(folders)) as pool:
        runs = list(pool.map(lambda folder: flyball("run", folder=folder, home=home), folders.values()))
    for (model, folder), run in zip(folders.items(), runs, strict=True):
        flyball("deploy", f"{model}@{run['version']}", "--why", "first version", folder=folder, home=home)
        print(f"  {model}@{run['version']}: trained on the first half year, in service", flush=True)
    # A terminated demo ends as after Ctrl-C, and takes the servers with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    up = Up(folders[MODEL], home, OUT / "up.log")
    report: dict[str, Any] = {}
    try:
        up.wait_ready()
        report = _play(up, folders, home, frame, stream, dealt)
        report["seconds"] = round(time.monotonic() - started, 1)
        write_report(OUT, report)
        _print_table(report)
        if os.environ.get("KEEP"):
            print(f"\nThe console is at {up.control_url} (Ctrl-C ends it)", flush=True)
            up.process.wait()
    except KeyboardInterrupt:
        pass
    finally:
        up.stop()
    if not report:
        sys.exit("ended before its end: there is no report")
    _check(report)


def _play(
    up: Up,
    folders: dict[str, Path],
    home: Path,
    frame: pl.DataFrame,
    stream: pl.DataFrame,
    dealt: pl.DataFrame,
) -> dict[str, Any]:
    rows = as_requests(stream)
    dealt_rows = as_requests(split(dealt)[1])
    urls = {"serve_url": up.serve_url, "control_url": up.control_url}
    screen = Screen()
    narrator = Narrator(up, MODEL, screen)
    replay = Replay(MODEL, rows, DELAY, **urls)
    calm = Replay(SHUFFLED, dealt_rows, DELAY, **urls)
    beside = _Beside(calm)
    tally = replay.run(on_batch=narrator.tell)
    narrator.tell(replay)
    chapter_one = loop_counts(up, MODEL) | {"predictions": _delivery_counts(up, tally, MODEL)}

    screen.say(
        "Chapter 2: faults fed in (announced: a week of temperatures in Fahrenheit, then a worse candidate)"
    )
    last_week = [row for row in rows if row.at >= rows[-1].at - WEEK]
    fault = _feed_fault(up, last_week, urls, narrator)
    worse = _offer_worse(folders[MODEL], home)
    screen.say(f"  a worse candidate was offered: {worse['state']}: {worse['because']}", indent=4)
    beside.join()

    served = served_errors(tally, rows)
    trace = _trace(up, folders[MODEL], home, tally)
    report = _compare(folders, home, frame, stream, served, served_errors(calm.tally, dealt_rows), dealt_rows)
    report |= chapter_one | {
        "lost": chapter_one["predictions"]["sent"] - chapter_one["predictions"]["logged"],
        "errors": tally.errors[:10],
        "fault": fault,
        "worse_candidate": worse,
        "trace": trace,
        "story": narrator.story,
        "series": up.get(f"/api/v1/models/{MODEL}/series"),
        "console": up.control_url,
    }
    report["shuffled"] |= loop_counts(up, SHUFFLED)
    return report


class _Beside:
    """Replays the shuffled rows in a thread of its own; a failure there is a failure here."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._replay.run()
        except Exception as error:  # noqa: BLE001 - carried over to the main thread and raised there
            self._error = error

    def join(self) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error


def _feed_fault(up: Up, week: list[Row], urls: dict[str, str], narrator: Narrator) -> dict[str, Any]:
    """One week of requests with a unit error in one feature, then a healthy one; what the loop made of it."""
    before = loop_counts(up, MODEL)
    versions = len(up.get(f"/api/v1/models/{MODEL}/versions?limit=200")["items"])
    broken = in_fahrenheit(later(week, WEEK))
    replay = Replay(MODEL, broken + later(week, 2 * WEEK), DELAY, **urls)
    replay.run(on_batch=narrator.tell)
    narrator.tell(replay)
    after = loop_counts(up, MODEL)
    incidents = up.items("incidents", MODEL)
    found = [incident for incident in incidents if incident["cause"] == "broken-data"]
    return {
        "what": "temp in Fahrenheit for a week",
        "alarm": found[0]["title"] if found else None,
        "held": bool(found and found[0]["hold"]),
        "trained": len(up.get(f"/api/v1/models/{MODEL}/versions?limit=200")["items"]) - versions,
        "retrainings": after["retrainings"] - before["retrainings"],
        "requests": replay.tally.answered,
    }


def _offer_worse(folder: Path, home: Path) -> dict[str, Any]:
    """A candidate with almost no trees, through the front door."""
    run = flyball("run", "--set", "train.params.trees=3", folder=folder, home=home, allow=(0, 1))
    failed = [gate for gate in run["gates"] if gate.get("outcome") != "pass"]
    return {
        "state": run["state"],
        "because": failed[0]["because"] if failed else "",
        "version": run["version"],
    }


def _delivery_counts(up: Up, tally: Tally, model: str) -> dict[str, int]:
    progress = up.get(f"/api/v1/models/{model}/progress")
    return {"sent": tally.sent, "answered": tally.answered, "logged": progress["predictions"]}


def _compare(
    folders: dict[str, Path],
    home: Path,
    frame: pl.DataFrame,
    stream: pl.DataFrame,
    served: np.ndarray,
    calm: np.ndarray,
    calm_rows: list[Row],
) -> dict[str, Any]:
    """Frozen, monthly, Flyball, and Flyball on shuffled rows, each with an interval by 7-day blocks."""
    frozen = version_errors(home, f"{MODEL}@1", as_requests(stream))
    frozen_calm = version_errors(home, f"{SHUFFLED}@1", calm_rows)
    project = tomllib.loads((folders[MODEL] / "flyball.toml").read_text())
    monthly, models = monthly_errors(
        frame, stream, project["train"]["params"], project["train"].get("seed", SEED)
    )
    times = stream["ts"].dt.epoch("s").to_numpy().astype(float)

    def interval(values: np.ndarray) -> list[float]:
        kept = ~np.isnan(values)
        found = moving_block_mean_interval(
            values[kept], times[kept], block_seconds=7 * 86400, confidence=0.95, seed=SEED
        )
        return [round(found.low, 2), round(found.high, 2)]

    return {
        "metric": "mae",
        "frozen": round(float(np.mean(frozen)), 2),
        "frozen_interval": interval(frozen),
        "monthly": round(float(np.mean(monthly)), 2),
        "monthly_interval": interval(monthly),
        "monthly_retrainings": models,
        "served": round(float(np.nanmean(served)), 2),
        "served_interval": interval(served),
        "gain": round(float(np.nanmean(frozen - served)), 2),
        "gain_interval": interval(frozen - served),
        "shuffled": {
            "frozen": round(float(np.mean(frozen_calm)), 2),
            "served": round(float(np.nanmean(calm)), 2),
            "served_interval": interval(calm),
            "gain_interval": interval(frozen_calm - calm),
        },
    }


def _trace(up: Up, folder: Path, home: Path, tally: Tally) -> dict[str, Any]:
    """One prediction of the stream's last day: traced to its data, and answered again by the same version."""
    identity = tally.answers[max(tally.answers)][1]
    found = up.get(f"/api/v1/predictions/{identity}")
    again = flyball("replay", identity, folder=folder, home=home)
    return {
        "prediction": found,
        "replayed": again,
        "link": f"{up.control_url}/predictions/{identity}",
        "id": identity,
    }


def _print_table(report: dict[str, Any]) -> None:
    calm = report["shuffled"]
    lines = [
        ("first model, frozen", report["frozen"], report["frozen_interval"], 0),
        (
            "retrained monthly (sliding)",
            report["monthly"],
            report["monthly_interval"],
            report["monthly_retrainings"],
        ),
        ("Flyball", report["served"], report["served_interval"], report["retrainings"]),
        ("Flyball, rows shuffled", calm["served"], calm["served_interval"], calm["retrainings"]),
    ]
    print(
        f"\n{'mean absolute error, rentals an hour':38} {'error':>7} {'95 % interval':>18} {'retrainings':>12}"
    )
    for name, error, bounds, count in lines:
        print(f"{name:38} {error:7.1f} {bounds[0]:8.1f} to {bounds[1]:5.1f} {count:12d}")
    low, high = report["gain_interval"]
    print(f"gain over frozen: {report['gain']:.1f} ({low:.1f} to {high:.1f}), paired, blocks of 7 days")
    print(f"shuffled, frozen: {calm['frozen']:.1f}")
    counts = ", ".join(f"{count:,} {name}" for name, count in report["predictions"].items())
    print(f"predictions: {counts}, {report['lost']} lost")
    replayed = "identical" if report["trace"]["replayed"]["identical"] else "DIFFERENT"
    print(f"one prediction traced and replayed ({replayed}): {report['trace']['link']}")
    print(f"report: {OUT / 'report.html'} ({report['seconds']:.0f} s)")
    print(
        f"look around: export FLYBALL_HOME={OUT / 'home'}; flyball replay {report['trace']['id']}", flush=True
    )


def _check(report: dict[str, Any]) -> None:
    """The demo fails loudly when the loop did not do its job."""
    wrong = []
    sent = report["predictions"]
    if not sent["sent"] == sent["answered"] == sent["logged"] or report["lost"]:
        wrong.append(f"predictions were lost: {sent}")
    if report["gain_interval"][0] <= 0:
        wrong.append("the gain over the frozen model is not proven")
    if report["promotions"] < 1 or report["retrainings"] < 1 or report["unnamed_retrainings"]:
        wrong.append("no retraining named its signal and led to a promotion")
    if not report["fault"]["held"] or report["fault"]["trained"]:
        wrong.append(f"the unit error was not held: {report['fault']}")
    if report["worse_candidate"]["state"] != "refused":
        wrong.append(f"the worse candidate was not refused: {report['worse_candidate']}")
    if wrong:
        sys.exit("the demo failed: " + "; ".join(wrong))


if __name__ == "__main__":
    main()
