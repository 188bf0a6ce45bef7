"""Writes the reference from the program itself: `python docs/reference/generate.py` (`--check` only compares)."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

FOLDER = Path(__file__).resolve().parent
SOURCE = FOLDER.parents[1] / "src" / "flyball"
NOTE = "<!-- Written by docs/reference/generate.py; what you change here is lost. -->\n\n"

COMMANDS_TEXT = """
Every command takes `--help`. Results go to standard output, progress and errors to standard error. `--json` prints one
JSON document and nothing else; `up` and `serve` run until they are stopped and have no result. With `FLYBALL_URL` (and
`FLYBALL_TOKEN`) set, what asks and decides goes to that control plane instead of the home on this machine. The home is
`.flyball/` in the nearest folder that has one, up to the Git root and, outside of a repository, up to the folder of
`flyball.toml`; else it is made there. One of another user is refused. `FLYBALL_HOME` names another, and is trusted.
"""
EXIT_CODES = (
    ("0", "done, or yes"),
    ("1", "the answer is no: a gate failed, a check found something, a rule refuses"),
    ("2", "wrong use or bad input"),
    ("3", "something broke"),
    ("4", "not enough evidence yet"),
)
PROJECT_TEXT = """
`flyball.toml` lies beside the training code. `flyball check --explain` prints the value that holds for each setting,
where it came from, and why a default is what it is; `flyball schema` prints the JSON Schema for editors. An unknown key
is an error that names the nearest known one. A flag (`--set data.outcome_delay=2d`) goes before an environment variable
(`FLYBALL__DATA__OUTCOME_DELAY=2d`), that before the file; no variable sets what an `[environments.NAME]` asks for.
Durations are written `500ms`, `90s`, `10m`, `12h`, `7d` or
`4w`. `flyball check` names what is set and not acted on yet.
"""
ENVIRONMENT_TEXT = """
Where state lives, and what differs from machine to machine, is said by environment variables. Settings of a project
stand in its file, and each can be given as `FLYBALL__SECTION__KEY` too (see [the project file](project-file.md)).
"""
ERRORS_TEXT = """
A message says what is wrong, where, and what to do next. The code is stable: programs compare it, and the control
plane's problem documents (RFC 9457) carry it with the facts. The exit code is the command's, the status the control
plane's.
"""
ENDPOINTS_TEXT = """
Every endpoint is declared in `flyball/core/endpoints.py`; a server with an endpoint that has no permission, body
limit or audit event does not start. `anyone` needs no permission. Bodies are JSON, but that of an object. The control
plane describes itself in OpenAPI 3.1 at `/api/schema`; its lists are paged (`limit`, `cursor`), its changes take
`Idempotency-Key`, its errors are problem documents (see [errors](errors.md)).
"""
EVENTS_TEXT = """
Events stream at `/api/v1/events` (server-sent events, or pages of JSON) in the order of commits; each is an audit entry
too (`flyball audit log`). Readers should pass over kinds and facts they do not know: more will come.
"""


def _load_words() -> Any:
    spec = importlib.util.spec_from_file_location("flyball_reference_words", FOLDER / "words.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


words = _load_words()


def commands() -> str:
    """Every command with its help."""
    from flyball.cli.main import COMMANDS, flyball

    # click keeps the help option it made first: asked with other names, the page would differ from what users see.
    names = flyball.context_settings["help_option_names"]
    context = click.Context(flyball, info_name="flyball", terminal_width=110, help_option_names=names)
    parts = [
        "# Commands\n\n",
        NOTE,
        _prose(COMMANDS_TEXT),
        _table(("exit code", "means"), EXIT_CODES),
    ]
    for title, group in COMMANDS.items():
        parts.append(f"\n## {title}\n")
        for name in group:
            command = flyball.get_command(context, name)
            assert command is not None
            parts += _command(command, context, name)
    return "".join(parts)


def _command(command: click.Command, parent: click.Context, name: str) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent, max_content_width=110, terminal_width=110)
    yield f"\n### {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from _command(found, context, below)


def project_file() -> str:
    """Every setting with type, default, meaning and the default's reason."""
    from flyball.pipelines.setting_list import KnownSetting, list_settings

    sections: dict[str, list[KnownSetting]] = {}
    headings: dict[str, KnownSetting] = {}
    for setting in list_settings():
        above, _, _ = setting.key.rpartition(".")
        if setting.is_table or (not above and setting.type == "a table"):
            headings[setting.key] = setting
            sections.setdefault(setting.key, [])
        if above or setting.key not in headings:
            sections.setdefault(above, []).append(setting)
    lines = [
        "# The project file\n\n",
        NOTE,
        _prose(PROJECT_TEXT),
    ]
    for name, settings in sections.items():
        lines.append(f"\n## {_heading(name, headings.get(name))}\n\n")
        if name in headings:
            lines.append(f"{_sentence(headings[name].meaning)}\n\n")
        rows = [
            (
                f"`{setting.key.rpartition('.')[2]}`",
                setting.type,
                _default(setting),
                setting.meaning,
                setting.reason or "",
            )
            for setting in settings
        ]
        if rows:
            lines.append(_table(("key", "type", "default", "what it is", "why this default"), rows))
    return "".join(lines)


