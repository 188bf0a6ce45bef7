"""Azure Pipelines: pull requests, merges, a schedule, and rollbacks by hand, in one file."""

from __future__ import annotations

import json
from collections.abc import Iterable

from flyball.operations.ci.workflows import pins, steps
from flyball.operations.ci.workflows.repository import Repository
from flyball.operations.ci.workflows.steps import each_folder, indented
from flyball.operations.ci.workflows.variables import of_environments

_HEAD = """\
# Written by `flyball ci init azure`; `flyball ci --local` runs the steps of the pull request on your machine.
# Variables of the pipeline, secrets as such: FLYBALL_OBJECTS, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION,
# FLYBALL_DATABASE and those of the environments. Secrets are not made available to builds of forks.
"""
# Only secrets have to be handed over by name; one that is not defined stays as it is written, and counts as not set.
_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "FLYBALL_DATABASE", "FLYBALL_TOKEN")
_VALUES = {
    "MODEL": "${{ parameters.model }}",
    "ENVIRONMENT": "${{ parameters.environment }}",
    "ACTION": "${{ parameters.action }}",
    "WHY": "${{ parameters.why }}",
    "BY": "$(Build.RequestedFor)",
}


def azure_files(repository: Repository) -> dict[str, str]:
    """The pipeline by its path below the root."""
    return {"azure-pipelines-flyball.yml": _pipeline(repository)}


def _pipeline(repository: Repository) -> str:
    branch = json.dumps(repository.branch)
    names = [name for name, is_secret in of_environments(repository.environments) if is_secret]
    check = each_folder([steps.CHECK], install=repository.has_several_locks)
    deploy = each_folder([steps.CHECK, steps.DEPLOY], install=repository.has_several_locks)
    return (
        f"""\
{_HEAD}
trigger:
  branches:
    include:
      - {branch}
pr:
  branches:
    include:
      - "*"
schedules:
  - cron: "17 3 * * *"
    displayName: Watch
    branches:
      include:
        - {branch}
    always: 'true'
parameters:
  - name: action
    type: string
    default: none
    values:
      - none
      - rollback
      - deploy
"""
        + "".join(f"  - name: {name}\n    type: string\n    default: none\n" for name in ("model", "why"))
        + _chosen(repository)
        + """
jobs:
"""
        + _job(
            "check",
            "eq(variables['Build.Reason'], 'PullRequest')",
            _install(repository)
            + _bash(steps.AFFECTED.name, steps.AFFECTED.run)
            + _bash(steps.FOLDERS.name, steps.FOLDERS.run)
            + _bash(steps.CHECK.name, check, secrets=_SECRETS[:2])
            + _PUBLISH,
        )
        + _job(
            "deploy",
            "in(variables['Build.Reason'], 'IndividualCI', 'BatchedCI')",
            _install(repository)
            # What was there before is not told: a merge is taken for one commit, whose first parent that is.
            + _bash(steps.AFFECTED_BY_MERGE.name, steps.AFFECTED_BY_MERGE.run, {"BEFORE": "HEAD^1"})
            + _bash(steps.FOLDERS.name, steps.FOLDERS.run)
            + _bash(steps.DEPLOY.name, deploy, secrets=[*_SECRETS, *names])
            + _PUBLISH
            + _bash(
                steps.APPLY.name,
                steps.DEPLOYMENTS_LEFT.run + steps.APPLY.run,
                {"APART": ""},
                secrets=[*_SECRETS, *names],
                always=True,
            ),
        )
        + _job(
            "watch",
            "eq(variables['Build.Reason'], 'Schedule')",
            _install(repository)
            + _bash(steps.AFFECTED_BY_MERGE.name, steps.AFFECTED_BY_MERGE.run, {"BEFORE": "none"})
            + _bash(steps.FOLDERS.name, steps.FOLDERS.run)
            + _bash(
                steps.WATCH.name,
                each_folder([steps.WATCH]),
                {"KEY": "azure-$(Build.BuildId)"},
                secrets=[*_SECRETS, *names],
            )
            # What was retrained is proposed as a change on GitHub and GitLab only.
            + _bash(steps.DRIFT.name, steps.DRIFT.run, secrets=[*_SECRETS, *names], always=True),
        )
        + _job(
            "by_hand",
            "and(eq(variables['Build.Reason'], 'Manual'), ne('${{ parameters.action }}', 'none'))",
            _install(repository)
            + _bash(steps.BY_HAND.name, _EMPTY + steps.BY_HAND.run, _VALUES, secrets=[*_SECRETS, *names]),
        )
    )


def _chosen(repository: Repository) -> str:
    values = "".join(f"      - {json.dumps(name)}\n" for name in ["none", *repository.environments])
    return f"  - name: environment\n    type: string\n    default: none\n    values:\n{values}"


_EMPTY = """\
if [ "$ENVIRONMENT" = none ]; then ENVIRONMENT=""; fi
"""
_PUBLISH = """\
      - publish: $(Agent.TempDirectory)/flyball/reports
        artifact: flyball-report-$(System.JobAttempt)
        condition: succeededOrFailed()
        displayName: Keep the reports
"""


def _job(name: str, condition: str, body: str) -> str:
    return f"""\
  - job: {name}
    condition: {condition}
    timeoutInMinutes: '120'
    pool:
      vmImage: ubuntu-24.04
    container: {pins.IMAGE}
    variables:
      WORK: $(Agent.TempDirectory)/flyball
      FLYBALL_HOME: $(Agent.TempDirectory)/flyball/home
    steps:
      - checkout: self
        fetchDepth: '0'
        persistCredentials: 'false'
{body}"""


def _install(repository: Repository) -> str:
    run = steps.INSTALL.run + 'echo "##vso[task.prependpath]$WORK/venv/bin"\n'
    return _bash(steps.INSTALL.name, run, {"FOLDER": repository.lock_folder})


def _bash(
    name: str,
    run: str,
    values: dict[str, str] | None = None,
    secrets: Iterable[str] = (),
    *,
    always: bool = False,
) -> str:
    given = {**(values or {}), **{secret: f"$({secret})" for secret in secrets}}
    environment = "".join(f"          {key}: {json.dumps(value)}\n" for key, value in given.items())
    return (
        "      - bash: |\n"
        + indented("set -e -o pipefail\n" + _unset(secrets) + run, 10)
        + f"        displayName: {name}\n"
        + ("        condition: succeededOrFailed()\n" if always else "")
        + (f"        env:\n{environment}" if environment else "")
    )


def _unset(secrets: Iterable[str]) -> str:
    names = " ".join(secrets)
    if not names:
        return ""
    return f"""\
for name in {names}; do
  if [ "${{!name}}" = '$('"$name"')' ]; then unset "$name"; fi
done
if [ "${{SYSTEM_PULLREQUEST_ISFORK:-}}" = True ]; then export FLYBALL_CACHE=read; fi
"""
