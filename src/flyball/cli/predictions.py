"""`flyball predict|outcomes|replay`."""

from __future__ import annotations

import sys
from typing import Any

import click

from flyball.cli.output import facts, json_option, show, table

url_option = click.option(
    "--url", default=None, help="Model server; default: the one of the running `flyball up`."
)


@click.command()
@click.argument("model")
@click.argument("rows")
@url_option
@json_option
def predict(model: str, rows: str, url: str | None, as_json: bool) -> None:
    """Ask for predictions of ROWS: JSON text, a .json, .jsonl, .csv or .parquet file, or - for standard input.

    \b
    Examples: flyball predict credit-default '{"age": 41, "limit_bal": 20000}'
              flyball predict credit-default new-clients.csv
    """
    from flyball.operations.asking import predict as ask

    show(ask(url or _server(), model, rows), as_json, _render_answer)


def _server() -> str:
    from flyball.core.settings import read_settings
    from flyball.operations.asking import find_server

    return find_server(read_settings().home)


def _render_answer(answer: Any) -> None:
    scores = answer.get("scores")
    rows = [
        (prediction, *([max(scores[i])] if scores else []), identity, ", ".join(answer["flags"][i]))
        for i, (prediction, identity) in enumerate(
            zip(answer["predictions"], answer["prediction_ids"], strict=True)
        )
    ]
    headings = ("prediction", *(["score"] if scores else []), "id", "flags")
    table(headings, rows)
    by = answer.get("versions")
    if by:
        click.echo(f"{answer['model']}, versions {', '.join(str(n) for n in dict.fromkeys(by))}")
    else:
        click.echo(f"{answer['model']}@{answer['version']} ({answer['role']})")


@click.group()
def outcomes() -> None:
    """What really happened.

    \b
    Example: flyball outcomes add credit-default outcomes.csv
    """


@outcomes.command("add")
@click.argument("model")
@click.argument("file")
@url_option
@json_option
def add(model: str, file: str, url: str | None, as_json: bool) -> None:
    """Add outcomes from FILE (.csv, .parquet, .json, .jsonl, or - for JSON on standard input).

    Columns: value and prediction_id (or entity and time), and at where the moment of knowing is recorded. Adding the
    same outcomes again is safe; a later value replaces an earlier one.

    \b
    Example: flyball outcomes add credit-default outcomes.csv
    """
    from flyball.operations.asking import add_outcomes

    show(
        add_outcomes(url or _server(), model, file),
        as_json,
        lambda done: click.echo(f"{done['accepted']} outcomes accepted"),
    )


@click.command()
@click.argument("prediction_id", metavar="PREDICTION")
@json_option
def replay(prediction_id: str, as_json: bool) -> None:
    """Give the same input to the same version again and compare (exit code 1 when it differs).

    \b
    Example: flyball replay prd_0199…
    """
    from flyball.cli.connection import open_home

    with open_home() as app:
        result = app.replay(prediction_id)
        show(result, as_json, _render_replay)
    sys.exit(0 if result["agrees"] else 1)


def _render_replay(result: Any) -> None:
    facts(
        [
            ("prediction", result["prediction_id"]),
            ("version", f"{result['model']}@{result['version']}"),
            ("bundle", result["bundle"]),
            ("answered", result["prediction"]),
            ("again", result["again"]),
            ("largest difference", result["difference"]),
        ]
    )
    said = (
        "identical"
        if result["identical"]
        else "the same but for rounding"
        if result["agrees"]
        else "DIFFERENT"
    )
    click.echo(said)
