"""GitHub's workflows: pull requests, merges, a schedule, and rollbacks by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from flyball.operations.ci.workflows import pins, steps
from flyball.operations.ci.workflows.repository import Repository
from flyball.operations.ci.workflows.steps import Step, indented
from flyball.operations.ci.workflows.variables import of_environments

_SAME = "github.event.pull_request.head.repo.full_name == github.repository"
_VALUES = {
    "WORK": "${{ runner.temp }}/flyball",
    "FLYBALL_HOME": "${{ runner.temp }}/flyball/home",
    "FLYBALL_OBJECTS": "${{ vars.FLYBALL_OBJECTS }}",
    "FLYBALL_CACHE": "read-write",
    "FLYBALL_DATABASE": "${{ secrets.FLYBALL_DATABASE }}",
    "FLYBALL_URL": "${{ vars.FLYBALL_URL }}",
    "FLYBALL_TOKEN": "${{ secrets.FLYBALL_TOKEN }}",
    "AWS_ACCESS_KEY_ID": "${{ secrets.AWS_ACCESS_KEY_ID }}",
    "AWS_SECRET_ACCESS_KEY": "${{ secrets.AWS_SECRET_ACCESS_KEY }}",
    "AWS_REGION": "${{ vars.AWS_REGION }}",
    "BEFORE": "${{ github.event.before }}",
    "MODEL": "${{ inputs.model }}",
    "ENVIRONMENT": "${{ inputs.environment }}",
    "ACTION": "${{ inputs.action }}",
    "WHY": "${{ inputs.why }}",
    "BY": "${{ github.actor }}",
    "KEY": "github-${{ github.run_id }}",
    "REPORTS": "${{ runner.temp }}/reports",
}
_OF_THE_MODEL = {"FOLDER": "${{ matrix.folder }}", "REPORT": "${{ runner.temp }}/flyball/report"}
# A stranger's change gets no secrets from GitHub, and reads only what anybody may read.
_OF_A_CHANGE = {
    "FLYBALL_OBJECTS": f"${{{{ {_SAME} && vars.FLYBALL_OBJECTS || vars.PUBLIC_OBJECTS }}}}",
    "FLYBALL_CACHE": f"${{{{ {_SAME} && 'read-write' || 'read' }}}}",
}
_HEAD = """\
# Written by `flyball ci init github`; `flyball ci --local` runs the steps of the pull request on your machine.
"""


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
{_HEAD}
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
        + _affected(repository, steps.AFFECTED)
        + _job("check", "Check ${{ matrix.model }}", minutes=120, needs="affected", matrix=True)
        + _OIDC
        + _setup()
        + _step(steps.INSTALL, _OF_THE_MODEL)
        + _cache()
        + _step(steps.CHECK, {**_OF_THE_MODEL, **_OF_A_CHANGE})
        + _step(steps.SUMMARY, _OF_THE_MODEL)
        + _upload()
        + f"""\

  # The only job that may write, and it runs nothing of the change: its packages are those of the base branch.
  post:
    name: Post the reports
    needs: check
    if: ${{{{ !cancelled() && needs.check.result != 'skipped' && {_SAME} }}}}
    runs-on: ubuntu-24.04
    timeout-minutes: 15
    # The verdict is that of the checks, whether this works or not.
    continue-on-error: true
    permissions:
      contents: read # checks out the base branch
      pull-requests: write # writes the comment
"""
        + _setup(ref="${{ github.event.pull_request.base.sha }}", depth=1)
        + _step(steps.INSTALL, {"FOLDER": repository.lock_folder})
        + f"""\
      - name: Fetch the reports
        uses: {pins.DOWNLOAD}
        with:
          pattern: flyball-report-*
          path: ${{{{ runner.temp }}}}/reports
"""
        + _step(steps.POST, {"GITHUB_TOKEN": "${{ github.token }}"})
    )


def _merge(repository: Repository) -> str:
    return (
        f"""\
{_HEAD}
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
        + _affected(repository, steps.AFFECTED_BY_MERGE)
        + _job("deploy", "Deploy ${{ matrix.model }}", minutes=120, needs="affected", matrix=True)
        + _OIDC
        + _environment(repository.first)
        + """\
    # One deployment of a model at a time. None that has begun is cancelled; one that waits gives way to a newer one.
    concurrency:
      group: flyball-deploy-${{ matrix.model }}
      cancel-in-progress: false
"""
        + _setup()
        + _step(steps.INSTALL, _OF_THE_MODEL)
        + _cache()
        + _step(steps.CHECK, {**_OF_THE_MODEL, "FLYBALL_DATABASE": _VALUES["FLYBALL_DATABASE"]})
        + _step(steps.DEPLOY, {**_OF_THE_MODEL, **_secrets(repository.first)})
        + _step(steps.SUMMARY, _OF_THE_MODEL)
        + _upload()
    )


