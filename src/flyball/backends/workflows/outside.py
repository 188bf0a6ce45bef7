"""Calls of dbos from outside any workflow.

Asked from within a workflow, dbos records each question as a step, and would answer it from the record after a
restart. What we ask is meant for now, and the order of steps is the workflow's own.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from dbos import WorkflowStatus as DbosStatus

T = TypeVar("T")


def outside(function: Callable[[], T]) -> T:
    """The function's result, called as if no workflow were running in this thread."""
    return Context().run(function)


def list_found(**filters: Any) -> list[DbosStatus]:
    """dbos's status rows that fit the filters, without their inputs, oldest first."""
    from dbos import DBOS

    return outside(partial(DBOS.list_workflows, load_input=False, **filters))
