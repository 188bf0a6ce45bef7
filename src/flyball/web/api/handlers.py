"""The handler of each API endpoint, by the endpoint's name in `flyball/core/endpoints.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flyball.web.api import loop, models, records, system, transfers

API_HANDLERS: dict[str, Callable[..., Any]] = {
    "control.schema": system.schema,
    "control.health": system.health,
    "control.status": system.status,
    "control.events": system.events,
    "control.models": models.list_models,
    "control.model": models.get_model,
    "control.versions": models.list_versions,
    "control.version": models.show_version,
    "control.history": models.history,
    "control.aliases": models.list_aliases,
    "control.progress": models.progress,
    "control.series": models.series,
    "control.drift": models.drift,
    "control.checks": models.checks,
    "control.why": models.why,
    "control.model_predictions": records.recent_predictions,
    "control.missing_objects": transfers.missing_objects,
    "control.put_object": transfers.put_object,
    "control.take_version": transfers.take_version,
    "control.deploy": loop.deploy,
    "control.decide": loop.decide_rollout,
    "control.rollback": loop.rollback,
    "control.retrain": loop.retrain,
    "control.monitor": loop.monitor,
    "control.runs": records.list_runs,
    "control.run": records.get_run,
    "control.run_log": records.run_log,
    "control.deployments": loop.list_deployments,
    "control.rollouts": loop.list_rollouts,
    "control.retrainings": loop.list_retrainings,
    "control.signals": loop.list_signals,
    "control.incidents": loop.list_incidents,
    "control.incident": loop.get_incident,
    "control.note": loop.add_note,
    "control.prediction": records.get_prediction,
    "control.audit": records.audit_log,
    "control.audit_verify": records.audit_verify,
}
