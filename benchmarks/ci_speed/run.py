"""`flyball ci` on 30,000 rows: seconds of an unchanged repository and of a change, stage by stage, beside their limits.

A repository is made with one model in service: two classes, 22 features, five gates (one of which draws resamples),
four model tests, a protected column. Then the same commit is checked again, and a change of a parameter, which is
compared with champion and base. Rows are made from a seed or, with --data, read from a table with the columns of the
credit example (Yeh, 2009, UCI, doi:10.24432/C55S3H). Training is told apart: it is the user's, not ours. CPU seconds
are those of all processes together, trainings included; the seconds of a busy machine say little without them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

UNCHANGED_LIMIT, CHANGED_LIMIT, REPORT_LIMIT_KB = 5.0, 20.0, 200.0
TARGET = "default_next_month"
DELAYS = ["pay_0", *(f"pay_{month}" for month in range(2, 7))]

TOML = """
[model]
name = "credit"
task = "binary"
target = "default_next_month"
entity = "id"
[data]
source = "{source}"
protected = ["sex"]
[data.split]
by = "random"
test = 0.3
[train]
entry = "train:train"
frames = "numpy"
params = {{ learning_rate = 0.08 }}
[[gates]]
metric = "roc_auc"
min = 0.6
[[gates]]
metric = "log_loss"
versus = "champion"
max_increase = 0.01
[[gates]]
metric = "average_precision"
versus = "champion"
max_decrease = 0.03
[[gates]]
metric = "true_positive_rate"
by = "sex"
max_gap = 0.3
[[gates]]
metric = "latency_p99_ms"
max = 100
[[tests]]
kind = "direction"
feature = "pay_0"
effect = "not lower"
max_change = 0.5
max_share = 0.5
[[tests]]
kind = "invariance"
feature = "marriage"
max_change = 0.5
max_share = 0.5
[[tests]]
kind = "baseline"
metric = "roc_auc"
[[tests]]
kind = "golden"
"""
TRAIN = """
import lightgbm


def train(X, y, params, seed):
    return lightgbm.LGBMClassifier(
        n_estimators=150, num_leaves=15, learning_rate=params["learning_rate"], random_state=seed, verbose=-1
    ).fit(X, y)
"""


def make_rows(count: int, seed: int) -> pl.DataFrame:
    """Rows like those of the credit example: whoever is late with payments tends to default."""
    rng = np.random.default_rng(seed)
    trouble = rng.normal(size=count)
    columns: dict[str, Any] = {"id": np.arange(count)}
    columns |= {"limit_bal": rng.integers(1, 80, count) * 10_000, "sex": rng.integers(1, 3, count)}
    columns |= {"education": rng.integers(1, 5, count), "marriage": rng.integers(1, 4, count)}
    columns["age"] = rng.integers(21, 75, count)
    for name in DELAYS:
        columns[name] = np.clip(np.round(trouble + rng.normal(size=count) - 0.5), -2, 8).astype(int)
    for month in range(1, 7):
        columns[f"bill_amt{month}"] = rng.normal(50_000, 40_000, count).astype(int)
        columns[f"pay_amt{month}"] = rng.gamma(1.0, 5_000, count).astype(int)
    chance = 1 / (1 + np.exp(1.7 - trouble))
    return pl.DataFrame({**columns, TARGET: (rng.random(count) < chance).astype(int)})


class Repository:
    """A repository with the project, and `flyball` in it."""

    def __init__(self, folder: Path, data: Path | None, rows: int) -> None:
        self.folder = folder
        self._environment = {**os.environ, "FLYBALL_HOME": str(folder / ".flyball")}
        source = "rows.parquet" if data is None else data.name
        if data is None:
            make_rows(rows, seed=7).write_parquet(folder / source)
        else:
            shutil.copyfile(data, folder / source)
        (folder / "flyball.toml").write_text(TOML.format(source=source))
        (folder / "train.py").write_text(TRAIN)
        (folder / ".gitignore").write_text(".flyball/\nout/\n")
        self._git("init", "--quiet", "--initial-branch=main", ".")
        self.commit("the first model")

    def commit(self, why: str) -> None:
        """Commit all files."""
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", why)

    def change(self) -> None:
        """A branch on which a parameter is another one."""
        self._git("checkout", "--quiet", "-b", "slower")
        settings = self.folder / "flyball.toml"
        settings.write_text(settings.read_text().replace("= 0.08", "= 0.05"))
        self.commit("learn more slowly")

    def check(self, what: str) -> dict[str, Any]:
        """The report of a check, with its seconds from outside (`elapsed`) and those besides training (`rest`)."""
        known = self._runs()
        began, worked = time.monotonic(), _cpu_seconds()
        report: dict[str, Any] = json.loads(self.flyball("ci", "--json", "--report", "out"))
        elapsed, worked = time.monotonic() - began, _cpu_seconds() - worked
        training = sum(self._train_seconds(run) for run in self._runs() - known)
        stages = ", ".join(f"{stage['name']} {stage['seconds']:.1f}" for stage in report["stages"])
        print(
            f"{what}: {report['outcome']} after {elapsed:.1f} s, training {training:.1f} s of it; "
            f"CPU {worked:.1f} s ({stages})"
        )
        return {**report, "elapsed": elapsed, "rest": elapsed - training}

    def flyball(self, *arguments: str) -> str:
        """What a command prints; an answer of no, or of not enough evidence, is an answer."""
        command = [sys.executable, "-m", "flyball", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode not in (0, 1, 4):
            sys.exit(done.stderr)
        return done.stdout

    def _runs(self) -> set[str]:
        return {run["id"] for run in json.loads(self.flyball("runs", "--json"))}

    def _train_seconds(self, run: str) -> float:
        steps = json.loads(self.flyball("runs", "show", run, "--json"))["steps"]
        trained = [step for step in steps if step["name"] == "train" and not step["cached"]]
        moments = [
            [datetime.fromisoformat(step[key]) for key in ("started_at", "finished_at")] for step in trained
        ]
        return sum((ended - began).total_seconds() for began, ended in moments)

    def _git(self, *arguments: str) -> None:
        who = [
            "-c",
            "user.name=A Person",
            "-c",
            "user.email=person@example.org",
            "-c",
            "commit.gpgsign=false",
        ]
        subprocess.run(["git", *who, *arguments], cwd=self.folder, check=True)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, help="the credit example's table instead of made rows")
    parser.add_argument("--rows", type=int, default=30_000, help="how many to make")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flyball-bench-") as folder:
        print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
        repository = Repository(Path(folder), given.data, given.rows)
        repository.check("first commit")
        repository.flyball("deploy", "credit", "--strategy", "immediate", "--why", "to compare with")
        repository.check("with a champion")
        unchanged = repository.check("unchanged")
        repository.change()
        changed = repository.check("a change")
        forms = {
            path.name: path.stat().st_size / 1000
            for path in (Path(folder) / "out").iterdir()
            if path.is_file()
        }
        largest = max(forms, key=lambda name: forms[name])
    print(f"unchanged: {unchanged['elapsed']:.1f} s (limit {UNCHANGED_LIMIT:g} s)")
    print(f"a change, besides training: {changed['rest']:.1f} s (limit {CHANGED_LIMIT:g} s)")
    print(f"largest form of the report: {largest}, {forms[largest]:.0f} KB (limit {REPORT_LIMIT_KB:g} KB)")


if __name__ == "__main__":
    main()
