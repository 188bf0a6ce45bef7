"""`flyball approve|reject`."""

from __future__ import annotations

from typing import Any

import click

from flyball.cli.environment import environment_option
from flyball.cli.output import json_option, show


@click.command()
@click.argument("ref")
@click.option("--why", required=True, help="Recorded with the approval.")
@environment_option
@json_option
def approve(ref: str, why: str, environment: str | None, as_json: bool) -> None:
    """Approve MODEL@REF for what its settings ask approvals for. The author's own does not count.

    \b
    Example: flyball approve credit-default@4 --why "validated on branch data"
    """
    from flyball.cli.connection import open_home

    with open_home(environment) as app:
        show(app.approve(ref, why=why), as_json, _render)


@click.command()
@click.argument("ref")
@click.option("--why", required=True, help="Recorded with the rejection.")
@environment_option
@json_option
def reject(ref: str, why: str, environment: str | None, as_json: bool) -> None:
    """Reject MODEL@REF: its rollout ends, and no further one begins until you approve it.

    \b
    Example: flyball reject credit-default@4 --why "fails for new customers"
    """
    from flyball.cli.connection import open_home

    with open_home(environment) as app:
        show(app.reject(ref, why=why), as_json, _render)


def _render(done: dict[str, Any]) -> None:
    click.echo(f"{done['model']}@{done['version']} {done['answer']} by {done['by']}")
