"""`/api/v1/…` of what was done and answered: runs, predictions, the audit trail."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar.params import QueryParameter

from flyball.governance.journal import Entry
from flyball.governance.verify import Verification
from flyball.pipelines.runs import Run, RunStep
from flyball.web.api.parameters import App, Cursor, InPath, Limit, ModelFilter
from flyball.web.names import read_model, read_prediction, read_run
from flyball.web.paging import MOST_LOG_LINES, Page, take_page

Head = Annotated[
    str | None,
    QueryParameter(max_length=120, description="A head noted earlier, number:sha256:…; finds truncation."),
]

LogOffset = Annotated[
    int | None,
    QueryParameter(ge=0, le=2**53, description="Number of the first line; none for the last lines."),
]
LogLimit = Annotated[int, QueryParameter(ge=1, le=MOST_LOG_LINES, description="Most lines of an answer.")]


class RunView(msgspec.Struct, frozen=True):
    """A run and its steps."""

    run: Run
    steps: list[RunStep]


class RunLog(msgspec.Struct, frozen=True):
    """A page of what a run printed, oldest line first.

    `offset`: number of the first line, from 0; `next`: `offset` of the next page, null at the end; `total`: how many
    lines were printed so far; `left_out`: how many of them the log had no room for.
    """

    run_id: str
    lines: list[str]
    offset: int
    next: int | None
    total: int
    left_out: int


def list_runs(
    flyball: App, model_name: ModelFilter = None, limit: Limit = 50, cursor: Cursor = None
) -> Page[Run]:
    """Runs, newest first."""
    return take_page(lambda count: flyball.list_runs(model_name, count), lambda run: run.id, limit, cursor)


def get_run(flyball: App, run_id: InPath) -> RunView:
    """One run and its steps."""
    return RunView(**flyball.get_run(read_run(run_id)))


def run_log(flyball: App, run_id: InPath, offset: LogOffset = None, limit: LogLimit = 200) -> RunLog:
    """What a run printed, line by line: from line `offset` on, or the last lines without it."""
    name = read_run(run_id)
    return RunLog(name, **msgspec.structs.asdict(flyball.run_log(name, offset, limit)))


def get_prediction(flyball: App, prediction_id: InPath) -> dict[str, Any]:
    """One prediction with its input, answer, version, outcome and lineage."""
    return flyball.get_prediction(read_prediction(prediction_id))


def recent_predictions(
    flyball: App, model: InPath, limit: Limit = 50, cursor: Cursor = None
) -> Page[dict[str, Any]]:
    """The newest predictions of a model, in short."""
    name = read_model(model)
    flyball.get_model(name)
    return take_page(
        lambda count: flyball.recent_predictions(name, count),
        lambda found: f"{found['id']}/{found['role']}",
        limit,
        cursor,
    )


def audit_log(
    flyball: App, model_name: ModelFilter = None, limit: Limit = 50, cursor: Cursor = None
) -> Page[Entry]:
    """Audit entries, newest first."""
    before = read_number(cursor)
    entries = flyball.audit_log(model_name, limit + 1, before)
    more = len(entries) > limit
    return Page(entries[:limit], str(entries[limit - 1].number) if more else None)


def audit_verify(flyball: App, head: Head = None) -> Verification:
    """Whether every entry is in its place and unchanged."""
    found: Verification = flyball.audit_verify(head)
    return found


def read_number(cursor: str | None) -> int | None:
    """The entry number in a cursor of the audit trail. Raises BadInput."""
    from flyball.core.errors import BadInput

    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 15):
        raise BadInput("this is no cursor of ours; begin again without it", cursor=cursor[:100])
    return int(cursor)
