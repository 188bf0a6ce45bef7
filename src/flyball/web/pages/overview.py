"""The overview: every model with its health in a sentence."""

from __future__ import annotations

from typing import Any

from litestar import Response

from flyball.app import ControlApp
from flyball.operations.overview import ModelSummary
from flyball.operations.servers import ServerProblem
from flyball.web.api.parameters import App, Cursor
from flyball.web.pages.charts import sparkline
from flyball.web.pages.rendering import plain, respond
from flyball.web.pages.scales import short_number
from flyball.web.paging import take_page

MODELS_A_PAGE = 50
SPARK_WINDOWS = 30


def overview(flyball: App, cursor: Cursor = None) -> Response[str]:
    """The page of all models."""
    page = take_page(
        lambda count: flyball.list_models()[:count], lambda model: model.name, MODELS_A_PAGE, cursor
    )
    incidents = [plain(found) for found in flyball.list_incidents(None, 200) if found.state == "open"]
    problems = flyball.server_problems()
    models = [_card(flyball, model, incidents, problems) for model in page.items]
    names = {model["name"] for model in models}
    return respond(
        "overview.html",
        place="/",
        here="/",
        models=models,
        paged=cursor is not None,
        summary=count_states([model["state"] for model in models]),
        problems=[str(problem) for problem in problems if problem.about not in names],
        next=page.next,
    )


def count_states(states: list[str]) -> str:
    """How many models stand how, such as `3 models: 1 needs attention, 2 healthy`.

    >>> count_states(["healthy", "attention", "healthy"])
    '3 models: 1 needs attention, 2 healthy'
    """
    words = {
        "attention": ("needs attention", "need attention"),
        "rollout": ("in a rollout", "in a rollout"),
        "not in service": ("not in service", "not in service"),
        "healthy": ("healthy", "healthy"),
    }
    counted = [
        f"{states.count(state)} {words[state][states.count(state) > 1]}" for state in words if state in states
    ]
    return f"{len(states)} model{'s' if len(states) != 1 else ''}: {', '.join(counted)}"


def health(model: ModelSummary, windows: list[dict[str, Any]], metric: str | None) -> tuple[str, str, str]:
    """How a model stands: its state, a sentence, and the command that comes next (or nothing)."""
    if model.champion is None:
        if model.version_count == 0:
            return "not in service", "No version yet. The next step:", "flyball run"
        text = f"{model.version_count} version{'s' if model.version_count > 1 else ''} registered, none in service. "
        return "not in service", text + "The next step:", f"flyball deploy {model.name}"
    judged = [window for window in windows if window["loss"] is not None]
    if judged:
        last = judged[-1]
        text = f"{metric} {short_number(last['loss'])} in the window to {last['end'][:10]}"
        if last["reference"] is not None:
            text += f"; training promised {short_number(last['reference'])}"
        text += "."
    elif windows:
        last = windows[-1]
        missing = (
            "outcomes are not due yet" if last["state"] == "inputs" else "too few with an outcome to judge"
        )
        text = f"{last['rows']} predictions in the window to {last['end'][:10]}: {missing}."
    else:
        text = "In service. No window has been judged yet."
    if model.open_incidents:
        return "attention", text, ""
    if model.candidate is not None:
        return "rollout", f"{text} Version {model.candidate} is being rolled out.", ""
    return "healthy", text, ""


def _card(
    flyball: ControlApp,
    model: ModelSummary,
    incidents: list[dict[str, Any]],
    problems: list[ServerProblem],
) -> dict[str, Any]:
    series = flyball.metric_series(model.name)
    windows = series["windows"]
    state, sentence, command = health(model, windows, series["metric"])
    trouble = [problem.problem for problem in problems if problem.about == model.name]
    recent = windows[-SPARK_WINDOWS:]
    label = f"{series['metric']} of the last {len(recent)} windows"
    return {
        "name": model.name,
        "state": "attention" if trouble else state,
        "sentence": sentence,
        "trouble": trouble[:3],
        "command": command,
        "champion": model.champion,
        "candidate": model.candidate,
        "spark": sparkline([window["loss"] for window in recent], label),
        "incidents": [found for found in incidents if found["model"] == model.name][:3],
    }
