"""What Alembic runs: the migrations on the connection that `backends.db.migrate` opened, in its transaction.

`python -m flyball.operations.migrations.draft NAME` drafts a new migration.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from alembic import context

from flyball.backends.db.metadata import Json, UtcDateTime, metadata


def is_ours(_object: object, name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
    """Whether something belongs to the schema: tests define tables of their own in the same metadata."""
    return not (kind == "table" and (name or "").startswith("test_"))


def render(kind: str, item: Any, _autogenerate: Any) -> str | Literal[False]:
    """Our column types under the names that script.py.mako imports; the rest as Alembic renders it."""
    return f"{type(item).__name__}()" if kind == "type" and isinstance(item, (Json, UtcDateTime)) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
    include_object=is_ours,
    render_item=render,
    # SQLite can't alter a table in place; the first migration only makes tables.
    render_as_batch=any((Path(__file__).parent / "versions").glob("m*.py")),
)
context.run_migrations()
