"""`flyball predict|outcomes|replay`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flyball.cli.environment import environment_option, find
from flyball.cli.output import cell, facts, json_option, key_option, progress, show, table, timeout_option
from flyball.core.errors import BadInput, told_of

if TYPE_CHECKING:
    from flyball.core.settings import Settings

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
    from flyball.operations.asking import find_server

    return find_server(_settings(environment).home)


def _settings(environment: str | None) -> Settings:
    """The settings of this home, or of an environment's. Raises BadInput for one that is known by its address."""
    from flyball.core.settings import read_settings

    if environment is None:
        return read_settings()
    found = find(environment)
    if found.settings is None:
        raise BadInput(
            f"{environment} is the control plane at {found.place}; name its model server with --url"
        )
    return found.settings


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


@click.command()
@click.argument("model")
@click.argument("source", metavar="INPUT")
@click.argument("output", type=click.Path(path_type=Path))
@url_option
@key_option
@timeout_option
@click.option("--force", is_flag=True, help="Write over OUTPUT if it is there already.")
@environment_option
@json_option
def score(
    model: str,
    source: str,
    output: Path,
    url: str | None,
    key: str | None,
    timeout: float | None,
    force: bool,
    environment: str | None,
    as_json: bool,
) -> None:
    """Predict every row of INPUT (file, folder, pattern, s3://…) into OUTPUT (.parquet, .csv or .jsonl).

    Rows go through the model server, so contract, rollout, fallback and log are those of every prediction; where none
    runs on this home, one is started for the job. Each row of INPUT has one of OUTPUT, in the same order: the columns
    that are no features, then prediction, score_<class>, version, prediction_id, flags and problem. Exit code 1: there
    are rows without a prediction, and their problem says why.

    \b
    Examples: flyball score credit-default clients.parquet predictions.parquet
              flyball score credit-default s3://bucket/clients/ night.csv --key night-1 --timeout 1h
    """
    from flyball.operations.scoring.job import score as run

    with told_of(environment):
        scored = run(
            model,
            source,
            output,
            place=url or _settings(environment),
            folder=Path.cwd(),
            say=progress,
            key=key,
            timeout_seconds=timeout,
            force=force,
        )
    show(scored, as_json, _render_scored)
    sys.exit(1 if scored.refused else 0)


def _render_scored(scored: Any) -> None:
    versions = ", ".join(f"{scored.model}@{item['version']} ({item['rows']:,})" for item in scored.versions)
    facts(
        [
            ("rows", f"{scored.rows:,} in {scored.seconds:,.1f} s"),
            ("answered by", versions),
            ("without prediction", f"{scored.refused:,}" if scored.refused else None),
            ("flagged", _flagged(scored) if scored.flagged else None),
            ("key", scored.key),
            ("output", scored.output),
        ]
    )
    for item in scored.problems:
        click.echo(f"row {item['row']}: {cell(item['problem'])}")
    if scored.refused > len(scored.problems):
        click.echo(f"and {scored.refused - len(scored.problems):,} more; `problem` in the output says why")


def _flagged(scored: Any) -> str:
    most = [f"{name} {count:,}" for name, count in list(scored.flags.items())[:MOST_SCORES]]
    return f"{scored.flagged:,} ({', '.join(most)}{', …' if len(scored.flags) > MOST_SCORES else ''})"


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
