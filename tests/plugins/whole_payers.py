"""A project for batch scoring: a binary model with entity and time that rejects what breaks its contract."""

from __future__ import annotations

import csv
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flyball_tests_whole import Whole

PROJECT = """
[model]
name = "payers"
task = "binary"
target = "late"
positive = "yes!"
entity = "client"
time = "month"
[data]
source = "rows.csv"
exclude = ["note"]
[contract]
on_violation = "reject"
[contract.features.age]
type = "int"
min = 18
max = 120
[contract.features.debt]
type = "float"
nullable = true
[train]
entry = "train:train"
[serve]
max_rows = 300
"""
TRAIN = """
import lightgbm


def train(X, y, seed):
    return lightgbm.LGBMClassifier(n_estimators=5, random_state=seed, n_jobs=1, verbose=-1).fit(X, y)
"""
NAMES = ("client", "month", "age", "debt", "note", "late")


def payers(count: int, seed: int = 5) -> list[dict[str, Any]]:
    """Rows in the order of their clients; some without a debt."""
    chance = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for number in range(count):
        age, debt = chance.randint(18, 90), chance.choice([None, round(chance.uniform(0, 100), 2)])
        late = (debt or 50) + chance.gauss(0, 20) > 60
        day = f"2026-03-{number % 28 + 1:02d}T00:00:00"
        values = (f"c{number:06d}", day, age, debt, f"n{number}", "yes!" if late else "no?")
        rows.append(dict(zip(NAMES, values, strict=True)))
    return rows


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The rows as a file."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="session")
def payers_home(tmp_path_factory: pytest.TempPathFactory, child_environment: dict[str, str]) -> Path:
    """A project whose version 1 is in service, and a file `month.csv` to be scored; for copies."""
    folder = tmp_path_factory.mktemp("payers") / "payers"
    folder.mkdir()
    (folder / "flyball.toml").write_text(PROJECT)
    (folder / "train.py").write_text(TRAIN)
    write_csv(folder / "rows.csv", payers(600))
    write_csv(folder / "month.csv", payers(700, seed=6))
    made = Whole(folder, child_environment)
    made.flyball("run")
    made.flyball("deploy", "payers", "--why", "first version")
    return folder


@pytest.fixture
def payers_project(tmp_path: Path, payers_home: Path, child_environment: dict[str, str]) -> Iterator[Whole]:
    """A copy of the project; nothing is running."""
    folder = tmp_path / "payers"
    shutil.copytree(payers_home, folder)
    made = Whole(folder, child_environment)
    yield made
    made.down()


@pytest.fixture(scope="module")
def payers_served(
    tmp_path_factory: pytest.TempPathFactory, payers_home: Path, child_environment: dict[str, str]
) -> Iterator[Whole]:
    """A copy of the project with a model server, shared by the tests of a file."""
    folder = tmp_path_factory.mktemp("served-payers") / "payers"
    shutil.copytree(payers_home, folder)
    made = Whole(folder, child_environment)
    made.start("serve", "--port", str(made.serve_port))
    made.wait(lambda: made.call(made.serve_port, "GET", "/v2/models/payers/ready")[0] == 200, "the server")
    yield made
    made.down()
