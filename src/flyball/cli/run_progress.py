"""How a run tells what it does: one line a step, with its digests cut short."""

from __future__ import annotations

import re

import click

from flyball.cli.output import printable, short

_STEP = re.compile(r"^([a-z]+) (…|done|unchanged)(.*)$")
# What the result says again.
_REPEATED = ("gate ", "registered: ", "refused: ", "failed: ")


class RunProgress:
    """Takes a run's log line by line and writes to standard error; a step's line is finished when the step is.

    What the user's own code prints comes between, marked with its step. warnings: those that came by; the result says
    them again, so they are not told here.
    """

    def __init__(self) -> None:
        self._open: str | None = None
        self.warnings: list[str] = []

    def __call__(self, line: str) -> None:
        """Tell one line of the log."""
        line = printable(line)
        found = _STEP.match(line)
        if line.startswith("warning: "):
            self.warnings.append(line.removeprefix("warning: "))
            return
        if found is None:
            if not line.startswith(_REPEATED):
                self.close()
                click.echo(f"  {short(line)}", err=True)
            return
        name, state, rest = found.groups()
        if state == "…":
            self.close()
            click.echo(f"{name:<11} …{rest}", err=True, nl=False)
            self._open = name
            return
        facts = short(rest.lstrip(": ")) if state == "done" else "unchanged"
        if self._open == name:
            click.echo(f" {facts}", err=True)
        else:
            click.echo(f"{name:<11} … {facts}", err=True)
        self._open = None

    def close(self) -> None:
        """End a line that is still open."""
        if self._open is not None:
            click.echo(err=True)
            self._open = None
