"""Incidents: all of them, and one with its timeline."""

from __future__ import annotations

from litestar import Response

from flyball.web.api.parameters import App, Cursor, InPath
from flyball.web.names import read_incident
from flyball.web.pages.rendering import plain, respond
from flyball.web.paging import take_page

INCIDENTS_A_PAGE = 50


def incidents_page(flyball: App, cursor: Cursor = None) -> Response[str]:
    """Incidents of all models, newest first."""
    page = take_page(
        lambda count: flyball.list_incidents(None, count), lambda found: found.id, INCIDENTS_A_PAGE, cursor
    )
    return respond(
        "incidents.html",
        place="/incidents",
        incidents=plain(page.items),
        next=page.next,
        paged=cursor is not None,
    )


def incident_page(flyball: App, incident_id: InPath) -> Response[str]:
    """One incident: signals, actions, notes and its end. Raises IncidentNotFound."""
    name = read_incident(incident_id)
    found = plain(flyball.get_incident(name))
    return respond(
        "incident.html",
        place="/incidents",
        here=f"/incidents/{name}",
        incident=found["incident"],
        entries=found["entries"],
        signals=found["signals"],
    )