def _heading(name: str, setting: Any) -> str:
    if not name:
        return "Above every table"
    if setting is not None and setting.type.startswith("a list of"):
        return f"[[{name}]]"
    if name == "contract.features":
        return "[contract.features.COLUMN]"
    return "[environments.NAME]" if name == "environments" else f"[{name}]"


def _default(setting: Any) -> str:
    if setting.required:
        return "required"
    if setting.default in (None, [], {}):
        return "not set" if setting.default is None else "none"
    if isinstance(setting.default, bool):
        return f"`{str(setting.default).lower()}`"
    return f'`"{setting.default}"`' if isinstance(setting.default, str) else f"`{setting.default}`"


def environment() -> str:
    """Every environment variable with default and meaning."""
    from flyball.core.environment import VARIABLES

    parts = ["# Environment variables\n\n", NOTE, _prose(ENVIRONMENT_TEXT)]
    for title, variables in VARIABLES.items():
        rows = [(f"`{one.name}`", one.default or "not set", one.meaning) for one in variables]
        parts += [f"\n## {title}\n\n", _table(("variable", "default", "what it is"), rows)]
    return "".join(parts)


def errors() -> str:
    """Every error code with exit code, HTTP status and meaning."""
    from flyball.cli.output import exit_code_of
    from flyball.core.errors import FlyballError
    from flyball.web.problems import problem_of

    def status(kind: type[FlyballError]) -> int:
        error = kind.__new__(kind)
        FlyballError.__init__(error, "")
        return problem_of(error).status

    rows = [
        (f"`{kind.code}`", str(exit_code_of(kind)), str(status(kind)), _sentence(_first_line(kind)))
        for kind in _kinds(FlyballError)
    ]
    return "".join(
        [
            "# Errors\n\n",
            NOTE,
            _prose(ERRORS_TEXT),
            _table(("code", "exit code", "HTTP status", "meaning"), sorted(rows)),
            "\n## Refusals of the model server\n\n",
            _refusals("serving"),
            "\n## Refusals of the control plane\n\nBeside the codes above:\n\n",
            _refusals("web"),
        ]
    )


def _kinds(root: Any) -> Iterator[Any]:
    """Every class of the tree in core/errors.py."""
    if root.__module__ == "flyball.core.errors":
        yield root
    for below in root.__subclasses__():
        yield from _kinds(below)


