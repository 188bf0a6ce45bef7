"""`flyball predict|outcomes|replay`."""

from __future__ import annotations

import sys
from typing import Any

import click

from flyball.cli.environment import environment_option, find
from flyball.cli.output import cell, facts, json_option, show, table
from flyball.core.errors import BadInput, told_of

MOST_SCORES = 3

url_option = click.option(
    "--url", default=None, help="Model server; default: the one of the running `flyball up`."
)


@click.command()
@click.argument("model")
@click.argument("rows")
@url_option
@environment_option
@json_option
def predict(model: str, rows: str, url: str | None, environment: str | None, as_json: bool) -> None:
    """Ask for predictions of ROWS: JSON text, a .json, .jsonl, .csv or .parquet file, or - for standard input.

    \b
    Examples: flyball predict credit-default '{"age": 41, "limit_bal": 20000}'
              flyball predict credit-default new-clients.csv

    Scores are shown with the class they are of; in JSON, `classes` are in the order of each row's `scores`.
    """
    from flyball.operations.asking import find_classes
    from flyball.operations.asking import predict as ask

    with told_of(environment):
        server = url or _server(environment)
        answer = ask(server, model, rows)
    classes = find_classes(server, model, answer)
    show(answer if classes is None else {**answer, "classes": classes}, as_json, _render_answer)


def _server(environment: str | None) -> str:
    from flyball.core.settings import read_settings
    from flyball.operations.asking import find_server

    if environment is None:
        return find_server(read_settings().home)
    found = find(environment)
    if found.settings is None:
        raise BadInput(
            f"{environment} is the control plane at {found.place}; name its model server with --url"
        )
    return find_server(found.settings.home)


def _render_answer(answer: Any) -> None:
    scores, classes = answer.get("scores"), answer.get("classes")
    headings = _score_headings(classes) if scores else ()
    rows = [
        (
            prediction,
            *(_score_cells(scores[i], classes, prediction) if scores else ()),
            identity,
            ", ".join(answer["flags"][i]),
        )
        for i, (prediction, identity) in enumerate(
            zip(answer["predictions"], answer["prediction_ids"], strict=True)
        )
    ]
    table(("prediction", *headings, "id", "flags"), rows)
    by = answer.get("versions")
    if by:
        click.echo(f"{answer['model']}, versions {', '.join(str(n) for n in dict.fromkeys(by))}")
    else:
        click.echo(f"{answer['model']}@{answer['version']} ({answer['role']})")


def _score_headings(classes: list[Any] | None) -> tuple[str, ...]:
    if classes is None:
        return ("scores, in the order of the classes",)
    if len(classes) <= MOST_SCORES:
        return tuple(f"score of {cell(label)}" for label in classes)
    return ("score of the predicted class",)


def _score_cells(scores: list[float], classes: list[Any] | None, prediction: Any) -> tuple[Any, ...]:
    """Every class's own score while there are few; a bare number would be read as the positive class's."""
    if classes is None:
        return (", ".join(f"{score:.4g}" for score in scores),)
    if len(classes) <= MOST_SCORES:
        return tuple(scores)
    return (scores[classes.index(prediction)] if prediction in classes else None,)


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
@environment_option
@json_option
def add(model: str, file: str, url: str | None, environment: str | None, as_json: bool) -> None:
    """Add outcomes from FILE (.csv, .parquet, .json, .jsonl, or - for JSON on standard input).

    Columns: value and prediction_id (or entity and time), and at where the moment of knowing is recorded. Adding the
    same outcomes again is safe; a later value replaces an earlier one.

    \b
    Example: flyball outcomes add credit-default outcomes.csv
    """
    from flyball.operations.asking import add_outcomes

    with told_of(environment):
        added = add_outcomes(url or _server(environment), model, file)
    show(added, as_json, lambda done: click.echo(f"{done['accepted']} outcomes accepted"))


@click.command()
@click.argument("prediction_id", metavar="PREDICTION")
@environment_option
@json_option
def replay(prediction_id: str, environment: str | None, as_json: bool) -> None:
    """Give the same input to the same version again and compare (exit code 1 when it differs).

    \b
    Example: flyball replay prd_0199…
    """
    from flyball.cli.connection import open_home

    with open_home(environment) as app:
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
