"""`flyball init|check|contract|schema`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from flyball.cli.output import facts, json_option, printable, show, table

SHOWN = 50


@click.command()
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option("--data", type=click.Path(path_type=Path), help="A table: csv, parquet, json lines.")
@click.option("--target", help="The column to predict.")
@click.option("--name", help="Name of the model; default: the folder's.")
@click.option("--template", help="A built-in example instead of data: orders (the default without --data).")
@json_option
def init(
    folder: Path, data: Path | None, target: str | None, name: str | None, template: str | None, as_json: bool
) -> None:
    """Write a project into FOLDER: flyball.toml and a readable train.py. It runs at once.

    Task, time, entity and columns to leave out are taken from the data, and told. Nothing is overwritten.

    \b
    Examples: flyball init shop
              flyball init churn --data customers.csv --target churned
    """
    from flyball.app import init_project

    report = init_project(folder, data=data, target=target, name=name, template=template)
    show(report, as_json, _render_init)


def _render_init(report: Any) -> None:
    for file in report.files:
        click.echo(f"wrote {file}")
    told = [
        ("model", f"{report.name}, {report.task}"),
        ("target", report.target),
        ("positive class", report.positive),
    ]
    told += [("event time", report.time), ("entity", report.entity), ("features", report.features)]
    facts([*told, *((f"left out {name}", reason) for name, reason in report.excluded.items())])
    folder = Path(report.files[0]).parent
    step_in = "" if folder == Path() else f"`cd {folder}`, "
    click.echo(f"Next: {step_in}`flyball check`, `flyball run`")


@click.command()
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option("--explain", is_flag=True, help="Every value with where it came from and why.")
@json_option
def check(folder: Path, explain: bool, as_json: bool) -> None:
    """Check file, data, contract and training entry without training; exit code 1 when something is wrong.

    \b
    Example: flyball check --explain
    """
    from flyball.app import check_project

    report = check_project(folder, explain=explain)
    show(report, as_json, _render_check)
    sys.exit(1 if report["problems"] else 0)


def _render_check(report: Any) -> None:
    facts([("model", report["model"]), ("features", report["features"]), ("rows", report["rows"])])
    for kind in ("problems", "warnings", "notes"):
        for item in report[kind]:
            click.echo(f"{kind[:-1]}: {printable(item)}")
    for item in report["not_acted_on"]:
        click.echo(printable(f"not acted on yet: {item['key']} ({item['because']})"))
    if report.get("explained"):
        table(
            ("key", "value", "from", "reason"),
            [(e["key"], e["value"], e["origin"], e["reason"]) for e in report["explained"]],
        )
    problems = len(report["problems"])
    click.echo(f"check found {problems} problem{'s' if problems > 1 else ''}" if problems else "check passed")


@click.group()
def contract() -> None:
    """What the data must satisfy.

    \b
    Example: flyball contract infer
    """


@contract.command("infer")
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))
@json_option
def infer(folder: Path, as_json: bool) -> None:
    """Print the [contract] section that the data suggest.

    \b
    Example: flyball contract infer >> flyball.toml
    """
    from flyball.app import infer_contract

    inferred = infer_contract(folder)
    show(inferred["contract"], as_json, lambda _: click.echo(inferred["toml"]))


@contract.command("check")
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))
@json_option
def check_contract(folder: Path, as_json: bool) -> None:
    """Check the source's rows against the contract; exit code 1 when some break it.

    \b
    Example: flyball contract check
    """
    from flyball.app import check_contract as check_rows

    violations = check_rows(folder)
    show(violations, as_json, _render_violations)
    sys.exit(1 if violations else 0)


def _render_violations(items: Any) -> None:
    if not items:
        click.echo("every row keeps the contract")
        return
    table(
        ("row", "feature", "problem", "got", "expected"),
        [(v.row, v.feature, v.problem, v.got, v.expected) for v in items[:SHOWN]],
    )
    click.echo(f"{len(items)} violations" + (f", the first {SHOWN} are shown" if len(items) > SHOWN else ""))


@click.command()
@json_option
def schema(as_json: bool) -> None:
    """Print the JSON Schema of flyball.toml.

    It is the same with and without --json.

    \b
    Example: flyball schema > flyball.schema.json
    """
    from flyball.app import project_schema

    show(project_schema(), True, click.echo)
