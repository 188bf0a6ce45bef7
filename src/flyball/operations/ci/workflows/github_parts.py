"""What GitHub's workflows are put together of: a job's head, its first steps, and a step with its variables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from flyball.operations.ci.workflows import pins, steps
from flyball.operations.ci.workflows.repository import Repository
from flyball.operations.ci.workflows.steps import Step, indented
from flyball.operations.ci.workflows.variables import of_environments

SAME = "github.event.pull_request.head.repo.full_name == github.repository"
VALUES = {
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
OF_THE_MODEL = {"FOLDER": "${{ matrix.folder }}", "REPORT": "${{ runner.temp }}/flyball/report"}
# A stranger's change gets no secrets from GitHub, and reads only what anybody may read.
OF_A_CHANGE = {
    "FLYBALL_OBJECTS": f"${{{{ {SAME} && vars.FLYBALL_OBJECTS || vars.PUBLIC_OBJECTS }}}}",
    "FLYBALL_CACHE": f"${{{{ {SAME} && 'read-write' || 'read' }}}}",
}
HEAD = """\
# Written by `flyball ci init github`; `flyball ci --local` runs the steps of the pull request on your machine.
"""


OIDC = """\
      # id-token: write # for a login by OIDC in place of AWS_* keys: add the cloud's login step, take the keys out
"""


def affected_job(
    repository: Repository,
    step: Step,
    *,
    name: str = "Find the models to check",
    values: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The job that finds what a change affects, for those that wait for it."""
    return (
        job("affected", name, minutes=15)
        + """\
    outputs:
      models: ${{ steps.matrix.outputs.models }}
      deployments: ${{ steps.matrix.outputs.deployments }}
"""
        + setup()
        + step_of(steps.INSTALL, {"FOLDER": repository.lock_folder})
        + step_of(step, values)
        + step_of(steps.MATRIX, {}, identity="matrix")
        + "\n"
    )


def job(
    key: str,
    name: str,
    *,
    minutes: int,
    rows: str | None = None,
    after: str | None = None,
    matrix: bool = False,
    writes: str = "",
) -> str:
    """The head of a job. rows: the output of the job `affected` without which there is nothing to do; with `matrix`,
    a job for each of them. after: the job whose end it waits for, however it ends. writes: further permissions.
    """
    waits = ""
    if rows is not None:
        condition = f"needs.affected.outputs.{rows} != '[]'"
        if after is not None:
            condition = f"!cancelled() && needs.affected.result == 'success' && {condition}"
        needs = "affected" if after is None else f"[affected, {after}]"
        waits = f"    needs: {needs}\n    if: ${{{{ {condition} }}}}\n"
    spread = (
        f"""\
    strategy:
      fail-fast: false
      matrix:
        include: ${{{{ fromJSON(needs.affected.outputs.{rows}) }}}}
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
{writes or "      contents: read # checks out the repository"}
"""


def chosen_environment(names: list[str]) -> str:
    """The host's environment of a job, which holds its secrets and may ask people first."""
    return f"    environment: {json.dumps(names[0])}\n" if len(names) == 1 else ""


def secrets_of(names: Iterable[str]) -> dict[str, str]:
    """Variables that say where environments are, as the host hands them over."""
    return {
        name: f"${{{{ {'secrets' if is_secret else 'vars'}.{name} }}}}"
        for name, is_secret in of_environments(names)
    }


def stores_of(names: Iterable[str]) -> dict[str, str]:
    """The same for what is done in place: no token of a control plane."""
    return {name: value for name, value in secrets_of(names).items() if not name.endswith("_TOKEN")}


def setup(*, ref: str | None = None, depth: int = 0) -> str:
    """The first steps of a job: the files, and uv. ref: others than those of the event."""
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


def cache() -> str:
    """A step that keeps what was trained from job to job."""
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


def upload(
    name: str = "flyball-report-${{ strategy.job-index }}", path: str = "${{ runner.temp }}/flyball/report"
) -> str:
    """A step that keeps what a job reports."""
    return f"""\
      - name: Keep the report
        if: always()
        uses: {pins.UPLOAD}
        with:
          name: {name}
          path: {path}
          if-no-files-found: ignore
"""


def step_of(step: Step, values: Mapping[str, str], *, identity: str | None = None) -> str:
    """A step with its variables, by `values` where they say it, and the further ones of these."""
    more = {name: value for name, value in values.items() if name not in OF_THE_MODEL}
    given = {name: values.get(name, VALUES.get(name, "")) for name in (*step.variables, *more)}
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
