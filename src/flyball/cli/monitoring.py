"""`flyball monitor|signals|incidents|retrain`."""

from __future__ import annotations

from typing import Any

import click

from flyball.cli.output import facts, json_option, moment, progress, show, table


@click.command()
@click.argument("model", required=False)
@json_option
def monitor(model: str | None, as_json: bool) -> None:
    """Analyse closed windows now and print the state of every check.

    \b
    Example: flyball monitor credit-default
    """
    from flyball.cli.connection import open_flyball

    with open_flyball() as app:
        show(app.monitor(model), as_json, _render_checks)


def _render_checks(found: Any) -> None:
    for item in found:
        click.echo(f"{item['model']}: {item['summary']}")
        if item["windows"]:
            table(
                ("window", "rows", "labelled", "error", "reference", "state"),
                [
                    (moment(w["start"]), w["rows"], w["labelled"], w["loss"], w["reference"], w["state"])
                    for w in item["windows"]
                ],
            )
    if not found:
        click.echo("(no model)")


@click.command()
@click.argument("model", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many.")
@json_option
def signals(model: str | None, limit: int, as_json: bool) -> None:
    """List alarms, newest first.

    \b
    Example: flyball signals credit-default
    """
    from flyball.cli.connection import open_flyball

    with open_flyball() as app:
        show(
            app.list_signals(model, limit),
            as_json,
            lambda items: table(
                ("signal", "model", "kind", "since", "cause", "what"),
                [(s.id, s.model, s.kind, s.window_start, s.cause, s.sentence) for s in items],
            ),
        )


@click.group(invoke_without_command=True)
@click.option("--model", default=None, help="Only those of this model.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many.")
@json_option
@click.pass_context
def incidents(context: click.Context, model: str | None, limit: int, as_json: bool) -> None:
    """List incidents, newest first; `incidents show ID` tells one.

    \b
    Example: flyball incidents
    """
    if context.invoked_subcommand is not None:
        return
    from flyball.cli.connection import open_flyball

    with open_flyball() as app:
        show(
            app.list_incidents(model, limit),
            as_json,
            lambda items: table(
                ("incident", "model", "state", "opened", "resolved", "title"),
                [(i.id, i.model, i.state, i.opened_at, i.resolved_at, i.title) for i in items],
            ),
        )


@incidents.command("show")
@click.argument("incident_id", metavar="INCIDENT")
@json_option
def show_incident(incident_id: str, as_json: bool) -> None:
    """Show one incident with its timeline.

    \b
    Example: flyball incidents show inc_0199…
    """
    from flyball.cli.connection import open_flyball

    with open_flyball() as app:
        show(app.get_incident(incident_id), as_json, _render_incident)


def _render_incident(found: Any) -> None:
    incident, entries = found["incident"], found["entries"]
    facts(
        [
            ("incident", incident.id),
            ("model", incident.model),
            ("state", incident.state),
            ("title", incident.title),
            ("cause", incident.cause),
            ("opened", incident.opened_at),
            ("resolved", incident.resolved_at),
        ]
    )
    click.echo()
    table(("model time", "kind", "what"), [(e.model_time, e.kind, e.text) for e in entries])


@click.command()
@click.argument("model")
@click.option("--why", default="asked for by hand", show_default=True, help="Recorded with the retraining.")
@json_option
def retrain(model: str, why: str, as_json: bool) -> None:
    """Train a candidate for MODEL on recent data now; gates and rollout follow as after an alarm.

    \b
    Example: flyball retrain credit-default --why "new branch opened"
    """
    from flyball.cli.connection import open_flyball

    with open_flyball() as app:
        asked = app.retrain(model, why=why)
        progress("asked; a running `flyball up` trains, gates and rolls out the candidate")
        show(asked, as_json, lambda r: facts(r.items()))
