"""GitHub's workflows: pull requests, merges, a schedule, and rollbacks by hand."""

from __future__ import annotations

import json

from flyball.operations.ci.workflows import pins, steps
from flyball.operations.ci.workflows.github_parts import (
    HEAD,
    OF_A_CHANGE,
    OF_THE_MODEL,
    OIDC,
    SAME,
    VALUES,
    affected_job,
    cache,
    chosen_environment,
    job,
    secrets_of,
    setup,
    step_of,
    stores_of,
    upload,
)
from flyball.operations.ci.workflows.repository import Repository


def github_files(repository: Repository) -> dict[str, str]:
    """The workflows by their paths below the root."""
    return {
        ".github/workflows/flyball.yml": _pull_request(repository),
        ".github/workflows/flyball-merge.yml": _merge(repository),
        ".github/workflows/flyball-schedule.yml": _schedule(repository),
        ".github/workflows/flyball-by-hand.yml": _by_hand(repository),
    }


def _pull_request(repository: Repository) -> str:
    return (
        f"""\
{HEAD}
name: Flyball

on:
  pull_request:

permissions: {{}}

# A newer push makes the check of the older one needless.
concurrency:
  group: flyball-${{{{ github.event.pull_request.number }}}}
  cancel-in-progress: true

jobs:
"""
        + affected_job(repository, steps.AFFECTED)
        + job("check", "Check ${{ matrix.model }}", minutes=120, rows="models", matrix=True)
        + OIDC
        + setup()
        + step_of(steps.INSTALL, OF_THE_MODEL)
        + cache()
        + step_of(steps.CHECK, {**OF_THE_MODEL, **OF_A_CHANGE})
        + step_of(steps.SUMMARY, OF_THE_MODEL)
        + upload()
        + f"""\

  # The only job that may write, and it runs nothing of the change: its packages are those of the base branch.
  post:
    name: Post the reports
    needs: check
    if: ${{{{ !cancelled() && needs.check.result != 'skipped' && {SAME} }}}}
    runs-on: ubuntu-24.04
    timeout-minutes: 15
    # The verdict is that of the checks, whether this works or not.
    continue-on-error: true
    permissions:
      contents: read # checks out the base branch
      pull-requests: write # writes the comment
"""
        + setup(ref="${{ github.event.pull_request.base.sha }}", depth=1)
        + step_of(steps.INSTALL, {"FOLDER": repository.lock_folder})
        + f"""\
      - name: Fetch the reports
        uses: {pins.DOWNLOAD}
        with:
          pattern: flyball-report-*
          path: ${{{{ runner.temp }}}}/reports
"""
        + step_of(steps.POST, {"GITHUB_TOKEN": "${{ github.token }}"})
        + _plan(repository)
    )


def _plan(repository: Repository) -> str:
    return (
        """\

  # It may look into the environments, so it runs nothing of the change: its packages are those of the base branch. A
  # stranger's change gets no secrets; of that, the files are only read.
"""
        + job("plan", "Plan the deployments", minutes=15, rows="deployments")
        + OIDC
        + setup()
        + step_of(steps.BASE, {"BASE": "${{ github.event.pull_request.base.sha }}"})
        + step_of(steps.INSTALL, {"FOLDER": repository.lock_folder})
        + step_of(steps.CHANGE, {"CHANGE": "${{ github.sha }}"})
        + step_of(
            steps.PLAN,
            {
                "OFFLINE": f"${{{{ {SAME.replace('==', '!=')} && '1' || '' }}}}",
                "FLYBALL_OBJECTS": f"${{{{ {SAME} && vars.FLYBALL_OBJECTS || '' }}}}",
                **stores_of(repository.environments),
            },
        )
        + upload("flyball-deployments", "${{ runner.temp }}/flyball/reports")
    )


def _merge(repository: Repository) -> str:
    return (
        f"""\
{HEAD}
name: Flyball after a merge

on:
  push:
    branches:
      - {json.dumps(repository.branch)}

permissions: {{}}

# Each merge has a run of its own: what one of them changed is no matter of the next.
concurrency:
  group: flyball-merge-${{{{ github.sha }}}}
  cancel-in-progress: false

jobs:
"""
        + affected_job(repository, steps.AFFECTED_BY_MERGE)
        + job("deploy", "Deploy ${{ matrix.model }}", minutes=120, rows="models", matrix=True)
        + OIDC
        + chosen_environment(repository.first)
        + """\
    # One deployment of a model at a time. None that has begun is cancelled; one that waits gives way to a newer one.
    concurrency:
      group: flyball-deploy-${{ matrix.model }}
      cancel-in-progress: false
"""
        + setup()
        + step_of(steps.INSTALL, OF_THE_MODEL)
        + cache()
        + step_of(steps.CHECK, {**OF_THE_MODEL, "FLYBALL_DATABASE": VALUES["FLYBALL_DATABASE"]})
        + step_of(steps.DEPLOY, {**OF_THE_MODEL, **secrets_of(repository.first)})
        + step_of(steps.SUMMARY, OF_THE_MODEL)
        + upload()
        + _apply(repository)
    )


