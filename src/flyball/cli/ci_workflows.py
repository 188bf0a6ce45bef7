"""`flyball ci init|deploy`: the workflows of a host, and what they do after a merge."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from flyball.cli.output import json_option, printable, progress, show, table
from flyball.operations.ci.workflows.hosts import HOSTS


@click.command()
@click.argument("host", type=click.Choice(HOSTS))
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option("--force", is_flag=True, help="Also over files that are there and say something else.")
@click.option("--print", "only_print", is_flag=True, help="Print the files and write none.")
@json_option
def init(host: str, folder: Path, force: bool, only_print: bool, as_json: bool) -> None:
    """Write the workflows of HOST into FOLDER's repository: for changes, merges, a schedule, and rollbacks by hand.

    They belong to the root of the repository and serve all of its models. What is there and says something else is
    not overwritten. Hooks for pre-commit come with them where there are none. What is left to do is told.

    \b
    Examples: flyball ci init github
              flyball ci init gitlab --print
    """
    from flyball.app import write_workflows

    show(write_workflows(folder, host, force=force, only_print=only_print), as_json, _render)


def _render(made: Any) -> None:
    for file in made.files:
        if file.state == "printed":
            click.echo(f"--- {file.path}\n{file.text}")
        else:
            click.echo(f"wrote {file.path}" if file.state == "written" else f"{file.path} is as it should be")
    click.echo("Next:")
    for number, sentence in enumerate(made.next, 1):
        click.echo(f"  {number}. " + sentence.replace("\n", "\n     ").rstrip())


def check_locally(folder: Path, report: Path | None, base: str | None, as_json: bool) -> NoReturn:
    """`flyball ci --local`: run the host's steps on this machine, and exit as its job would."""
    from flyball.app import check_locally as check

    done = check(folder, report=report, base=base, on_line=lambda line: progress(printable(line)))
    show(done, as_json, _render_local)
    sys.exit(done.exit_code)


def _render_local(done: Any) -> None:
    table(
        ("model", "folder", "exit code", "report"),
        [(one.model, one.folder, one.exit_code, one.report) for one in done.checks],
    )
    for warning in done.warnings:
        click.echo(f"warning: {warning}")
    click.echo(f"{done.commit[:12]}: the host's job would end with {done.exit_code}")


@click.command()
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--report", required=True, type=click.Path(path_type=Path), help="The report.json of the check."
)
@click.option("--why", required=True, help="Recorded with the rollout.")
@json_option
def deploy(folder: Path, report: Path, why: str, as_json: bool) -> None:
    """Deploy the version that a check has tested, by its digest; nothing is trained.

    It goes to the environments of FOLDER's project that come after no other and, where it has none, into this home.
    Where a deployments file (deployments/*.toml at the repository's root) names the model, the file decides, and
    nothing is deployed: told is what to write into it. Exit codes: 0 it is deployed, its rollout began or a file
    decides, 1 the check failed or a rule refuses, 4 the check was undecided.

    \b
    Example: flyball ci deploy --report report.json --why "merged"
    """
    from flyball.app import find_tested
    from flyball.cli.connection import open_flyball
    from flyball.cli.delivery import deploy_to_environment, render_started

    tested = find_tested(folder, report)
    # Environments and settings are those of the working folder's project.
    os.chdir(folder)
    done: list[Any] = [deploy_to_environment(tested.ref, name, why, None) for name in tested.environments]
    if tested.here:
        with open_flyball() as app:
            done = [app.deploy(tested.ref, why=why, strategy=None)]

    def render(_: list[Any]) -> None:
        for started in done:
            render_started(started)
        for one in tested.decided:
            click.echo(f"{one.model}: {printable(one.because)}")

    show([*done, *tested.decided], as_json, render)
