"""`flyball ci propose`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from flyball.cli.output import json_option, line_of, printable, show
from flyball.cli.planning import FILES


@click.command()
@FILES
@click.option("--model", metavar="NAME", help="Only this model of the files.")
@click.option(
    "--print", "only_print", is_flag=True, help="Show change and text; nothing is sent, no token needed."
)
@json_option
def propose(files: tuple[Path, ...], model: str | None, only_print: bool, as_json: bool) -> None:
    """Open a pull or merge request for each retrained candidate that waits for one ([retrain] deliver).

    Its only change is the version line of the deployments file, on the default branch. One request per candidate: a
    newer candidate closes the older request, and one that people closed is not opened again. Reads the token from
    GITHUB_TOKEN or GITLAB_TOKEN. Exit codes: 0 done, or nothing to propose, 2 a line has to be written by hand, 3 the
    code host or a store said no.

    \b
    Examples: flyball ci propose deployments/production.toml --print
              flyball ci propose deployments/*.toml
    """
    from flyball.cli.connection import open_home

    with open_home() as app:
        found = app.propose(files, model=model, only_print=only_print)
    show(found, as_json, _render)
    sys.exit(found.exit_code)


def _render(found: Any) -> None:
    for one in found.proposals:
        where = one.model if one.environment is None else f"{one.environment}/{one.model}"
        version = "" if one.version is None else f" version {one.version}:"
        word = "error: " if one.state == "failed" else ""
        click.echo(f"{where}:{version} {word}{printable(one.because)}")
        if one.url is not None:
            click.echo(f"    {printable(one.url)}")
        for number in one.closed:
            click.echo(f"    closed the older request {number}")
        if one.state == "printed":
            click.echo(f"\n{one.title}\nbranch {one.branch}\n")
            for line in (*one.change.splitlines(), "", *one.body.splitlines()):
                click.echo(line_of(line))
    if not found.proposals:
        click.echo("the files name no model")
