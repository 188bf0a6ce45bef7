"""`flyball ci affected`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from flyball.cli.output import json_option, printable, show, table


@click.command()
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--base", metavar="REF", help="Compare with this branch, tag or commit.")
@json_option
def affected(folder: Path, base: str | None, as_json: bool) -> None:
    """List the models of FOLDER's repository that a change affects, and why.

    A model is affected by the files of its own folder, by what its entries and tests import (read from the syntax
    tree; nothing is run), by rows in the repository that it names, by the packages of its folder and of those above,
    and by the workflows. The base is that of `flyball ci`; without one, every model counts as affected. Environments
    are named whose deployments files (deployments/*.toml) changed, or whose models' project files did.

    \b
    Example: flyball ci affected --base main --json
    """
    from flyball.operations.ci.affected import affected_models  # not by app, which loads what opens databases

    show(affected_models(folder, base, os.environ), as_json, _render)


def _render(found: Any) -> None:
    table(("folder", "model", "because"), [(one.folder, one.model, one.because) for one in found.models])
    click.echo(f"{found.unaffected} not affected")
    for one in found.deployments:
        click.echo(f"deployments to {one.environment or 'this home'}: {printable(one.because)}")
    for note in found.notes:
        click.echo(f"note: {printable(note)}")
