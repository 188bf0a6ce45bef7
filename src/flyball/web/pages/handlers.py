"""The handler of each page, form and asset, by the endpoint's name in `flyball/core/endpoints.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flyball.web.pages import assets, audit, forms, incidents, model, overview, predictions, runs, version

PAGE_HANDLERS: dict[str, Callable[..., Any]] = {
    "control.page.overview": overview.overview,
    "control.page.model": model.model_page,
    "control.page.version": version.version_page,
    "control.page.predictions": predictions.predictions_page,
    "control.page.prediction": predictions.prediction_page,
    "control.page.incidents": incidents.incidents_page,
    "control.page.incident": incidents.incident_page,
    "control.page.runs": runs.runs_page,
    "control.page.run": runs.run_page,
    "control.page.run_log": runs.run_log_file,
    "control.page.audit": audit.audit_page,
    "control.page.deploy": forms.deploy,
    "control.page.decide": forms.decide,
    "control.page.rollback": forms.rollback,
    "control.page.retrain": forms.retrain,
    "control.page.note": forms.add_note,
    "control.static": assets.static,
}
