"""`python -m flyball`: the same as the `flyball` command."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Python puts the working folder first, where a project's `click.py` would be imported in place of the real one.
if Path(__file__).resolve().parents[1] != Path.cwd():
    sys.path[:] = [path for path in sys.path if path not in ("", os.getcwd())]

from flyball.cli.main import main

if __name__ == "__main__":
    main()
