"""What a run works with: stores, settings, clock; and the folders and log of one run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from flyball.backends.blobs.store import BlobStore
from flyball.backends.db.database import Database
from flyball.core.clock import Clock
from flyball.core.settings import Settings
from flyball.pipelines.run_log import LOG_NAME, RunLog

Observer = Callable[[str, str, str], None]


def _ignore(run_id: str, step: str, moment: str) -> None:
    """The observer that looks away."""


@dataclass(frozen=True)
class Workshop:
    """The open stores of one home. `observe` is told (run id, step, "begun" | "done" | "cached") as runs go on."""

    database: Database
    blobs: BlobStore
    settings: Settings
    clock: Clock
    executor_id: str = ""
    observe: Observer = field(default=_ignore)

    def bench(self, run_id: str) -> Bench:
        """The folders of a run, made where they are missing."""
        return Bench(self.settings.runs_folder / run_id)


class Bench:
    """The folders of one run: `source` (its files checked out), `data`, `held_out`, `work`, and its log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = RunLog(folder / LOG_NAME)
        folder.mkdir(parents=True, exist_ok=True)

    def fresh(self, name: str) -> Path:
        """A folder of this name, empty."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def path(self, name: str) -> Path:
        """A folder or file of this name, whether it exists or not."""
        return self.folder / name

    def write_line(self, line: str) -> None:
        """Add a line to the run's log; whoever follows the run sees it at once."""
        self.log.write_line(line)

    def clear(self) -> None:
        """Remove everything but the log: what matters is kept as objects."""
        for path in self.folder.iterdir():
            if path in (self.log.path, self.log.folder):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
