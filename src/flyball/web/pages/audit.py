"""The audit trail: who did what to what, when and why; and whether the chain holds."""

from __future__ import annotations

from typing import Annotated

from litestar import Response
from litestar.params import QueryParameter

from flyball.web.api.parameters import App, Cursor, ModelFilter
from flyball.web.api.records import read_number
from flyball.web.names import read_model
from flyball.web.pages.rendering import plain, respond

ENTRIES_A_PAGE = 50

Verify = Annotated[bool, QueryParameter(description="Read the whole chain and say whether it holds.")]


def audit_page(
    flyball: App, model_name: ModelFilter = None, cursor: Cursor = None, verify: Verify = False
) -> Response[str]:
    """Entries, newest first, of all models or of one."""
    name = read_model(model_name) if model_name else None
    entries = flyball.audit_log(name, ENTRIES_A_PAGE + 1, read_number(cursor))
    more = len(entries) > ENTRIES_A_PAGE
    return respond(
        "audit.html",
        place="/audit",
        entries=plain(entries[:ENTRIES_A_PAGE]),
        model=name or "",
        next=str(entries[ENTRIES_A_PAGE - 1].number) if more else None,
        verification=plain(flyball.audit_verify(None)) if verify else None,
    )