def _apply(repository: Repository) -> str:
    return (
        "\n"
        + job(
            "apply",
            "Apply the files of ${{ matrix.environment || 'this home' }}",
            minutes=60,
            rows="deployments",
            after="deploy",
            matrix=True,
        )
        + OIDC
        + """\
    environment: ${{ matrix.environment }}
    # One at a time in an environment. None that has begun is cancelled; one that waits gives way to a newer one.
    concurrency:
      group: flyball-apply-${{ matrix.environment }}
      cancel-in-progress: false
"""
        # The branch as it is by now: a job that was late must not bring back what an older commit named.
        + setup(ref="${{ github.ref }}")
        + step_of(steps.INSTALL, {"FOLDER": repository.lock_folder})
        + step_of(steps.AFFECTED_BY_MERGE, {"BEFORE": ""})
        + step_of(steps.DEPLOYMENTS_OF, {"ENVIRONMENT": "${{ matrix.environment }}"})
        + step_of(steps.APPLY, stores_of(repository.environments))
    )


def _schedule(repository: Repository) -> str:
    return (
        f"""\
{HEAD}
name: Flyball on a schedule

on:
  schedule:
    - cron: "17 3 * * *"
  workflow_dispatch:

permissions: {{}}

concurrency:
  group: flyball-schedule
  cancel-in-progress: false

jobs:
"""
        + affected_job(repository, steps.AFFECTED_BY_MERGE, name="Find all models", values={"BEFORE": ""})
        + job("watch", "Watch ${{ matrix.model }}", minutes=240, rows="models", matrix=True)
        + OIDC
        + setup()
        + step_of(steps.INSTALL, OF_THE_MODEL)
        + step_of(steps.WATCH, {**OF_THE_MODEL, **secrets_of(repository.environments)})
        + "\n"
        + job("drift", "Hold files against reality", minutes=15, rows="deployments")
        + OIDC
        + setup()
        + step_of(steps.INSTALL, {"FOLDER": repository.lock_folder})
        + step_of(steps.DRIFT, stores_of(repository.environments))
        + _propose(repository)
    )


def _propose(repository: Repository) -> str:
    return (
        """\

  # The only job here that may write, and it runs nothing of the project's code.
"""
        + job(
            "propose",
            "Propose what was retrained",
            minutes=15,
            rows="deployments",
            after="watch",
            writes="""\
      contents: write # makes the branch of a proposal
      pull-requests: write # opens it""",
        )
        + OIDC
        + setup(depth=1)
        + step_of(steps.INSTALL, {"FOLDER": repository.lock_folder})
        # Requests that are opened with the job's own token start no workflows; those of another token do.
        + step_of(
            steps.PROPOSE,
            {"GITHUB_TOKEN": "${{ secrets.PROPOSALS_TOKEN || github.token }}"}
            | stores_of(repository.environments),
        )
    )


def _by_hand(repository: Repository) -> str:
    options = "".join(f"          - {json.dumps(name)}\n" for name in repository.environments)
    kind = (
        f"type: choice\n        options:\n{options}" if options else "type: string\n        required: false\n"
    )
    return (
        f"""\
{HEAD}
name: Flyball by hand

on:
  workflow_dispatch:
    inputs:
      action:
        description: What to do
        type: choice
        options:
          - rollback
          - deploy
        required: true
      model:
        description: Name of the model
        type: string
        required: true
      environment:
        description: Where
        {kind}\
      why:
        description: Why; recorded in the audit trail
        type: string
        required: true

permissions: {{}}

concurrency:
  group: flyball-by-hand-${{{{ github.run_id }}}}
  cancel-in-progress: false

jobs:
"""
        + job("act", "${{ inputs.action }} ${{ inputs.model }}", minutes=30)
        + OIDC
        + ("    environment: ${{ inputs.environment }}\n" if repository.environments else "")
        + setup()
        + step_of(steps.INSTALL, {"FOLDER": repository.lock_folder})
        + step_of(steps.BY_HAND, secrets_of(repository.environments))
    )
