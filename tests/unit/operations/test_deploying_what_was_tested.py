"""`flyball ci deploy`: only the version of a check that passed, of this commit, and only to where it stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flyball_tests_repositories import git

ENVIRONMENTS = (
    '[environments.staging]\n[environments.eu-test]\n[environments.production]\nafter = "staging"\n'
)
DIGEST = "sha256:" + "4" * 64


@pytest.fixture
def deploy(
    make_project: Callable[..., Path], command: Callable[..., Any], ci_reports: Any, tmp_path: Path
) -> Callable[..., Any]:
    """`flyball ci deploy` for a project and a report of its commit, in which some fields say something else."""

    def run(more: str = "", **fields: Any) -> Any:
        folder = make_project(more=more)
        git(folder, "init", "--quiet", ".")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", "a model")
        told = {"model": "line", "digest": DIGEST, "commit": git(folder, "rev-parse", "HEAD"), **fields}
        report = msgspec.structs.replace(ci_reports.good(), **told)
        path = tmp_path / "report.json"
        path.write_bytes(msgspec.json.encode(report))
        return command("ci", "deploy", str(folder), "--report", str(path), "--why", "merged", cwd=tmp_path)

    return run


@pytest.mark.parametrize(
    ("fields", "code", "told"),
    [
        ({"outcome": "fail", "because": ["mae is too large"]}, 1, "mae is too large"),
        (
            {"outcome": "inconclusive", "because": ["too few rows"]},
            4,
            "is not decided, so nothing is deployed",
        ),
        ({"outcome": "broken"}, 1, "ended with 'broken'"),
        ({"digest": None}, 1, "nothing is deployed"),
        ({"digest": "1"}, 1, "in place of a digest"),
        ({"digest": "champion"}, 1, "in place of a digest"),
        ({"digest": DIGEST[:20]}, 1, "in place of a digest"),
        ({"model": "another"}, 2, "the report is about another"),
        ({"commit": "0" * 40}, 1, "what is deployed is what was tested"),
        ({"commit": None}, 1, "what is deployed is what was tested"),
    ],
)
def test_what_is_not_a_passed_check_of_this_commit_is_not_deployed(
    deploy: Any, fields: dict[str, Any], code: int, told: str
):
    said = deploy(**fields)
    assert said.code == code and told in said.err


def test_what_a_report_says_is_shown_without_commands_to_the_terminal(deploy: Any):
    said = deploy(outcome="fail", because=["\x1b[2Jgone", "b\r\x07"], what_to_do="x")
    assert said.code == 1 and "?[2Jgone; b??" in said.err and "\x1b" not in said.err


def test_a_version_that_is_in_no_home_is_not_deployed(deploy: Any):
    said = deploy()
    assert said.code == 2 and "there is no model 'line'" in said.err


def test_a_job_does_not_deploy_into_what_goes_with_it(deploy: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CI", "true")
    said = deploy()
    assert said.code == 2 and "goes with this job. Set FLYBALL_DATABASE" in said.err


def test_a_job_has_to_know_where_each_first_environment_is(
    deploy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("FLYBALL_STAGING_DATABASE", f"sqlite:///{tmp_path / 'staging.db'}")
    said = deploy(ENVIRONMENTS)
    assert said.code == 2 and "Set FLYBALL_EU_TEST_DATABASE" in said.err and "PRODUCTION" not in said.err
