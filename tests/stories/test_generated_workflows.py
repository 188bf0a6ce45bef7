"""The workflows that `flyball ci init` writes, run: five kinds of change, and the deployment of what was tested."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

# The lines of the steps are the same on both hosts: of GitLab, the normal run sees the way into service and a change
# of nothing.
everywhere = pytest.mark.parametrize("hosted", ["github", "gitlab"], indirect=True)
mostly = pytest.mark.parametrize(
    "hosted", ["github", pytest.param("gitlab", marks=pytest.mark.long)], indirect=True
)


def change(hosted: Any, name: str, old: str, new: str, file: str = "train.py") -> None:
    """A branch off main with one change in the project."""
    hosted.branch(name)
    text = (hosted.project / file).read_text()
    assert old in text
    (hosted.project / file).write_text(text.replace(old, new))
    hosted.commit(name)


def checked(jobs: dict[str, Any]) -> tuple[Any, Any]:
    """The job that checked, and its one report."""
    name = next(
        name for name in jobs if name in ("check line", "flyball-check", "deploy line", "flyball-deploy")
    )
    assert len(jobs[name].reports) == 1, jobs[name].printed
    return jobs[name], jobs[name].reports[0]


def champion(hosted: Any) -> str:
    return str(hosted.champion())


def comment(hosted: Any) -> str:
    return str(hosted.comments.comments[-1]["body"])


@everywhere
def test_the_first_push_deploys_the_first_model(hosted: Any):
    job, report = checked(hosted.first)
    assert job.code == 0, job.printed
    assert report["outcome"] == "pass" and report["trained"] and champion(hosted) == report["digest"]


@everywhere
def test_a_change_that_passes_is_reported_and_after_the_merge_the_same_bytes_are_deployed_untrained(
    hosted: Any,
):
    change(hosted, "better", 'params.get("slope", 2.0)', 'params.get("slope", 2.01)')
    jobs = hosted.propose()
    job, report = checked(jobs)
    assert job.code == 0 and (report["outcome"], report["trained"]) == ("pass", True), job.printed
    assert "`flyball ci deploy`" in report["what_to_do"] and report["base"]["name"].startswith("main ")
    assert any(line["versus_base"] for line in report["metrics"])
    assert "✅ line" in comment(hosted) and "https://code.example" in comment(hosted)
    before = champion(hosted)
    assert before != report["digest"]

    job, again = checked(hosted.merge())
    assert job.code == 0, job.printed
    assert (again["digest"], again["trained"], again["outcome"]) == (report["digest"], False, "pass"), (
        job.printed
    )
    assert champion(hosted) == report["digest"]
    assert any("merged as " in why and "better" in why for why in hosted.reasons())


@mostly
def test_a_change_that_fails_its_gate_is_told_with_1_and_nothing_of_it_is_registered(hosted: Any):
    change(hosted, "worse", 'params.get("slope", 2', 'params.get("slope", 0')
    job, report = checked(hosted.propose())
    assert (job.code, report["outcome"], report["registered"]) == (1, "fail", False)
    assert "❌ line" in comment(hosted)


@mostly
def test_a_change_with_too_little_evidence_ends_with_4_says_so_and_deploys_nothing(hosted: Any):
    change(hosted, "undecided", "max = 1.0", "max = 0.35", "flyball.toml")
    before = champion(hosted)
    job, report = checked(hosted.propose())
    assert (job.code, report["outcome"]) == (4, "inconclusive"), report["because"]
    assert "Not enough evidence for models/a line" in job.printed and "⚠️ line" in comment(hosted)
    job, _ = checked(hosted.merge())
    assert job.code == 4 and "Nothing is deployed" in job.printed and champion(hosted) == before
    git_back(hosted)


@everywhere
def test_a_change_that_changes_nothing_of_the_model_trains_nothing(hosted: Any):
    # A change of the workflows asks about every model, and no step of the model rests on them.
    hosted.branch("words")
    file = hosted.work / {"github": ".github/workflows/flyball.yml", "gitlab": ".gitlab-ci.yml"}[hosted.kind]
    file.write_text("# A word.\n" + file.read_text())
    hosted.commit("words")
    before = champion(hosted)
    job, report = checked(hosted.propose())
    assert (job.code, report["outcome"], report["trained"]) == (0, "pass", False), job.printed
    assert report["digest"] == before and "✅ line" in comment(hosted)


@mostly
def test_a_change_beside_all_models_checks_none(hosted: Any):
    hosted.branch("elsewhere")
    (hosted.work / "notes.txt").write_text("notes\n")
    hosted.commit("elsewhere")
    jobs = hosted.propose()
    assert all(job.code == 0 and job.reports == [] for job in jobs.values())
    assert "check line" not in jobs


@mostly
def test_a_broken_change_ends_with_3_and_leaves_nothing_registered(hosted: Any):
    change(hosted, "broken", "x = X[:, 0]", "x = X[:, 9]")
    job, report = checked(hosted.propose())
    assert (job.code, report["outcome"], report["registered"]) == (3, "broken", False)
    assert "index 9 is out of bounds" in report["because"][0] and "🛑 line" in comment(hosted)


@pytest.mark.long
@everywhere
def test_a_change_of_a_stranger_is_checked_without_secrets_and_keeps_nothing_for_others(hosted: Any):
    change(hosted, "stranger", 'params.get("slope", 2', 'params.get("slope", 1.9 + 0')
    count = len(hosted.comments.comments)
    objects = sorted(path for path in (hosted.folder / "store").rglob("*") if path.is_file())
    jobs = hosted.propose(fork=True)
    job, report = checked(jobs)
    assert (job.code, report["trained"]) == (0, True), job.printed
    assert sorted(path for path in (hosted.folder / "store").rglob("*") if path.is_file()) == objects
    if hosted.kind == "github":
        assert "post" not in jobs and len(hosted.comments.comments) == count


@mostly
def test_the_schedule_looks_at_every_environment_and_too_few_rows_are_no_failure(hosted: Any):
    jobs = hosted.watch()
    printed = "".join(job.printed for job in jobs.values())
    assert all(job.code == 0 for job in jobs.values()), printed
    assert "too little was seen yet to say how line is doing in staging" in printed


@everywhere
def test_a_rollback_by_hand_puts_the_previous_champion_back_with_its_reason(hosted: Any):
    _, first = checked(hosted.first)
    if champion(hosted) == first["digest"]:
        change(hosted, "another", 'params.get("slope", 2', 'params.get("slope", 1.95 + 0')
        assert all(job.code == 0 for job in hosted.merge().values())
    assert champion(hosted) != first["digest"]
    jobs = hosted.by_hand("rollback", 'com"plaints; $(touch pwned)')
    assert [job.code for job in jobs.values()] == [0], [job.printed for job in jobs.values()]
    assert champion(hosted) == first["digest"]
    assert any('com"plaints; $(touch pwned)' in why for why in hosted.reasons())
    assert not list(hosted.folder.rglob("pwned"))


def git_back(hosted: Any) -> None:
    """Main as it was before the last merge, so that each test begins with a model in order."""
    import subprocess

    run = ["git", "push", "--quiet", "--force", "origin", "origin/main~1:main"]
    subprocess.run(run, cwd=hosted.work, check=True, capture_output=True)
    subprocess.run(["git", "fetch", "--quiet"], cwd=hosted.work, check=True, capture_output=True)


FILE = "deployments/staging.toml"


def ask(hosted: Any, digest: str, branch: str = "by-files") -> None:
    """A branch off main whose deployments file asks for a version of the model in staging."""
    hosted.branch(branch)
    file = hosted.work / FILE
    file.parent.mkdir(exist_ok=True)
    file.write_text(f'environment = "staging"\n[deployments.line]\nversion = "{digest}"\n')
    hosted.commit(branch)


def planned(jobs: dict[str, Any]) -> Any:
    return next(job for name, job in jobs.items() if name in ("plan", "flyball-plan"))


def applied(jobs: dict[str, Any]) -> Any:
    return next(job for name, job in jobs.items() if name in ("apply staging", "flyball-apply-staging"))


@pytest.fixture
def by_files(hosted: Any) -> Iterator[Any]:
    """The host, with a database that knows all versions; afterwards main has no deployments file any more."""
    hosted.secrets["FLYBALL_DATABASE"] = f"sqlite:///{hosted.folder / 'versions.db'}"
    yield hosted
    del hosted.secrets["FLYBALL_DATABASE"]
    hosted.branch("no-files")
    if (hosted.work / FILE).exists():
        (hosted.work / FILE).unlink()
        hosted.commit("no files")
        hosted.push()


@mostly
def test_where_a_file_decides_a_merge_deploys_nothing_until_the_file_names_it_and_reality_is_held_to_it(
    by_files: Any,
):
    before = champion(by_files)
    ask(by_files, before, "a-model")
    text = (by_files.project / "train.py").read_text()
    number = len(list(by_files.folder.glob("run-*")))
    text = re.sub(r'"slope", [^)]*\)', f'"slope", 1.9{number:03d})', text)
    (by_files.project / "train.py").write_text(text)
    by_files.commit("a model like no other before")
    jobs = by_files.merge()
    job, report = checked(jobs)
    assert (job.code, applied(jobs).code, champion(by_files)) == (0, 0, before), job.printed
    assert f"what is deployed is for {FILE} to say" in report["what_to_do"]
    assert f"{FILE}:2 decides what staging serves" in job.printed
    assert f'version = "{report["digest"]}"' in job.printed and report["digest"] != before

    ask(by_files, report["digest"])
    jobs = by_files.propose()
    plan = planned(jobs)
    assert plan.code == 0 and "| + staging/line: deploy" in plan.printed, plan.printed
    assert not any(job.reports for job in jobs.values()) and champion(by_files) == before
    if by_files.kind == "github":
        assert "### Deployments" in plan.summary and "    + staging/line: deploy" in plan.summary
        assert (plan.kept / "deployments" / "plan.txt").exists()
    jobs = by_files.merge()
    job = applied(jobs)
    assert (job.code, job.environment, champion(by_files)) == (0, "staging", report["digest"]), job.printed
    assert not any(job.reports for job in jobs.values())  # nothing was checked, so nothing was trained
    assert any(f"{FILE} at " in why for why in by_files.reasons())

    by_files.staging("rollback", "line", "--why", "complaints")
    jobs = by_files.watch()
    (drift,) = (job for name, job in jobs.items() if "drift" in name)
    assert drift.code == 1 and "`rollback --why complaints`" in drift.printed, drift.printed
    assert "differs from the file since 2" in drift.printed and ", by " in drift.printed
    assert "Deployments files and environments differ" in drift.printed
    others = {name: job for name, job in jobs.items() if "drift" not in name}
    assert any("propose" in name for name in others)
    assert all(job.code == 0 for job in others.values()), [job.printed for job in others.values()]
    assert champion(by_files) == before  # a schedule takes nothing back


@pytest.mark.long
@everywhere
def test_a_file_that_is_broken_or_names_what_is_not_known_is_told_and_changes_nothing(by_files: Any):
    before = champion(by_files)
    ask(by_files, "7")
    for job in (planned(by_files.propose()), applied(by_files.merge())):
        assert job.code == 2 and f"{FILE}:3" in job.printed, job.printed
    ask(by_files, "sha256:" + "0" * 64)
    job = planned(by_files.propose())
    assert job.code == 0 and "! staging/line: blocked" in job.printed, job.printed
    assert applied(by_files.merge()).code == 1 and champion(by_files) == before


@pytest.mark.long
@everywhere
def test_of_a_strangers_deployments_file_only_the_file_is_read(by_files: Any):
    before = champion(by_files)
    ask(by_files, "sha256:" + "0" * 64)
    job = planned(by_files.propose(fork=True))
    assert job.code == 0 and f"| staging/line: sha256:000000000000 ({FILE}:2)" in job.printed, job.printed
    assert before[7:19] not in job.printed and not job.given_secrets
    assert champion(by_files) == before
