"""What a repository says of how its model is looked after is found where it stands, and nothing else is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from flyball.app import write_workflows
from flyball.operations.rubric import repository

GITHUB = ".github/workflows/model.yml"


def _write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("name", "text", "places"),
    [
        (GITHUB, "on: [pull_request]\nrun: flyball ci --post\n", [f"{GITHUB}:2"]),
        (GITHUB, "on: workflow_dispatch\nrun: flyball ci\n", []),
        (GITHUB, "on: push\n# run: flyball ci\n", []),
        (GITHUB, "on: push\nrun: flyball ci init github\n", []),
        (GITHUB, "on: push\nrun: flyball ci affected --json\n", []),
        (GITHUB, "on: push\nrun: flyball ci post reports\n", []),
        (GITHUB, "on: push\nrun: flyball ci ./models/shop --report out\n", [f"{GITHUB}:2"]),
        (".gitlab-ci.yml", "check:\n  script:\n    - flyball test\n", [".gitlab-ci.yml:3"]),
        ("Jenkinsfile", "// flyball ci\nsh 'flyball ci'\n", ["Jenkinsfile:2"]),
        ("docs/ci.yml", "on: push\nrun: flyball ci\n", []),
    ],
)  # fmt: skip
def test_only_workflows_that_run_by_themselves_check_a_change(
    tmp_path: Path, name: str, text: str, places: list[str]
):
    _write(tmp_path, name, text)
    assert repository.find_checks(tmp_path) == places


@pytest.mark.parametrize(
    ("host", "check", "clock"),
    [
        ("github", ".github/workflows/flyball.yml", ".github/workflows/flyball-schedule.yml"),
        ("gitlab", ".gitlab-ci.yml", ".gitlab-ci.yml"),
        ("azure", "azure-pipelines-flyball.yml", "azure-pipelines-flyball.yml"),
        ("jenkins", "Jenkinsfile.flyball", "Jenkinsfile.flyball"),
    ],
)
def test_workflows_that_flyball_writes_check_changes_and_work_by_the_clock(
    tmp_path: Path, host: str, check: str, clock: str
):
    subprocess.run(["git", "init", "--quiet", "."], cwd=tmp_path, check=True, timeout=60)
    _write(tmp_path, "flyball.toml", '[model]\nname = "shop"\n')
    write_workflows(tmp_path, host, force=False, only_print=False)
    assert check in {place.rpartition(":")[0] for place in repository.find_checks(tmp_path)}
    assert clock in {place.rpartition(":")[0] for place in repository.find_schedules(tmp_path)}


def test_work_by_the_clock_is_found(tmp_path: Path):
    _write(
        tmp_path,
        ".github/workflows/a.yml",
        "on:\n  schedule:\n    - cron: '0 3 * * *'\nrun: flyball retrain shop\n",
    )
    _write(tmp_path, ".github/workflows/b.yml", "on: push\nrun: flyball retrain shop\n")
    assert repository.find_schedules(tmp_path) == [".github/workflows/a.yml:4"]


def test_files_that_ask_for_updates_are_found(tmp_path: Path):
    assert repository.find_updates(tmp_path) == []
    _write(tmp_path, ".github/dependabot.yml", "version: 2\n")
    assert repository.find_updates(tmp_path) == [".github/dependabot.yml"]


def test_tests_are_followed_to_the_code_they_lead_to(tmp_path: Path):
    _write(tmp_path, "features.py", "import math\n")
    _write(tmp_path, "train.py", "from features import build\n")
    _write(tmp_path, "other.py", "")
    _write(tmp_path, "tests/test_features.py", "import features\n")
    _write(tmp_path, "tests/test_train.py", "from train import train\n")
    _write(tmp_path, "tests/conftest.py", "import other\n")
    found = repository.tests_of_modules(tmp_path, ["features", "train", "other"])
    assert found == {
        "features": ["tests/test_features.py", "tests/test_train.py"],
        "train": ["tests/test_train.py"],
        "other": [],
    }


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("docs/x.md", True),
        ("docs/x.md#a-heading", True),
        ("docs/empty.md", False),
        ("docs/none.md", False),
        ("../outside.md", False),
        ("docs", False),
        ("https://wiki.example.com/features", True),
        ("http://", False),
    ],
)
def test_a_document_is_a_file_of_the_repository_or_a_web_address(tmp_path: Path, where: str, expected: bool):
    root = tmp_path / "repository"
    _write(root, "docs/x.md", "words")
    _write(root, "docs/empty.md", "")
    _write(tmp_path, "outside.md", "words")
    assert repository.is_there(where, root, root) is expected
