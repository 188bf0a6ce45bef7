"""`flyball approve|reject`."""

from __future__ import annotations

from typing import Any

import click

from flyball.cli.output import json_option, show


@click.command()
@click.argument("ref")
@click.option("--why", required=True, help="Recorded with the approval.")
@json_option
def approve(ref: str, why: str, as_json: bool) -> None:
    """Approve MODEL@REF for what its settings ask approvals for. The author's own does not count.

    \b
    Example: flyball approve credit-default@4 --why "validated on branch data"
    """
    from flyball.app import open_app

    with open_app() as app:
        show(app.approve(ref, why=why), as_json, _render)


@click.command()
@click.argument("ref")
@click.option("--why", required=True, help="Recorded with the rejection.")
@json_option
def reject(ref: str, why: str, as_json: bool) -> None:
    """Reject MODEL@REF: a rollout that waits for approvals ends.

    \b
    Example: flyball reject credit-default@4 --why "fails for new customers"
    """
    from flyball.app import open_app

    with open_app() as app:
        show(app.reject(ref, why=why), as_json, _render)


def _render(done: dict[str, Any]) -> None:
    click.echo(f"{done['model']}@{done['version']} {done['answer']} by {done['by']}")
