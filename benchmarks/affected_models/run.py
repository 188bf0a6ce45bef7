"""How long `flyball ci affected` takes in a repository of 200 models that share one library, as a process of its own.

Each model has six modules of some 40 lines, tests and rows of its own; a third of them import the changed corner of the
library, three files away. Four changes: of one model, of the library, of the root's lock, and of every file. Limit:
2 s, the median of five, on a machine with nothing else to do. Beside it, what one process per model would take with
nothing to do but ask git whether its folder changed. Exit code 1 above the limit, or where the models found are not
those that import what changed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT_SECONDS = 2.0
REPEATS = 5
MODULES = ("train", "features", "frames", "checks", "figures", "settings")
TOML = (
    '[model]\nname = "{name}"\ntask = "binary"\ntarget = "y"\n[data]\nsource = "rows.csv"\n[train]\n'
    'entry = "train:train"\n[[steps]]\nname = "features"\nentry = "features:build"\n'
)
FUNCTION = '''

def part_{number}(rows, limit=10):
    """Some lines as a project has them."""
    kept = []
    for row in rows:
        if row["x"] > limit and row["y"] is not None:
            kept.append({{**row, "z": row["x"] * 2.5 + {number}}})
    return kept
'''


def make_repository(root: Path, models: int) -> list[str]:
    """Write and commit the models on `main`; the names of those that import the corner of the library."""
    library = root / "libs" / "shared" / "src" / "shared"
    write(root / "libs" / "shared" / "pyproject.toml", '[project]\nname = "shared"\nversion = "1"\n')
    write(root / "uv.lock", "version = 1\n")
    write(library / "__init__.py", "")
    for number in range(40):
        write(
            library / f"part_{number}.py",
            module(f"from shared import part_{number - 1}" if number % 10 else ""),
        )
    importing = []
    for number in range(models):
        name, folder = f"model-{number:03d}", root / "models" / f"model_{number:03d}"
        write(folder / "flyball.toml", TOML.format(name=name))
        write(folder / "rows.csv", "x,y\n1,0\n")
        for own, then in zip(MODULES, (*MODULES[1:], "json"), strict=True):
            write(folder / f"{own}.py", module(f"import {then}"))
        # The corner is the library's part_0; part_3 leads to it over two others, part_13 does not.
        used = "part_3" if number % 3 == 0 else "part_13"
        write(folder / "settings.py", module(f"from shared.{used} import part_1"))
        write(folder / "tests" / "test_it.py", module("from train import part_1"))
        if number % 3 == 0:
            importing.append(name)
    git(root, "init", "--quiet", "--initial-branch=main", ".")
    commit(root)
    return importing


def module(first: str) -> str:
    """The text of a module that begins with an import."""
    return first + "".join(FUNCTION.format(number=number) for number in range(5))


def write(path: Path, text: str) -> None:
    """Write a file and the folders it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def git(root: Path, *arguments: str) -> None:
    """Run git as somebody."""
    who = ["-c", "user.name=A Person", "-c", "user.email=person@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)


def commit(root: Path) -> None:
    """Commit everything."""
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "a commit")


def measure(root: Path) -> tuple[float, float, list[str]]:
    """Seconds of the command, the median of some, its seconds of processor time, and the models that it names."""
    command = [sys.executable, "-m", "flyball", "ci", "affected", "--base", "main", "--json"]
    seconds, said, busy = [], "", processor_seconds()
    for _ in range(REPEATS):
        began = time.perf_counter()
        said = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
        seconds.append(time.perf_counter() - began)
    busy = (processor_seconds() - busy) / REPEATS
    return statistics.median(seconds), busy, [one["model"] for one in json.loads(said)["models"]]


def processor_seconds() -> float:
    """Processor time of all children that ended so far: what other programs on the machine do not lengthen."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure_rival(root: Path, models: int) -> float:
    """Seconds for asking git once per model whether its folder changed: no imports, data or locks looked at."""
    began = time.perf_counter()
    for number in range(models):
        subprocess.run(
            ["git", "diff", "--quiet", "main...HEAD", "--", f"models/model_{number:03d}"],
            cwd=root,
            check=False,
        )
    return time.perf_counter() - began


def main() -> int:
    """Measure and print; 1 above the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=200)
    models = parser.parse_args().models
    os.environ["CI"] = "true"
    with tempfile.TemporaryDirectory(prefix="flyball-affected-") as place:
        root = Path(place)
        importing = make_repository(root, models)
        everyone = [f"model-{number:03d}" for number in range(models)]
        changes = {
            "one model": ("models/model_001/train.py", ["model-001"]),
            "the library": ("libs/shared/src/shared/part_0.py", importing),
            "the root's lock": ("uv.lock", everyone),
            "every file": ("**/*.py", everyone),
        }
        slowest = 0.0
        for what, (path, expected) in changes.items():
            git(root, "checkout", "--quiet", "-B", "change", "main")
            for found in sorted(root.glob(path)):
                with found.open("a") as file:
                    file.write("\n# changed\n")
            commit(root)
            seconds, busy, named = measure(root)
            print(
                f"{what:16} {seconds:5.2f} s (limit {LIMIT_SECONDS:g} s), {busy:5.2f} s of processor time, "
                f"{len(named):3d} of {models} affected"
            )
            if named != expected:
                print(f"  expected {len(expected)}: {', '.join(expected[:5])} …")
                return 1
            slowest = max(slowest, seconds)
        print(f"{'git, per model':16} {measure_rival(root, models):5.2f} s, own folders only")
    return 0 if slowest <= LIMIT_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
