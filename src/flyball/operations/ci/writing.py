"""A report where the author of a check wants it: one file in the form that its ending says, or a folder with all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flyball.core.errors import BadInput
from flyball.operations.ci.forms import NAMES, put, write_json, write_report
from flyball.operations.ci.html import write_html
from flyball.operations.ci.junit import write_junit
from flyball.operations.ci.markdown import write_markdown
from flyball.operations.ci.report import CiReport
from flyball.operations.ci.sarif import write_sarif

FORMS: dict[str, Callable[[CiReport], str]] = {
    ".md": write_markdown,
    ".html": write_html,
    ".json": write_json,
    ".xml": write_junit,
    ".sarif": write_sarif,
}


def check_place(path: Path) -> None:
    """Refuse a place that no form of a report fits, before anything is run, and take an earlier report away.

    So a report that stands there is one of this run, not one that a change brought along or an earlier run left. Links
    are refused: who makes a change must not choose where this process writes. Raises BadInput.
    """
    if path.suffix and path.suffix not in FORMS and not path.is_dir():
        known = ", ".join(FORMS)
        raise BadInput(f"--report {path}: the ending says the form: {known}, or a folder for all of them")
    for place in (path, *(() if path.is_absolute() else path.parents)):
        if place.is_symlink():
            raise BadInput(f"--report {path}: {place} is a link; name the place that it leads to")
    for file in [path / name for name in NAMES] if _is_folder(path) else [path]:
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise BadInput(f"--report {path}: {file} can't be replaced: {error.strerror}") from error


def write_at(report: CiReport, path: Path) -> list[Path]:
    """Write the report, in place of an earlier one; the paths written. Raises BadInput."""
    check_place(path)
    if _is_folder(path):
        return write_report(report, path)
    return [put(path, FORMS[path.suffix](report))]


def _is_folder(path: Path) -> bool:
    return path.is_dir() or not path.suffix
