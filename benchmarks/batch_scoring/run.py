"""`flyball score` on rows of 23 numbers, beside the same model asked in one call in one process, without server or log.

Prints rows per second of both, seconds of the whole command with a server of its own, and the command's peak memory.
Needs half a minute for 30,000 rows; `--rows 1000000` a minute and a half.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

FEATURES = [f"f{number:02d}" for number in range(23)]
PROJECT = """
[model]
name = "bench"
task = "binary"
target = "y"
entity = "id"
[data]
source = "train.parquet"
[train]
entry = "train:train"
"""
TRAIN = """
from lightgbm import LGBMClassifier


def train(X, y, seed):
    return LGBMClassifier(n_estimators=100, random_state=seed, n_jobs=1, verbose=-1).fit(X, y)
"""


def rows(count: int, seed: int) -> pl.DataFrame:
    """Rows with their target, which five features tell half of."""
    inputs = np.random.default_rng(seed).normal(size=(count, len(FEATURES))).round(4)
    noise = np.random.default_rng(seed + 1).normal(size=count)
    frame = pl.DataFrame(inputs, schema=FEATURES)
    return frame.with_columns(
        id=pl.int_range(count), y=pl.Series(inputs[:, :5].sum(axis=1) + noise > 0).cast(int)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--format", choices=("csv", "parquet"), default="csv")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "flyball.toml").write_text(PROJECT)
        (folder / "train.py").write_text(TRAIN)
        rows(20_000, 7).write_parquet(folder / "train.parquet")
        asked = rows(given.rows, 17)
        asked.write_csv(folder / "rows.csv")
        asked.write_parquet(folder / "rows.parquet")
        environment = {**os.environ, "FLYBALL_HOME": str(folder / "home")}
        command = [sys.executable, "-m", "flyball"]
        for arguments in (["run"], ["deploy", "bench", "--why", "benchmark"]):
            subprocess.run(
                [*command, *arguments], cwd=folder, env=environment, check=True, capture_output=True
            )
        job = ["score", "bench", f"rows.{given.format}", f"out.{given.format}", "--json"]
        started = time.perf_counter()
        done = subprocess.run(
            [*command, *job], cwd=folder, env=environment, check=True, stdout=subprocess.PIPE
        )
        seconds = time.perf_counter() - started
        scored = json.loads(done.stdout)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        alone = _alone(folder, asked, environment)
    print(f"flyball score      {scored['rows'] / scored['seconds']:>12,.0f} rows/s")
    print(f"the model alone    {given.rows / alone:>12,.0f} rows/s")
    print(
        f"the whole command  {seconds:>12.1f} s, of which the server's start {seconds - scored['seconds']:.1f} s"
    )
    print(f"peak memory        {peak:>12,.0f} MB (the largest process of a run, a server or the command)")


def _alone(folder: Path, asked: pl.DataFrame, environment: dict[str, str]) -> float:
    """Seconds that the packaged model takes for all rows at once."""
    os.environ.update(environment)
    os.chdir(folder)
    import flyball

    predictor = flyball.load("bench@champion")
    started = time.perf_counter()
    predictor.predict_frame(asked.select(FEATURES))
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
