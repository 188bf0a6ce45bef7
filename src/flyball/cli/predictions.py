"""`flyball predict|outcomes|replay`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from flyball.cli.output import facts, json_option, show, table

url_option = click.option(
    "--url", default=None, help="Model server; default: the one of the running `flyball up`."
)


@click.command()
@click.argument("model")
@click.argument("rows", type=str)
@url_option
@json_option
def predict(model: str, rows: str, url: str | None, as_json: bool) -> None:
    """Ask for predictions of ROWS: JSON text, a .json, .csv or .parquet file, or - for standard input.

    \b
    Example: flyball predict credit-default '{"age": 41, "limit_bal": 20000}'
    """
    from flyball.app import open_app

    with open_app() as app:
        answer = app.predict(model, rows, url=url)
        show(answer, as_json, _render_answer)


def _render_answer(answer: Any) -> None:
    ids = answer["prediction_ids"]
    table(("prediction", "id"), zip(answer["predictions"], ids, strict=True))
    click.echo(f"{answer['model']}@{answer['version']} ({answer['role']})")


@click.group()
def outcomes() -> None:
    """What really happened."""


@outcomes.command("add")
@click.argument("model")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@url_option
@json_option
def add(model: str, file: Path, url: str | None, as_json: bool) -> None:
    """Add outcomes from FILE: columns value and prediction_id (or entity and time), optional at.

    \b
    Example: flyball outcomes add credit-default outcomes.csv
    """
    from flyball.app import open_app

    with open_app() as app:
        show(
            app.add_outcomes(model, file, url=url),
            as_json,
            lambda r: click.echo(f"{r['accepted']} outcomes accepted"),
        )


@click.command()
@click.argument("prediction_id")
@json_option
def replay(prediction_id: str, as_json: bool) -> None:
    """Give the same input to the same version again and compare (exit code 1 when it differs).

    \b
    Example: flyball replay prd_0199…
    """
    from flyball.app import open_app

    with open_app() as app:
        result = app.replay(prediction_id)
        show(result, as_json, lambda r: facts(r.items()))
    sys.exit(0 if result["identical"] else 1)
