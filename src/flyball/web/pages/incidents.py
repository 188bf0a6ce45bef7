"""Incidents: all of them, and one with its timeline."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from litestar import Response

from flyball.web.api.parameters import App, Cursor, InPath
from flyball.web.names import read_incident
from flyball.web.pages.rendering import plain, respond
from flyball.web.paging import take_page

INCIDENTS_A_PAGE = 50
SIGNALS_IN_A_ROW = 3


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
        entries=fold_signals(in_order(found["entries"])),
        signals=found["signals"],
    )


def in_order(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries by the model time they belong to; what has none, such as a note, stays behind what it followed."""
    last = ""
    dated = []
    for entry in entries:
        last = entry["model_time"] or last
        dated.append((last, entry))
    return [entry for _, entry in sorted(dated, key=lambda pair: pair[0])]


def fold_signals(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries with long rows of signals folded: the first and the last stay, those between go into `folded`."""
    found: list[dict[str, Any]] = []
    for kind, group in groupby(entries, key=lambda entry: entry["kind"]):
        row = list(group)
        if kind != "signal" or len(row) <= SIGNALS_IN_A_ROW:
            found += [entry | {"folded": []} for entry in row]
            continue
        found += [row[0] | {"folded": row[1:-1]}, row[-1] | {"folded": []}]
    return found
