"""What Alembic runs: the migrations on the connection that `backends.db.migrate` opened, in its transaction.

`python -m flyball.operations.migrations.draft NAME` drafts a new migration.
"""

from __future__ import annotations

from alembic import context

from flyball.backends.db.metadata import metadata

connection = context.config.attributes["connection"]
# Columns are compared by type too, and a table of SQLite is rebuilt where it can't be altered.
context.configure(connection=connection, target_metadata=metadata, compare_type=True, render_as_batch=True)
context.run_migrations()
