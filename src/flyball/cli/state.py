"""`flyball status|doctor|why|migrate`."""

from __future__ import annotations

import sys
from typing import Any

import click

from flyball.cli.environment import environment_option
from flyball.cli.output import facts, json_option, moment, show, table


@click.command()
@environment_option
@json_option
def status(environment: str | None, as_json: bool) -> None:
    """Tell what runs, where state lives, and how each model stands.

    \b
    Example: flyball status
    """
    from flyball.cli.connection import open_flyball

    with open_flyball(environment) as app:
        show(app.status(), as_json, _render_status)


def _render_status(found: Any) -> None:
    facts([*found["places"].items(), *found["processes"].items()])
    click.echo()
    models = found["models"]
    table(
        ("model", "champion", "candidate", "model time", "predictions", "outcomes", "pending", "state"),
        [
            (m["model"], m["champion"], m["candidate"], moment(m["model_time"]), m["predictions"], m["outcomes"],
             m["pending_outcomes"], m["state"])
            for m in models
        ],
    )  # fmt: skip
    for problem in found["problems"]:
        click.echo(problem)
    for model in models:
        if model["pending_outcomes"]:
            click.echo(
                f"{model['model']}: {model['pending_outcomes']} outcomes fit no prediction yet; they are kept until "
                "one comes. Check prediction_id, or entity and time, where they should have fitted"
            )
        if model["conflicts"]:
            click.echo(
                f"{model['model']}: {model['conflicts']} predictions came with an id that was used for other input; "
                "the first of each was kept"
            )


@click.command()
@click.argument("model")
@environment_option
@json_option
def why(model: str, environment: str | None, as_json: bool) -> None:
    """Tell in a paragraph how MODEL stands and why.

    \b
    Example: flyball why credit-default
    """
    from flyball.cli.advice import advised
    from flyball.cli.connection import open_flyball

    with open_flyball(environment) as app:
        show(app.why(model), as_json, lambda found: click.echo(advised(found["text"], environment)))


@click.command()
@environment_option
@json_option
def doctor(environment: str | None, as_json: bool) -> None:
    """Look for anything broken; exit code 1 when something is.

    \b
    Example: flyball doctor
    """
    from flyball.cli.connection import open_home

    with open_home(environment) as app:
        findings = app.doctor()
        show(
            findings,
            as_json,
            lambda items: table(
                ("check", "state", "what to do"), [(i["check"], i["state"], i["repair"]) for i in items]
            ),
        )
    sys.exit(1 if any(item["state"] == "wrong" for item in findings) else 0)


@click.command()
@json_option
def migrate(as_json: bool) -> None:
    """Bring the database to this release's schema; a backup is written first where something changes.

    \b
    Example: flyball migrate
    """
    from flyball.cli.connection import open_home

    # Opening migrates: an older database is never used half way.
    with open_home() as app:
        show(
            {"home": str(app.settings.home), "schema": "up to date"},
            as_json,
            lambda done: click.echo(f"{done['home']}: the schema is up to date"),
        )
