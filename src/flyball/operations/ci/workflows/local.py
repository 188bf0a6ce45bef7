"""`flyball ci --local`: the steps of a pull request's jobs, from the same structs, in a clean clone and environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from flyball.backends.scratch import ScratchFolder
from flyball.core.errors import BadInput, Unavailable
from flyball.operations.ci.git import NO_HOMES, GitFacts, read_git
from flyball.operations.ci.workflows import steps
from flyball.operations.ci.workflows.repository import Repository, read_repository
from flyball.operations.ci.workflows.steps import Step
from flyball.pipelines.git_run import ask_git, git

Told = Callable[[str], None]

_SHOWN = 5
# What says how this machine reaches the package index and its certificates.
_OF_THE_MACHINE = (
    "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
    "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip


class LocalCheck(msgspec.Struct, frozen=True, kw_only=True):
    """How the check of one model ended; `report`: the folder of its report, where one was asked for."""

    model: str
    folder: str
    exit_code: int
    report: str | None = None


class LocalRun(msgspec.Struct, frozen=True, kw_only=True):
    """How the jobs of a change ended: that of the first model that failed, 4 where all that is missing is evidence."""

    commit: str
    exit_code: int
    checks: list[LocalCheck]
    warnings: list[str]


def run_locally(
    folder: Path,
    variables: Mapping[str, str],
    *,
    base: str | None = None,
    report: Path | None = None,
    on_line: Told = lambda line: None,
) -> LocalRun:
    """Check the commit of a folder's repository as its host would check it as a pull request.

    Of this machine's variables the steps get what the workflow names; FLYBALL_OBJECTS and FLYBALL_CACHE among it, so
    that what others trained is not trained again. report: a folder for the reports. Raises BadInput without a commit.
    """
    if report is not None and report.suffix and not report.is_dir():
        raise BadInput(f"--report {report}: a check of several models writes into a folder")
    repository = read_repository(folder, variables)
    facts = read_git(folder, base, variables)
    if facts.commit is None:
        raise BadInput(
            f"{repository.root} has no commit yet, and what is checked is a commit; `git commit` makes one"
        )
    warnings = _left_behind(repository.root)
    for warning in warnings:
        on_line(f"warning: {warning}")
    with ScratchFolder("ci-local") as scratch:
        jobs = _Jobs(repository, facts, scratch, variables, on_line)
        code = jobs.prepare()
        checks = [] if code else [jobs.check(row, report) for row in jobs.affected()]
        codes = [check.exit_code for check in checks if check.exit_code]
        if not code and (planned := jobs.plan()):
            codes.append(planned)
    code = code or next((one for one in codes if one != 4), codes[0] if codes else 0)
    return LocalRun(commit=facts.commit, exit_code=code, checks=checks, warnings=warnings)


def _left_behind(root: Path) -> list[str]:
    """A sentence about files that are not committed, and so no part of the check; none where there are none."""
    status = git(root, "status", "--porcelain", "--", ".", NO_HOMES) or ""
    names = [line[2:].strip() for line in status.splitlines()]
    if not names:
        return []
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"what is not committed is no part of this check: {', '.join(names[:_SHOWN])}{more}"]


class _Jobs:
    """The jobs of one change in a scratch folder: a clone, a home and an environment that begin empty."""

    def __init__(
        self,
        repository: Repository,
        facts: GitFacts,
        scratch: Path,
        variables: Mapping[str, str],
        on_line: Told,
    ) -> None:
        self._repository, self._facts, self._on_line = repository, facts, on_line
        self._clone, self._work, self._home = scratch / "clone", scratch / "work", scratch / "home"
        self._home.mkdir()
        self._variables = {**variables, "WORK": str(self._work), "FLYBALL_HOME": str(self._work / "home")}
        self._given = _clean(variables, facts, scratch)

    def prepare(self) -> int:
        """Clone, install, and find the affected models; 0, or the exit code of what failed."""
        self._on_line("== Check out")
        _clone(self._repository.root, self._facts, self._clone)
        if self._run(steps.INSTALL, FOLDER=self._repository.lock_folder):
            self._on_line("the environment could not be made from the lock, so nothing was checked")
            return 3
        return self._run(steps.AFFECTED)

    def affected(self) -> list[dict[str, Any]]:
        """What the step that finds them wrote: folder, model and why of each."""
        found: list[dict[str, Any]] = msgspec.json.decode((self._work / "affected.json").read_bytes())[
            "models"
        ]
        if not found:
            self._on_line("the change affects no model")
        return found

    def plan(self) -> int:
        """Read the deployments files where the change affects them: without any secret, as of a stranger's change."""
        found = msgspec.json.decode((self._work / "affected.json").read_bytes())
        return self._run(steps.PLAN, OFFLINE="1") if found["deployments"] else 0

    def check(self, row: dict[str, Any], report: Path | None) -> LocalCheck:
        """The steps of one model's job."""
        folder, made = row["folder"], self._work / "report"
        shutil.rmtree(made, ignore_errors=True)
        code = 0
        if self._repository.has_several_locks:
            code = 3 if self._run(steps.INSTALL, FOLDER=folder) else 0
        code = code or self._run(steps.CHECK, FOLDER=folder, REPORT=str(made))
        kept = None
        if report is not None and made.is_dir():
            kept = str(report / row["model"].replace("/", "-"))
            shutil.copytree(made, kept, dirs_exist_ok=True)
        return LocalCheck(model=row["model"], folder=folder, exit_code=code, report=kept)

    def _run(self, step: Step, **own: str) -> int:
        """The exit code of a step, whose lines are told as they come."""
        place = f" ({own['FOLDER']})" if "REPORT" in own else ""
        self._on_line(f"== {step.name}{place}")
        values = {**self._variables, **own}
        named = {name: values[name] for name in step.variables if name in values}
        with subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step.run],
            cwd=self._clone,
            env={**self._given, **named},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                self._on_line(line.rstrip("\n"))
        return process.returncode


