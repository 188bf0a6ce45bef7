"""Predictions: the newest of a model, and one in full, back to the data behind it."""

from __future__ import annotations

from typing import Any

from litestar import Response

from flyball.web.api.parameters import App, InPath
from flyball.web.names import read_model, read_prediction
from flyball.web.pages.rendering import plain, respond

SHOWN = 100


def predictions_page(flyball: App, model: InPath) -> Response[str]:
    """The newest predictions of a model. Raises ModelNotFound."""
    name = read_model(model)
    summary = flyball.get_model(name)
    found = plain(flyball.recent_predictions(name, SHOWN))
    return respond(
        "predictions.html",
        place="/",
        model=plain(summary),
        predictions=[answer_line(item) for item in found],
        serve_url=flyball.serve_url if not found and summary.champion else "",
    )


def prediction_page(flyball: App, prediction_id: InPath) -> Response[str]:
    """One prediction. Raises NotFound."""
    found = plain(flyball.get_prediction(read_prediction(prediction_id)))
    return respond(
        "prediction.html",
        place="/",
        found=found,
        answer=answer_line(found),
        shadows=[answer_line(item) for item in found.get("shadow") or []],
        inputs=sorted((found.get("input") or {}).items()),
        lineage=found.get("lineage") or [],
    )


def answer_line(found: dict[str, Any]) -> dict[str, Any]:
    """The answer in one line: what was said, by which version, how long it took, and what then happened."""
    outcome, known_at = found.get("outcome"), found.get("known_at")
    if isinstance(outcome, dict):
        known_at = outcome.get("known_at")
        outcome = outcome.get("value")
    prediction = found.get("prediction")
    latency = found.get("latency_ms")
    if latency is None and found.get("latency_us") is not None:
        latency = found["latency_us"] / 1000
    return {
        "id": found["id"],
        "at": found.get("at"),
        "role": found.get("role"),
        "version": found.get("answered") or found.get("version"),
        "asked": found.get("asked"),
        "prediction": prediction,
        "scores": found.get("scores"),
        "error": found.get("error"),
        "flags": found.get("flags") or [],
        "latency_ms": latency,
        "entity": found.get("entity"),
        "outcome": outcome,
        "known_at": known_at,
        "difference": _difference(prediction, outcome),
    }


def _difference(prediction: Any, outcome: Any) -> float | None:
    """Prediction minus outcome where both are numbers; None for classes, and while the outcome is not known."""
    if isinstance(prediction, bool) or isinstance(outcome, bool):
        return None
    if isinstance(prediction, int | float) and isinstance(outcome, int | float):
        return float(prediction - outcome)
    return None