def refusal_statuses(room: str) -> dict[str, set[int]]:
    """The codes that a server's code refuses requests with, and their statuses, read from its source."""
    found: dict[str, set[int]] = {}
    for path in sorted((SOURCE / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or getattr(node.func, "id", "") not in ("Rejected", "Problem"):
                continue
            given = [argument.value for argument in node.args[:2] if isinstance(argument, ast.Constant)]
            if len(given) == 2:
                found.setdefault(str(given[1]), set()).add(int(str(given[0])))
    return found


def _refusals(room: str) -> str:
    rows = [
        (f"`{code}`", ", ".join(str(status) for status in sorted(statuses)), words.REFUSALS[code])
        for code, statuses in sorted(refusal_statuses(room).items())
    ]
    return _table(("code", "HTTP status", "meaning"), rows)


def endpoints() -> str:
    """Every endpoint of both servers."""
    from flyball.core.endpoints import CONTROL_ENDPOINTS, MODEL_ENDPOINTS, Endpoint
    from flyball.web.api.handlers import API_HANDLERS
    from flyball.web.pages.handlers import PAGE_HANDLERS

    told = {name: _first_line(handler) for name, handler in {**API_HANDLERS, **PAGE_HANDLERS}.items()}
    told |= words.MODEL_SERVER

    def rows(chosen: Iterable[Endpoint]) -> list[tuple[str, ...]]:
        return [
            (
                e.method,
                f"`{e.path}`",
                _sentence(told[e.name]),
                e.permission,
                _size(e.body_limit_bytes),
                e.audit or "",
            )
            for e in chosen
        ]

    headings = ("method", "path", "what it does", "permission", "largest body", "audit")
    api = [e for e in CONTROL_ENDPOINTS if e.name in API_HANDLERS]
    pages = [e for e in CONTROL_ENDPOINTS if e.name in PAGE_HANDLERS]
    return "".join(
        [
            "# Endpoints\n\n",
            NOTE,
            _prose(ENDPOINTS_TEXT),
            "## Model server\n\n",
            _table(headings, rows(MODEL_ENDPOINTS)),
            "\n## Control plane: API\n\n",
            _table(headings, rows(api)),
            "\n## Control plane: console\n\n",
            _table(headings, rows(pages)),
        ]
    )


def events_and_metrics() -> str:
    """Event kinds, and the metrics of a model server."""
    from flyball.serving.metrics import METRICS

    return "".join(
        [
            "# Events and metrics\n\n",
            NOTE,
            "## Events\n\n",
            _prose(EVENTS_TEXT),
            _table(
                ("kind", "what happened"),
                [(f"`{kind}`", text) for kind, text in sorted(words.EVENTS.items())],
            ),
            "\n## Metrics\n\n`GET /metrics` of a model server, Prometheus text format, over all its workers.\n\n",
            _table(
                ("metric", "type", "what it counts"),
                [(f"`{name}`", kind, text) for name, (kind, text) in METRICS.items()],
            ),
        ]
    )


def index() -> str:
    """What there is in this folder."""
    return (
        "# Reference\n\n" + NOTE + "Written from the program, and compared with it by the tests.\n\n"
        "- [Commands](commands.md)\n- [The project file](project-file.md)\n"
        "- [Environment variables](environment.md)\n- [Endpoints](endpoints.md)\n"
        "- [Events and metrics](events-and-metrics.md)\n- [Errors](errors.md)\n"
    )


PAGES: dict[str, Callable[[], str]] = {
    "README.md": index,
    "commands.md": commands,
    "project-file.md": project_file,
    "environment.md": environment,
    "errors.md": errors,
    "endpoints.md": endpoints,
    "events-and-metrics.md": events_and_metrics,
}


def render(make: Callable[[], str]) -> str:
    """The text of a page, without empty lines in a row."""
    return re.sub(r"\n{3,}", "\n\n", make())


def _prose(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 110, break_long_words=False, break_on_hyphens=False) + "\n\n"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _first_line(documented: object) -> str:
    return (inspect.getdoc(documented) or "").split("\n\n")[0].replace("\n", " ")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".")


def _size(size_bytes: int) -> str:
    if not size_bytes:
        return ""
    return f"{size_bytes >> 20} MiB" if size_bytes >= 1 << 20 else f"{size_bytes >> 10} KiB"


def main() -> int:
    """Write the pages; with `--check`, tell which are not current (exit code 1)."""
    stale = []
    for name, make in PAGES.items():
        path, text = FOLDER / name, render(make)
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.stderr.write(f"{', '.join(stale)}: {'not current' if '--check' in sys.argv[1:] else 'written'}\n")
    return 1 if stale and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
