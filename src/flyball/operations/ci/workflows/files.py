"""`flyball ci init`: the workflows of a host as files of the repository, and what is left for a person to do."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from flyball.core.errors import BadInput, Conflict
from flyball.operations.ci.workflows.azure import azure_files
from flyball.operations.ci.workflows.github import github_files
from flyball.operations.ci.workflows.gitlab import INCLUDED, gitlab_files
from flyball.operations.ci.workflows.hosts import PLACES
from flyball.operations.ci.workflows.jenkins import jenkins_files
from flyball.operations.ci.workflows.repository import Repository, read_repository
from flyball.operations.ci.workflows.variables import of_environments

HOOKS = ".pre-commit-config.yaml"
_WRITERS = {"github": github_files, "gitlab": gitlab_files, "azure": azure_files, "jenkins": jenkins_files}


class WorkflowFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file below the root of the repository, and what came of it: `kept` was as it should be."""

    path: str
    state: Literal["written", "kept", "printed"]
    text: str


class Workflows(msgspec.Struct, frozen=True, kw_only=True):
    """The files of a host, and what to do next, a sentence each."""

    host: str
    files: list[WorkflowFile]
    next: list[str]


def write_workflows(
    folder: Path, host: str, environment: Mapping[str, str], *, force: bool = False, only_print: bool = False
) -> Workflows:
    """Write a host's workflows at the root of a folder's repository, and hooks for pre-commit where it has none.

    Raises Conflict, and writes nothing, where a file that is there says something else and `force` is not given.
    """
    repository = read_repository(folder, environment)
    wanted = _WRITERS[host](repository)
    has_hooks = _state(repository.root, HOOKS, hooks(repository)) == "differs"
    if not has_hooks:
        wanted[HOOKS] = hooks(repository)
    told = next_steps(repository, host, has_hooks=has_hooks)
    if only_print:
        printed = [WorkflowFile(path=path, state="printed", text=text) for path, text in wanted.items()]
        return Workflows(host=host, files=printed, next=told)
    states = {path: _state(repository.root, path, text) for path, text in wanted.items()}
    differing = [path for path, state in states.items() if state == "differs"]
    if differing and not force:
        raise Conflict(
            f"{', '.join(differing)} would be overwritten, and says something else; --print shows what would be "
            "written, --force writes it",
            files=differing,
        )
    files = []
    for path, text in wanted.items():
        if states[path] != "kept":
            place = repository.root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
        files.append(
            WorkflowFile(path=path, state="kept" if states[path] == "kept" else "written", text=text)
        )
    return Workflows(host=host, files=files, next=told)


def _state(root: Path, path: str, text: str) -> Literal["absent", "kept", "differs"]:
    place = root / path
    if place.is_symlink() or not place.resolve().is_relative_to(root):
        raise BadInput(f"{path} leads out of the repository or is a link; nothing was written", file=path)
    if not place.exists():
        return "absent"
    return "kept" if place.read_bytes() == text.encode() else "differs"


def hooks(repository: Repository) -> str:
    """Hooks for pre-commit: the quick check of each project whose files a commit touches."""
    return "repos:\n  - repo: local\n    hooks:\n" + "".join(_hook(folder) for folder in repository.folders)


def _hook(folder: str) -> str:
    below = "" if folder == "." else f"^{re.escape(folder)}/"
    return f"""\
      - id: flyball-check
        name: {json.dumps(f"flyball check {folder}")}
        entry: flyball check
        args: [{json.dumps(f"./{folder}")}]
        language: system
        files: {json.dumps(below)}
        pass_filenames: false
"""


def next_steps(repository: Repository, host: str, *, has_hooks: bool) -> list[str]:
    """What a person has to do before the workflows do all that they can."""
    place = PLACES[host]
    told = ["Commit the files; they run from the commit that brings them in on."]
    if repository.unlocked:
        told.append(
            f"There is no lock for {', '.join(repository.unlocked)}: write one beside flyball.toml or above it, by `uv "
            "lock` or `uv pip compile --generate-hashes requirements.in -o requirements.lock`. It has to name flyball: "
            "by its wheel (`./wheels/flyball-….whl[standard,boost]`), as long as your index does not have it. In a "
            "clone of Flyball, `uv build --wheel --no-create-gitignore --out-dir FOLDER` makes it; commit it, too."
        )
    if repository.unhashed:
        told.append(
            f"{', '.join(repository.unhashed)} has no hashes, so another package may come under the same version: "
            "`uv pip compile --generate-hashes` writes them."
        )
    told.append(
        f"{place}: FLYBALL_OBJECTS, the store that all jobs share (s3://…), with AWS_REGION, and the secrets "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a login by OIDC in their place. Without it a merge trains "
        "again what the pull request trained."
    )
    if repository.environments:
        named = [f"{name}{' (secret)' if is_secret else ''}" for name, is_secret in _needed(repository)]
        told.append(
            f"{place}: where the environments are: {', '.join(named)}. The token "
            "is for one that has a url in flyball.toml; the others take database and objects."
        )
    else:
        told.append(
            f"{place}: the secret FLYBALL_DATABASE, where it is kept what is deployed (postgresql://…); or an "
            "[environments.NAME] in flyball.toml. Without both, nothing can be deployed from there."
        )
    told.append(
        f"{place}: for deployments files (deployments/*.toml), FLYBALL_DATABASE as well: it knows the versions that "
        "they name. The plan of a pull request and the schedule wait for nobody's yes, so they see what is set for the "
        "whole repository, not what is set for an environment of the host alone; a job that lacks a variable names it."
    )
    told += _of_host(host, repository)
    if has_hooks:
        told.append(f"{HOOKS} is there already; what Flyball would write there:\n{hooks(repository)}")
    else:
        told.append("`pre-commit install` runs `flyball check` before each commit.")
    return told


def _needed(repository: Repository) -> list[tuple[str, bool]]:
    return [
        (name, is_secret) for name, is_secret in of_environments(repository.environments) if "URL" not in name
    ]


def _of_host(host: str, repository: Repository) -> list[str]:
    if host == "github":
        named = ", ".join(repository.environments) or "production"
        return [
            f"Settings > Environments: {named}, where people may be asked before a deployment and secrets are kept.",
            'For [retrain] deliver = "pull-request": Settings > Actions > General > Allow GitHub Actions to create and '
            "approve pull requests. What the job's own token opens starts no workflows; a token of yours does (secret "
            "PROPOSALS_TOKEN, contents and pull requests: write).",
        ]
    if host == "gitlab":
        told = [
            "Settings > CI/CD > Variables: GITLAB_TOKEN, a project access token with the role Reporter and the scope "
            "`api`, masked, with the environment scope flyball/report. Build > Pipeline schedules starts the watch.",
            'For [retrain] deliver = "pull-request": GITLAB_TOKEN once more, with the role Developer and the '
            "environment scope flyball/propose.",
        ]
        if any(path == INCLUDED for path in gitlab_files(repository)):
            told.append(f"Add to your .gitlab-ci.yml:\ninclude:\n  - local: /{INCLUDED}")
        return told
    if host == "azure":
        return [
            "Pipelines > New pipeline names azure-pipelines-flyball.yml; a branch policy makes it check pull requests.",
            _NO_PROPOSALS,
        ]
    return [
        "New Item > Multibranch Pipeline, with Jenkinsfile.flyball as its script path; agents need docker.",
        _NO_PROPOSALS,
    ]


_NO_PROPOSALS = (
    'With [retrain] deliver = "pull-request" nothing opens the change here: `flyball ci propose` knows GitHub and '
    "GitLab. `flyball ci propose --print` shows what to write into the file."
)
