"""`flyball monitor|signals|incidents|retrain`."""

from __future__ import annotations

from typing import Any

import click

from flyball.cli.output import facts, json_option, progress, show, table


@click.command()
@click.argument("model", required=False)
@json_option
def monitor(model: str | None, as_json: bool) -> None:
    """Analyse closed windows now and print the state of every check. Example: flyball monitor credit-default"""
    from flyball.app import open_app

    with open_app() as app:
        show(app.monitor(model), as_json, _render_checks)


def _render_checks(found: Any) -> None:
    for item in found:
        click.echo(f"{item['model']}: {item['summary']}")
        table(
            ("window", "rows", "labelled", "error", "reference", "state"),
            [
                (w["start"], w["rows"], w["labelled"], w["loss"], w["reference"], w["state"])
                for w in item["windows"]
            ],
        )


@click.command()
@click.argument("model", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@json_option
def signals(model: str | None, limit: int, as_json: bool) -> None:
    """List alarms, newest first. Example: flyball signals credit-default"""
    from flyball.app import open_app

    with open_app() as app:
        show(
            app.list_signals(model, limit),
            as_json,
            lambda items: table(
                ("signal", "model", "kind", "since", "cause", "what"),
                [(s.id, s.model, s.kind, s.window_start, s.cause, s.sentence) for s in items],
            ),
        )


@click.group(invoke_without_command=True)
@click.option("--model", default=None)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@json_option
@click.pass_context
def incidents(context: click.Context, model: str | None, limit: int, as_json: bool) -> None:
    """List incidents, newest first; `incidents show ID` tells one. Example: flyball incidents"""
    if context.invoked_subcommand is not None:
        return
    from flyball.app import open_app

    with open_app() as app:
        show(
            app.list_incidents(model, limit),
            as_json,
            lambda items: table(
                ("incident", "model", "state", "opened", "resolved", "title"),
                [(i.id, i.model, i.state, i.opened_at, i.resolved_at, i.title) for i in items],
            ),
        )


@incidents.command("show")
@click.argument("incident_id")
@json_option
def show_incident(incident_id: str, as_json: bool) -> None:
    """Show one incident with its timeline. Example: flyball incidents show inc_0199…"""
    from flyball.app import open_app

    with open_app() as app:
        show(app.get_incident(incident_id), as_json, _render_incident)


def _render_incident(found: Any) -> None:
    incident, entries = found["incident"], found["entries"]
    facts(
        [
            ("incident", incident.id),
            ("model", incident.model),
            ("state", incident.state),
            ("title", incident.title),
        ]
    )
    table(("model time", "kind", "what"), [(e.model_time, e.kind, e.text) for e in entries])


@click.command()
@click.argument("model")
@click.option("--why", default="asked for by hand", show_default=True)
@json_option
def retrain(model: str, why: str, as_json: bool) -> None:
    """Train a candidate for MODEL on recent data now; gates and rollout follow as after an alarm.

    \b
    Example: flyball retrain credit-default --why "new branch opened"
    """
    from flyball.app import open_app

    with open_app() as app:
        show(
            app.retrain(model, why=why, on_line=progress),
            as_json,
            lambda r: facts(r.items()),
        )
