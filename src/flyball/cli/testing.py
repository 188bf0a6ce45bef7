"""`flyball test`: the project's own tests, and what its model tests say."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from flyball.cli.output import cell, exit_code_of, json_option, line_of, printable, show

# The worst decides: something broke, then no, then not enough evidence.
_EXIT_CODES = {"broken": 3, "fail": 1, "inconclusive": 4}
_SHOWN_CELLS = 8


@click.command()
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--rubric", is_flag=True, help="Run nothing; print the ML Test Score, and what gives the next point."
)
@json_option
def test(folder: Path, rubric: bool, as_json: bool) -> None:
    """Run the project's own tests and its model tests; exit code 1 for a failure, 4 if something stays undecided.

    FOLDER holds flyball.toml. Its own tests are those that pytest finds in the folder `tests`; they get no
    credentials. Model tests are the [[tests]] of the file and functions test_… in model_tests.py: they are asked of
    the version that `flyball run` makes, or has made already when nothing changed.

    --rubric counts the ML Test Score (Breck and others, 2017) from the project's files and its home: 28 tests, half a
    point for what is done by hand and documented, one for what is automated; the score is that of the weakest of four
    sections. Each point names where it stands. What was found out about the champion counts or, where there is none,
    about the newest version that was not refused. The exit code is 0.

    \b
    Examples: flyball test --json
              flyball test --rubric
    """
    if rubric:
        from flyball.app import score_project

        show(score_project(folder), as_json, _render_score)
        return
    from flyball.app import open_app, own_tests
    from flyball.cli.run_progress import RunProgress
    from flyball.pipelines.project_file import find_project_file

    root = find_project_file(folder).parent
    own = own_tests(root)
    progress = RunProgress()
    with open_app(folder) as app:
        try:
            result = app.run(folder, sets=(), why="flyball test", on_line=progress)
        finally:
            progress.close()
    found = {
        "outcome": "",
        "model": result.model,
        "version": result.version,
        "state": result.state,
        "run_id": result.run_id,
        "tests": [*_plain(own), *result.tests],
        "error": result.error,
    }
    outcomes = {item["outcome"] for item in found["tests"]}
    worst = next((outcome for outcome in _EXIT_CODES if outcome in outcomes), "pass")
    found["outcome"] = "broken" if result.error is not None else worst
    show(found, as_json, _render)
    sys.exit(_exit_code(found))


def _plain(own: Any) -> list[dict[str, Any]]:
    import msgspec

    return list(msgspec.to_builtins(own))


def _exit_code(found: dict[str, Any]) -> int:
    from flyball.core.errors import FlyballError, find_class

    if found["error"] is not None:
        return exit_code_of(find_class(found["error"].get("code", "")) or FlyballError)
    return _EXIT_CODES.get(found["outcome"], 0)


def _render(found: dict[str, Any]) -> None:
    if found["error"] is not None:
        click.echo(f"error: {printable(found['error']['message'])}", err=True)
    render_tests(found["tests"])
    if not found["tests"]:
        click.echo("no tests: `[[tests]]` in flyball.toml, model_tests.py or the folder tests hold them")
        return
    passed = sum(item["outcome"] == "pass" for item in found["tests"])
    of = f" of {found['model']}@{found['version']}" if found["version"] is not None else ""
    click.echo(f"{passed} of {len(found['tests'])} tests{of} passed")


def render_tests(tests: list[dict[str, Any]]) -> None:
    """Print a line per test, and the rows that show a failure."""
    for item in tests:
        where = f"{item['file']}:{item['line']}: " if item.get("line") and item["outcome"] != "pass" else ""
        click.echo(line_of(f"{where}test {item['name']}: {item['outcome']} ({item['because']})"))
        for row in item.get("rows") or []:
            click.echo(f"    {_row(row)}")


def _render_score(score: Any) -> None:
    """Print sections, items with the fact that gives their points, and what gives more."""
    named = ", ".join(f"{section.name} {section.points:g}" for section in score.sections)
    click.echo(f"{score.model}: ML Test Score {score.score:g} ({score.reading})")
    click.echo(f"the least of: {named}; each of 7")
    click.echo(f"judged by what is known of {score.judged}")
    for section in score.sections:
        click.echo(f"\n{section.name}: {section.points:g}")
        for item in section.items:
            click.echo(f"  {item.points:<4g}{item.id}  {item.title}")
            click.echo(f"        {printable(item.fact)}")
            if item.next is not None:
                first, *others = item.next.splitlines()
                click.echo(f"        for more: {first}")
                for line in others:
                    click.echo(f"                  {line}")
    click.echo(f"\n{score.source}")


def _row(example: dict[str, Any]) -> str:
    """An example in a line: what was changed, the answers, and the first columns of the row."""
    parts = [f"{name} {cell(old)} → {cell(new)}" for name, (old, new) in example.get("changed", {}).items()]
    if "before" in example:
        parts.append(f"answer {cell(example['before'])} → {cell(example['after'])}")
    parts += [f"{key} {cell(example[key])}" for key in ("answer", "expected", "outcome") if key in example]
    row = list(example.get("row", {}).items())
    shown = " ".join(f"{name}={cell(value)}" for name, value in row[:_SHOWN_CELLS])
    return "; ".join(parts) + f" ({shown}{' …' if len(row) > _SHOWN_CELLS else ''})"
