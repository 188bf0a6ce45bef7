"""What commands share: tables for people, one JSON document for programs, exit codes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import click

from flyball.core import errors

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")

key_option = click.option(
    "--key",
    default=None,
    metavar="KEY",
    help="Your scheduler's id for this: asked again under it, nothing is done again and the result is the same.",
)


def _seconds(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    from flyball.core.durations import parse_duration

    try:
        return None if text is None else parse_duration(text).total_seconds()
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


timeout_option = click.option(
    "--timeout", metavar="DURATION", callback=_seconds, help="Wait no longer, such as 30m; exit code 3 then."
)

EXIT_CODES: tuple[tuple[type[errors.FlyballError], int], ...] = (
    (errors.NotEnoughEvidence, 4),
    (errors.Refused, 1),
    (errors.BadInput, 2),
    (errors.NotFound, 2),
    (errors.Conflict, 2),
    (errors.Unavailable, 3),
    (errors.Corrupt, 3),
)
_HOST_COMMAND = re.compile(r"##(?=(vso)?\[)", re.IGNORECASE)
_DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")


def exit_code(error: errors.FlyballError) -> int:
    """The exit code that belongs to an error: 1 no, 2 wrong use or bad input, 3 broke, 4 not enough evidence."""
    return exit_code_of(errors.find_class(error.code) or type(error))


def exit_code_of(kind: type[errors.FlyballError]) -> int:
    """The exit code of a class of errors."""
    return next((code for branch, code in EXIT_CODES if issubclass(kind, branch)), 3)


def show(value: Any, as_json: bool, render: Callable[[Any], None]) -> None:
    """Print a result: as JSON when asked, else by `render`."""
    if as_json:
        import msgspec

        text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
        # The same JSON, in which a host that keeps it as a log finds no command: two of these stand in texts only.
        click.echo(text.replace("##", r"#\u0023"))
    else:
        render(value)


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows under headings, columns as wide as their content (plain text: cheap, greppable)."""
    lines = [[cell(value) for value in row] for row in rows]
    widths = [max([len(heading), *(len(line[i]) for line in lines)]) for i, heading in enumerate(headings)]
    click.secho("  ".join(h.ljust(w) for h, w in zip(headings, widths, strict=True)).rstrip(), bold=True)
    for line in lines:
        click.echo("  ".join(text.ljust(w) for text, w in zip(line, widths, strict=True)).rstrip())
    if not lines:
        click.echo("(none)")


def facts(pairs: Iterable[tuple[str, Any]]) -> None:
    """Print names and values, one pair a line; empty values are left out."""
    shown = [(name, cell(value)) for name, value in pairs if value not in (None, "", [], {})]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        click.echo(f"{name.ljust(width)}  {value}")


def moment(value: datetime | str | None) -> str:
    """A moment to the second, in UTC; text is a moment as JSON has it.

    >>> moment("2026-03-01T12:00:00.123Z")
    '2026-03-01 12:00:00Z'
    """
    if isinstance(value, str):
        return f"{value[:19].replace('T', ' ')}Z"
    return "" if value is None else value.strftime("%Y-%m-%d %H:%M:%SZ")


def short(text: str) -> str:
    """Text with its digests cut to twelve digits, which every command takes as well.

    >>> short("tree sha256:" + "ab" * 32)
    'tree sha256:abababababab'
    """
    return _DIGEST.sub(r"\1", text)


def cell(value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, dict):
        return ", ".join(f"{cell(name)} = {cell(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(cell(item) for item in value)
    return printable(str(value))


def printable(text: str) -> str:
    r"""A line that others wrote, for a terminal or a log: no control character reaches it, a tab becomes spaces.

    Nor does the host that keeps the log find a command to itself within the line.

    >>> printable("loss \x1b[31m0.2\tdone"), printable("##vso[task.setvariable]d")
    ('loss ?[31m0.2  done', '# #vso[task.setvariable]d')
    """
    shown = text if text.isprintable() else "".join(_shown(char) for char in text)
    return _HOST_COMMAND.sub("# #", shown)


def line_of(text: str) -> str:
    """`printable` for what stands at the beginning of a line, where GitHub looks for commands.

    >>> line_of("::error::c")
    '| ::error::c'
    """
    line = printable(text)
    return f"| {line}" if line.lstrip().startswith("::") else line


def _shown(char: str) -> str:
    return char if char.isprintable() else "  " if char == "\t" else "?"


def progress(line: str) -> None:
    """A line of progress, on standard error, so that standard output stays the result."""
    click.echo(line_of(line), err=True)
