"""`flyball ci deploy`: only the version of a check that passed, of this commit, and only to where it stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flyball_tests_repositories import git

from flyball.operations.ci.merged import find_tested

ENVIRONMENTS = (
    '[environments.staging]\n[environments.eu-test]\n[environments.production]\nafter = "staging"\n'
)
DIGEST = "sha256:" + "4" * 64


@pytest.fixture
def deploy(
    make_project: Callable[..., Path], command: Callable[..., Any], ci_reports: Any, tmp_path: Path
) -> Callable[..., Any]:
    """`flyball ci deploy` for a project and a report of its commit, in which some fields say something else."""

    def run(more: str = "", asked: dict[str, str] | None = None, **fields: Any) -> Any:
        folder = make_project(more=more)
        for name, text in (asked or {}).items():
            (folder / "deployments").mkdir(exist_ok=True)
            (folder / "deployments" / f"{name}.toml").write_text(text)
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


def test_a_merge_deploys_to_environments_that_come_after_no_other_or_else_to_this_home(
    deploy: Any, tmp_path: Path
):
    deploy(ENVIRONMENTS)
    folder, report = tmp_path / "projects" / "line", tmp_path / "report.json"
    tested = find_tested(folder, report, {})
    assert (tested.ref, tested.environments, tested.here) == (f"line@{DIGEST}", ["staging", "eu-test"], False)
    deploy()
    tested = find_tested(folder, report, {})
    assert (tested.environments, tested.here) == ([], True)


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


def asking(environment: str | None, version: str, model: str = "line") -> str:
    head = "" if environment is None else f'environment = "{environment}"\n'
    return f'{head}[deployments.{model}]\nversion = "{version}"\n'


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("champion of production", f'write version = "{DIGEST}" there, as a change of its own'),
        ("sha256:" + "5" * 64, "deployments/a.toml:2 decides what staging serves"),
        (
            DIGEST[:20],
            "deployments/a.toml:2 names it for staging: `flyball apply deployments/a.toml` deploys it",
        ),
    ],
)
def test_where_a_file_decides_nothing_is_deployed_and_what_to_write_into_it_is_told(
    deploy: Any, version: str, told: str, tmp_path: Path
):
    said = deploy(ENVIRONMENTS.replace("[environments.eu-test]\n", ""), {"a": asking("staging", version)})
    assert said.code == 0 and told in said.out, said.err
    assert "FLYBALL_DATABASE" not in said.out
    assert not list(tmp_path.rglob("environments")), "no home of an environment was made"


def test_a_file_for_this_home_decides_for_it_and_needs_no_place_to_deploy_to(
    deploy: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CI", "true")
    said = deploy(asked={"here": asking(None, "sha256:" + "5" * 12)})
    assert said.code == 0 and "decides what this home serves" in said.out, said.err
    assert "FLYBALL_DATABASE is not set, so no later job knows this version" in said.out


def test_files_about_other_models_and_later_environments_decide_nothing(
    deploy: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CI", "true")
    files = {"a": asking("staging", DIGEST, "another"), "b": asking("production", DIGEST)}
    files |= {".draft": asking("staging", DIGEST)}  # which `deployments/*.toml` of a shell leaves out
    said = deploy(ENVIRONMENTS, files)
    assert said.code == 2 and "Set FLYBALL_STAGING_DATABASE" in said.err


def test_a_file_that_decides_for_one_environment_leaves_the_others_to_the_merge(
    deploy: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CI", "true")
    said = deploy(ENVIRONMENTS, {"a": asking("staging", DIGEST)})
    assert said.code == 2 and "Set FLYBALL_EU_TEST_DATABASE" in said.err and "STAGING" not in said.err


def test_a_file_that_can_not_be_read_may_be_the_one_that_decides_so_nothing_is_deployed(deploy: Any):
    said = deploy(ENVIRONMENTS, {"a": "environment = "})
    assert said.code == 2 and "a.toml:1" in said.err, said.err
