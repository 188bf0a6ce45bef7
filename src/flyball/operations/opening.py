"""Opens what the settings' URLs choose, with the schema at this release's revision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy.engine import Connection

from flyball.backends.blobs.layered import layered_url
from flyball.backends.blobs.store import BlobStore, open_blobs
from flyball.backends.db.database import Database, open_database
from flyball.backends.db.migrate import migrate
from flyball.core.clock import Clock, SystemClock
from flyball.core.settings import Settings
from flyball.operations.migrations.location import SCRIPTS
from flyball.registry.models import list_models


@dataclass(frozen=True)
class Backends:
    """The stores of one home, open. `tables_url` is where the Delta tables of the log are."""

    settings: Settings
    database: Database
    blobs: BlobStore
    tables_url: str
    clock: Clock

    def fenced(self, fence: Callable[[Connection], None]) -> Backends:
        """The same stores for whoever acts under a lease: `fence` raises in a write transaction once it is lost."""
        return replace(self, database=self.database.fenced(fence))

    def close(self) -> None:
        """Close the database; the other stores hold nothing open."""
        self.database.close()


def open_backends(settings: Settings, clock: Clock | None = None) -> Backends:
    """The stores of a home, made and migrated where needed (a backup goes to `<home>/backups` first).

    A home with models has objects: where their folder is gone (moved, not mounted), none is made in its place. Raises
    NewerData when a later release wrote the database, DatabaseUnavailable, UnsupportedUrl.
    """
    _make_home(settings.home)
    database = open_database(settings.database_url)
    try:
        migrate(database, SCRIPTS, settings.home / "backups")
        with database.read() as conn:
            is_empty = not list_models(conn, limit=1)
    except BaseException:
        database.close()
        raise
    blobs = open_blobs(_objects_url(settings), make=is_empty)
    tables_url = settings.objects_url.rstrip("/") + "/tables"
    return Backends(settings, database, blobs, tables_url, clock or SystemClock())


def _make_home(home: Path) -> None:
    """Make the folder of a home, which keeps itself out of Git: `git add .` would take rows and models along."""
    if not home.is_dir():
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        (home / ".gitignore").write_text("*\n")


def _objects_url(settings: Settings) -> str:
    """Where objects are. Who is to keep nothing for others writes into the home, and reads what others wrote."""
    own = f"file://{settings.home / 'objects'}"
    if settings.cache != "read" or settings.objects_url == own:
        return settings.objects_url
    return layered_url(own, settings.objects_url)
