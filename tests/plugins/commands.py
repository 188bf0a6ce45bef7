"""The `flyball` command in this process: its exit code and what it printed."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Said(NamedTuple):
    """How a command ended: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output, which has to be one JSON document and nothing else."""
        return json.loads(self.out)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Runs `command("versions", "churn", cwd=folder)`; the working folder is an empty one without `cwd`."""
    from flyball.cli.main import main

    (tmp_path / "elsewhere").mkdir()

    def run(*arguments: str, cwd: Path | None = None) -> Said:
        monkeypatch.chdir(cwd or tmp_path / "elsewhere")
        monkeypatch.setattr(sys, "argv", ["flyball", *arguments])
        # Not pytest's own capture, whose streams are closed after a test while the workflow engine's log keeps them.
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
            main()
        return Said(int(end.value.code or 0), out.getvalue(), err.getvalue())

    return run
