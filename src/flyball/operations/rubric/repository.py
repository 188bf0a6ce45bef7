"""What a repository says of how a model is looked after: workflows, updates of packages, tests, documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from flyball.operations.ci.changed_files import walk_files
from flyball.operations.ci.imports import ImportGraph

MOST_FILES = 20_000
_HOSTS = (
    ".github/workflows/*.yml",
    ".github/workflows/*.yaml",
    ".gitlab-ci.yml",
    ".gitlab/*.yml",
    ".gitlab/ci/*.yml",
    "azure-pipelines*.yml",
    "Jenkinsfile*",
    ".circleci/config.yml",
    "bitbucket-pipelines.yml",
)
_UPDATERS = (
    ".github/dependabot.yml",
    ".github/dependabot.yaml",
    "renovate.json",
    "renovate.json5",
    ".renovaterc",
    ".renovaterc.json",
    ".github/renovate.json",
    ".gitlab/renovate.json",
)
_CI = r"ci(?!\s+(init|affected|post|deploy)\b)"  # what checks, and not what is done with checks
_CHECK = re.compile(rf"\bflyball\s+({_CI}|test)\b")
_WORK = re.compile(rf"\bflyball\s+(run|monitor|retrain|{_CI})\b")
# A workflow of GitHub that only a person starts checks nothing by itself; other hosts run what is there on each push.
_BY_ITSELF = re.compile(r"\b(push|pull_request|merge_group|schedule)\b")
_BY_CLOCK = re.compile(r"\b(cron|schedules?)\b")


def find_checks(root: Path) -> list[str]:
    """Where workflows check a model on each change, as file:line."""
    return [place for place, text in _lines_with(root, _CHECK) if _runs_by_itself(place, text)]


def find_schedules(root: Path) -> list[str]:
    """Where workflows work on a model by the clock, as file:line."""
    return [place for place, text in _lines_with(root, _WORK) if _BY_CLOCK.search(text)]


def find_updates(root: Path) -> list[str]:
    """Files by which a host tells of new releases of the packages that the repository uses."""
    return [name for name in _UPDATERS if (root / name).is_file()]


def tests_of_modules(folder: Path, modules: list[str]) -> dict[str, list[str]]:
    """By module: the files of the project's own tests that lead to it by what they import. Nothing is run."""
    files = [path for path in walk_files(folder) if path.endswith(".py")][:MOST_FILES]
    tests = [
        path for path in files if path.startswith("tests/") and path.rpartition("/")[2].startswith("test")
    ]
    graph = ImportGraph(folder, files, [""])
    reached = {path: set(graph.reached("", [path])) for path in tests}
    found: dict[str, list[str]] = {}
    for module in modules:
        targets = set(graph.entry_files("", [module])[-1:])
        found[module] = [path for path in tests if targets & reached[path]]
    return found


def is_there(where: str, folder: Path, root: Path) -> bool:
    """Whether a document can be where a project says: a file that is not empty, in the repository, or a web address."""
    if re.match(r"https?://[^\s/]+\.[^\s/]+", where):
        return True
    path = (folder / where.partition("#")[0]).resolve()
    return path.is_relative_to(root.resolve()) and path.is_file() and path.stat().st_size > 0


def _lines_with(root: Path, sign: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """The first line of each workflow with a sign, and the workflow's text; comments don't count."""
    for path in sorted(path for pattern in _HOSTS for path in root.glob(pattern) if path.is_file()):
        lines = [
            re.sub(r"(^|\s)(#|//).*", "", line)
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        ]
        for number, line in enumerate(lines, 1):
            if sign.search(line):
                yield f"{path.relative_to(root).as_posix()}:{number}", "\n".join(lines)
                break


def _runs_by_itself(place: str, text: str) -> bool:
    return not place.startswith(".github/") or _BY_ITSELF.search(text) is not None
