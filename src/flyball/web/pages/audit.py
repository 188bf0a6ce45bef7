"""The audit trail: who did what to what, when and why; and whether the chain holds."""

from __future__ import annotations

import re
from typing import Annotated

from litestar import Response
from litestar.params import QueryParameter

from flyball.web.api.parameters import App, Cursor, ModelFilter
from flyball.web.api.records import read_number
from flyball.web.names import read_model
from flyball.web.pages.rendering import plain, respond

ENTRIES_A_PAGE = 50

# What an entry is about, where a page shows it.
_SUBJECTS = (
    (re.compile(r"(run):(run_[0-9a-f]{32})"), "/runs/{}"),
    (re.compile(r"(incident):(inc_[0-9a-f]{32})"), "/incidents/{}"),
    (re.compile(r"(model|deployment):([a-z0-9][a-z0-9-]{1,62})"), "/models/{}"),
    (re.compile(r"(version):([a-z0-9][a-z0-9-]{1,62}@[0-9]{1,9})"), "/models/{}"),
)

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
        entries=[plain(entry) | {"link": link_of(entry.subject)} for entry in entries[:ENTRIES_A_PAGE]],
        model=name or "",
        next=str(entries[ENTRIES_A_PAGE - 1].number) if more else None,
        verification=plain(flyball.audit_verify(None)) if verify else None,
    )


def link_of(subject: str) -> str:
    """The page that shows what an entry is about; nothing where there is none.

    >>> link_of("version:bikes@3"), link_of("signal:sig_1")
    ('/models/bikes/versions/3', '')
    """
    for pattern, page in _SUBJECTS:
        if match := pattern.fullmatch(subject):
            return page.format(match[2].replace("@", "/versions/"))
    return ""
