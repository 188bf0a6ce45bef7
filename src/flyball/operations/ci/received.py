"""Reports that another job wrote: that job ran the project's code, so its files are taken for untrusted input."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from flyball.core.errors import BadInput
from flyball.core.refs import MODEL_NAME
from flyball.operations.ci.report import REPORT_FORMAT, CiReport, Link

MOST_BYTES = 1_000_000
MOST_REPORTS = 256
MOST_ENTRIES = 20_000
NAME = "report.json"


def find_received(place: Path) -> list[Path]:
    """The report files at a place, in the order of their names: the file itself, or each report.json below a folder.

    Links are not followed. Raises BadInput where there is none, or more than a matrix of jobs can write.
    """
    if not place.is_dir():
        if not place.exists():
            raise BadInput(f"{place} is not there: the job before this one wrote no report")
        return [place]
    found: list[Path] = []
    seen = 0
    for folder, _, names in os.walk(place):
        seen += 1 + len(names)
        found += [Path(folder, NAME)] if NAME in names else []
        if len(found) > MOST_REPORTS or seen > MOST_ENTRIES:
            raise BadInput(f"{place} holds more than {MOST_REPORTS} reports or {MOST_ENTRIES:,} files")
    if not found:
        raise BadInput(f"there is no {NAME} in {place}: the job before this one wrote no report")
    return sorted(found)


def read_received(path: Path) -> CiReport:
    """The report in a file. Nothing of it leads out of it: addresses that it names are left out. Raises BadInput."""
    try:
        report = msgspec.json.decode(_read(path), type=CiReport)
    except (OSError, ValueError, msgspec.DecodeError, RecursionError) as error:
        # What the file says is not repeated: it may be a link to something else.
        raise BadInput(f"{path} is no report of `flyball ci` ({type(error).__name__})") from None
    if report.format != REPORT_FORMAT:
        raise BadInput(f"{path} has format {report.format}; this Flyball reads {REPORT_FORMAT}")
    if not MODEL_NAME.fullmatch(report.model):
        raise BadInput(f"{path} names no model")
    return msgspec.structs.replace(report, links=[])


def _read(path: Path) -> bytes:
    # Neither a link to a secret nor a pipe that never ends: a regular file, and not more of it than a report has.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("no file")
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError("too long")
    return content


def page_of_job(environment: Mapping[str, str]) -> Link | None:
    """The page of this job's run on its host, where the whole report is kept; None where no host says one."""
    if environment.get("GITHUB_ACTIONS") == "true":
        parts = [
            environment.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
        ]
        return (
            Link(name="all forms of the report", url="{}/{}/actions/runs/{}".format(*parts))
            if all(parts)
            else None
        )
    url = environment.get("CI_PIPELINE_URL")
    return Link(name="all forms of the report", url=url) if url else None
