"""Bringing a database to the newest schema: forward only, backup first, one at a time, all or nothing."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from flyball.backends.db.database import Database
from flyball.core.errors import Corrupt, NewerData

_SCRIPT = re.compile(r"^m(\d{4})_\w+\.py$")


def migrate(database: Database, scripts: Path, backup_folder: Path | None = None) -> bool:
    """Apply what is missing of the migrations in `scripts`; True if there was anything to do.

    scripts: an Alembic script location whose `versions/` holds mNNNN_name.py with revision "NNNN".
    backup_folder: where a SQLite database that holds data is copied to first; None for no backup.
    Raises NewerData, and changes nothing, when a newer Flyball has written the database.
    """
    # Comparing names costs 2 ms, loading Alembic 100: every command comes through here.
    revisions = list_revisions(scripts)
    with database.read() as conn:
        if _is_current(stored_revision(conn), revisions, database.place):
            return False
    with database.write() as conn:
        # Nobody else can migrate now: a writer is alone, on either database. Did somebody just before us?
        stored = stored_revision(conn)
        if _is_current(stored, revisions, database.place):
            return False
        if stored is not None and backup_folder is not None and database.dialect == "sqlite":
            _back_up(database, backup_folder, stored)
        _upgrade(conn, scripts)
    return True


def list_revisions(scripts: Path) -> list[str]:
    """The revisions that this program knows, oldest first."""
    found = [match[1] for path in (scripts / "versions").iterdir() if (match := _SCRIPT.match(path.name))]
    return sorted(found)


def stored_revision(conn: Connection) -> str | None:
    """The revision a database is at; None if it was never migrated."""
    if not sa.inspect(conn).has_table("alembic_version"):
        return None
    found = conn.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return None if found is None else str(found)


def _is_current(stored: str | None, known: list[str], place: str) -> bool:
    if stored is None or stored in known:
        return stored == max(known, default=None)
    if stored > max(known, default=""):
        raise NewerData(
            f"{place} was written by a newer Flyball (schema {stored}, this one knows up to "
            f"{max(known, default='none')}); install that version or newer, nothing was changed",
            stored=stored,
        )
    raise Corrupt(
        f"{place} has schema {stored!r}, which no Flyball has written; restore a backup", stored=stored
    )


def _back_up(database: Database, folder: Path, revision: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    # Another connection: readers see the state before our transaction, which is exactly what is wanted.
    database.backup(folder / f"before-migration-{revision}-{moment}.db")


def _upgrade(conn: Connection, scripts: Path) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.attributes["connection"] = conn
    if conn.dialect.name == "sqlite":
        # A table that is rebuilt is dropped in between; its rows' references are checked at the commit.
        conn.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
    command.upgrade(config, "head")
