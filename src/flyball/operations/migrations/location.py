"""Where the migrations lie, for whoever opens a database."""

from __future__ import annotations

from pathlib import Path

SCRIPTS = Path(__file__).parent