def _schedule(repository: Repository) -> str:
    return (
        f"""\
{_HEAD}
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
        + _affected(repository, steps.AFFECTED_BY_MERGE, name="Find all models", values={"BEFORE": ""})
        + _job("watch", "Watch ${{ matrix.model }}", minutes=240, needs="affected", matrix=True)
        + _OIDC
        + _setup()
        + _step(steps.INSTALL, _OF_THE_MODEL)
        + _step(steps.WATCH, {**_OF_THE_MODEL, **_secrets(repository.environments)})
    )


def _by_hand(repository: Repository) -> str:
    options = "".join(f"          - {json.dumps(name)}\n" for name in repository.environments)
    kind = (
        f"type: choice\n        options:\n{options}" if options else "type: string\n        required: false\n"
    )
    return (
        f"""\
{_HEAD}
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
        + _job("act", "${{ inputs.action }} ${{ inputs.model }}", minutes=30)
        + _OIDC
        + ("    environment: ${{ inputs.environment }}\n" if repository.environments else "")
        + _setup()
        + _step(steps.INSTALL, {"FOLDER": repository.lock_folder})
        + _step(steps.BY_HAND, _secrets(repository.environments))
    )


_OIDC = """\
      # id-token: write # for a login by OIDC in place of AWS_* keys: add the cloud's login step, take the keys out
"""


def _affected(
    repository: Repository,
    step: Step,
    *,
    name: str = "Find the models to check",
    values: Mapping[str, str] = MappingProxyType({}),
) -> str:
    return (
        _job("affected", name, minutes=15)
        + """\
    outputs:
      models: ${{ steps.matrix.outputs.models }}
"""
        + _setup()
        + _step(steps.INSTALL, {"FOLDER": repository.lock_folder})
        + _step(step, values)
        + _step(steps.MATRIX, {}, identity="matrix")
        + "\n"
    )


def _job(key: str, name: str, *, minutes: int, needs: str | None = None, matrix: bool = False) -> str:
    waits = f"    needs: {needs}\n    if: ${{{{ needs.{needs}.outputs.models != '[]' }}}}\n" if needs else ""
    spread = (
        f"""\
    strategy:
      fail-fast: false
      matrix:
        include: ${{{{ fromJSON(needs.{needs}.outputs.models) }}}}
"""
        if matrix
        else ""
    )
    return f"""\
  {key}:
    name: {json.dumps(name)}
{waits}{spread}\
    runs-on: ubuntu-24.04
    timeout-minutes: {minutes}
    permissions:
      contents: read # checks out the repository
"""


def _environment(names: list[str]) -> str:
    """The host's environment of a job, which holds its secrets and may ask people first."""
    return f"    environment: {json.dumps(names[0])}\n" if len(names) == 1 else ""


def _secrets(names: Iterable[str]) -> dict[str, str]:
    return {
        name: f"${{{{ {'secrets' if is_secret else 'vars'}.{name} }}}}"
        for name, is_secret in of_environments(names)
    }


def _setup(*, ref: str | None = None, depth: int = 0) -> str:
    chosen = f"          ref: {ref}\n" if ref else ""
    return f"""\
    steps:
      - name: Check out
        uses: {pins.CHECKOUT}
        with:
{chosen}\
          fetch-depth: {depth}
          persist-credentials: false
      - name: Set up uv
        uses: {pins.SETUP_UV}
        with:
          version: {json.dumps(pins.UV_VERSION)}
          enable-cache: false
"""


def _cache() -> str:
    return f"""\
      # Without a store that all share, what was trained is kept here: for later pushes of the same branch only.
      - name: Keep what was trained
        if: ${{{{ vars.FLYBALL_OBJECTS == '' }}}}
        uses: {pins.CACHE}
        with:
          path: ${{{{ runner.temp }}}}/flyball/home/objects
          key: flyball-${{{{ matrix.model }}}}-${{{{ github.sha }}}}
          restore-keys: flyball-${{{{ matrix.model }}}}-
"""


def _upload() -> str:
    return f"""\
      - name: Keep the report
        if: always()
        uses: {pins.UPLOAD}
        with:
          name: flyball-report-${{{{ strategy.job-index }}}}
          path: ${{{{ runner.temp }}}}/flyball/report
          if-no-files-found: ignore
"""


def _step(step: Step, values: Mapping[str, str], *, identity: str | None = None) -> str:
    """A step with its variables, by `values` where they say it, and the further ones of these."""
    more = {name: value for name, value in values.items() if name not in _OF_THE_MODEL}
    given = {name: values.get(name, _VALUES.get(name, "")) for name in (*step.variables, *more)}
    environment = "".join(f"          {name}: {json.dumps(value)}\n" for name, value in given.items())
    return (
        f"      - name: {step.name}\n"
        + (f"        id: {identity}\n" if identity else "")
        + ("        if: always()\n" if step.always else "")
        + "        shell: bash\n"
        + (f"        env:\n{environment}" if environment else "")
        + "        run: |\n"
        + indented(step.run, 10)
    )
