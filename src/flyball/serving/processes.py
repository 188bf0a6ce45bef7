"""What processes of a model server have in common: their log, and small files that are replaced as a whole."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path


def log_to_stderr(name: str) -> None:
    """Log lines `time name level text` on standard error."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format=f"%(asctime)s {name} %(levelname)s %(message)s",
        force=True,
    )


def replace_file(path: Path, data: bytes) -> None:
    """Give a file new content; readers see the old or the new. Not synced: for what can be made again."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(data)
    draft.replace(path)
