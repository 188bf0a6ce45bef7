"""What `at = "train"` steps gave before, by content: a step with the same code, rows and arguments is not run again."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyball.core.digests import digest_json
from flyball.core.errors import SourceUnreadable

if TYPE_CHECKING:
    import polars as pl

MOST_FILES = 60


class StepCache:
    """Frames in a folder of this machine, the 60 latest. `code` and `environment` are digests."""

    def __init__(self, folder: Path, code: str, environment: str) -> None:
        self._folder, self._code, self._environment = folder, code, environment

    def key(self, entry: str, rows: pl.DataFrame, arguments: dict[str, Any]) -> str | None:
        """The name of what a step gives for these rows and the arguments that it asks for.

        None for rows without a digest: nested columns that an earlier step made.
        """
        from flyball.data.content import digest_content

        try:
            inputs = [self._code, self._environment, entry, digest_content(rows), arguments]
        except SourceUnreadable:
            return None
        return digest_json(inputs).removeprefix("sha256:")

    def find(self, key: str | None) -> pl.DataFrame | None:
        """What the step gave, or None. A file that can't be read counts as none."""
        import polars as pl

        if key is None:
            return None
        path = self._folder / f"{key}.parquet"
        try:
            frame = pl.read_parquet(path)
            os.utime(path)
        except (OSError, pl.exceptions.PolarsError):
            return None
        return frame

    def keep(self, key: str | None, frame: pl.DataFrame) -> None:
        """Keep what a step gave; the oldest files go when there are too many."""
        if key is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".making-", dir=self._folder)
        os.close(handle)
        frame.write_parquet(name, compression="lz4")
        Path(name).replace(self._folder / f"{key}.parquet")
        files = sorted(self._folder.glob("*.parquet"), key=lambda file: file.stat().st_mtime)
        for file in files[:-MOST_FILES]:
            file.unlink(missing_ok=True)
