"""The model server's application: every endpoint of the data plane with its handler."""

from __future__ import annotations

from flyball.serving.asgi import Application, Gate, Handler
from flyball.serving.health import Health
from flyball.serving.journal import Journal
from flyball.serving.metrics import WorkerMetrics
from flyball.serving.options import ServeOptions
from flyball.serving.outcomes import Outcomes
from flyball.serving.predict import Predictions
from flyball.serving.served import ServedModels


def build_application(
    models: ServedModels,
    journal: Journal,
    metrics: WorkerMetrics,
    options: ServeOptions,
    predictions: Predictions,
) -> Application:
    """The ASGI application over what is served. Raises Refused when an endpoint is not declared in full."""
    outcomes = Outcomes(models, journal)
    health = Health(models, options.models, metrics)
    handlers: dict[str, Handler] = {
        "model.predict": predictions.handle,
        "model.outcomes": outcomes.handle,
        "model.live": health.live,
        "model.ready": health.ready,
        "model.metadata": health.metadata,
        "model.model_ready": health.model_ready,
        "model.version": health.version,
        "model.version_ready": health.version_ready,
        "model.metrics": health.metrics,
    }
    return Application(handlers, Gate(options.host_names), metrics)