def _clone(root: Path, facts: GitFacts, clone: Path) -> None:
    """The commit with its history and the branches of origin, as a host's runner has them. Raises Unavailable."""
    assert facts.commit is not None
    for arguments in (
        ("clone", "--quiet", "--no-checkout", "--", str(root), str(clone)),
        ("-C", str(clone), "fetch", "--quiet", "origin", "+refs/remotes/origin/*:refs/remotes/origin/*"),
        ("-C", str(clone), "checkout", "--quiet", "--detach", facts.commit),
    ):
        answer = ask_git(clone.parent, *arguments)
        if answer.printed is None:
            raise Unavailable(f"{root} could not be cloned: {answer.problem}")


def _clean(variables: Mapping[str, str], facts: GitFacts, scratch: Path) -> dict[str, str]:
    """What a runner's shell has: what is the machine's, uv's, and the change as hosts tell it; nothing of this user."""
    (scratch / "bin").mkdir()
    (scratch / "bin" / "uv").symlink_to(_find_uv(variables))
    own = {str(Path(sys.prefix, "bin")), str(Path(sys.executable).parent)}
    path = [place for place in variables.get("PATH", os.defpath).split(os.pathsep) if place not in own]
    machine = {name: variables[name] for name in _OF_THE_MACHINE if name in variables}
    # uv keeps what it has fetched in the user's folders; fetching all of it again would show nothing.
    cache = Path(variables.get("XDG_CACHE_HOME") or Path.home() / ".cache", "uv")
    kept = {name: value for name, value in variables.items() if name.startswith("UV_")}
    return {
        **machine,
        "UV_CACHE_DIR": str(cache),
        **kept,
        "HOME": str(scratch / "home"),
        "PATH": os.pathsep.join([str(scratch / "work" / "venv" / "bin"), str(scratch / "bin"), *path]),
        "CI": "true",
        "CHANGE_TARGET": facts.base_name or "",
        "CHANGE_BRANCH": facts.branch or "",
    }


def _find_uv(variables: Mapping[str, str]) -> str:
    found = shutil.which("uv", path=variables.get("PATH")) or shutil.which(
        "uv", path=str(Path(sys.executable).parent)
    )
    if found is None:
        raise Unavailable(
            "uv is not installed, and it makes the clean environment; `pip install uv` brings it"
        )
    return found
