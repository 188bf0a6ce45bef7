"""`flyball status|doctor|why|migrate`."""

from __future__ import annotations

import sys
from typing import Any

import click

from flyball.cli.output import facts, json_option, show, table


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Tell what runs and where state lives. Example: flyball status"""
    from flyball.app import open_app

    with open_app() as app:
        show(app.status(), as_json, _render_status)


def _render_status(found: Any) -> None:
    facts(found["places"].items())
    facts(found["processes"].items())
    table(
        ("model", "champion", "candidate", "revision", "model time", "state"),
        [
            (m["model"], m["champion"], m["candidate"], m["revision"], m["model_time"], m["state"])
            for m in found["models"]
        ],
    )


@click.command()
@click.argument("model")
@json_option
def why(model: str, as_json: bool) -> None:
    """Tell in a paragraph how MODEL stands and why. Example: flyball why credit-default"""
    from flyball.app import open_app

    with open_app() as app:
        show(app.why(model), as_json, lambda found: click.echo(found["text"]))


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Look for anything broken; exit code 1 when something is. Example: flyball doctor"""
    from flyball.app import open_app

    with open_app() as app:
        findings = app.doctor()
        show(
            findings,
            as_json,
            lambda items: table(("check", "state", "what to do"), [tuple(i.values()) for i in items]),
        )
    sys.exit(1 if any(item["state"] == "wrong" for item in findings) else 0)


@click.command()
def migrate() -> None:
    """Bring the database to this release's schema; a backup is written first. Example: flyball migrate"""
    from flyball.app import open_app

    # Opening migrates: an older database is never used half way.
    with open_app() as app:
        click.echo(f"{app.settings.home}: the schema is up to date")
