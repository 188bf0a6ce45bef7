"""A TOML file that people write: read within a limit, and every fault told with its line, key and nearest word."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flyball.core.errors import BadInput, ProjectError
from flyball.pipelines.positions import Lines, dotted, find_lines
from flyball.pipelines.shape import Fault

SIZE_LIMIT_BYTES = 1024 * 1024
_DEEPEST = 100
_MOST_DOTS = 5000
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)")
_REPEATED = re.compile(r"^Cannot (overwrite a value|declare .* twice)")


def read_text(path: Path) -> str:
    """The text of a file. Raises BadInput, and ProjectError for one that is too large or no text."""
    try:
        with path.open("rb") as file:  # no more of it than that: it may lead to a device that never ends
            data = file.read(SIZE_LIMIT_BYTES + 1)
    except OSError as error:
        raise BadInput(f"{path} can't be read: {error.strerror}", file=str(path)) from error
    if len(data) > SIZE_LIMIT_BYTES:
        raise ProjectError(f"{path} is larger than 1 MiB: that is no file of settings", [])
    problem = "is not UTF-8 text; save the file as UTF-8"
    if b"\0" in data:  # UTF-16, which decodes as UTF-8 where it is about English words
        raise _single(path, data[: data.index(b"\0")].count(b"\n") + 1, problem)
    try:
        return data.decode("utf-8-sig")  # some editors begin a file with a mark
    except UnicodeDecodeError as error:
        raise _single(path, data[: error.start].count(b"\n") + 1, problem) from error


def parse(text: str, path: Path) -> tuple[dict[str, Any], Lines]:
    """The document and the line of each of its keys. Raises ProjectError for what is not TOML."""
    try:
        refuse_depth(text)
        document, lines = tomllib.loads(text), find_lines(text)
        if any(len(key) > _DEEPEST for key in lines):
            raise RecursionError
        return document, lines
    except tomllib.TOMLDecodeError as error:
        at = _AT_LINE.search(str(error))
        line = int(at[1]) if at else text.count("\n") + 1
        problem = _AT_LINE.sub("", str(error)).replace("(at end of document)", "at the end").strip()
        if _REPEATED.search(problem):
            words = text.splitlines()[line - 1].strip()
            stands = words.split("=")[0].strip() if "=" in words or words.startswith("[") else "a key"
            raise _single(path, line, f"{stands} stands in the file a second time") from error
        raise _single(path, line, f"is not TOML: {problem}") from error
    except ValueError as error:  # of a number with thousands of digits
        raise _single(path, 1, f"is not TOML: {error}") from error
    except RecursionError as error:
        raise _single(path, 1, "is nested too deeply: that is no file of settings") from error


def refuse_depth(text: str) -> None:
    """Raises RecursionError for a line that may hold so long a dotted key that parsing it would take minutes."""
    if any(line.count(".") > _MOST_DOTS for line in text.splitlines()):
        raise RecursionError


def _single(path: Path, line: int, problem: str) -> ProjectError:
    where = {"file": str(path), "line": line, "key": None, "problem": problem}
    return ProjectError(f"{path}:{line}: {problem}", [where])


def faulty(path: Path, faults: list[Fault], lines: Lines, origins: Mapping[str, str]) -> ProjectError:
    """The error that tells every fault of a document. origins: where keys come from that are not the file's own."""
    problems = [_problem(path, fault, lines, origins) for fault in faults]
    problems.sort(key=lambda problem: problem["line"] or 0)
    words = [problem["message"] for problem in problems[:12]]
    if len(problems) > 12:
        words.append(f"… and {len(problems) - 12} more")
    return ProjectError("\n".join(words), problems)


def _problem(path: Path, fault: Fault, lines: Lines, origins: Mapping[str, str]) -> dict[str, Any]:
    key = dotted(fault.path)
    origin = origins.get(key, "file")
    line = next((lines[fault.path[:n]] for n in range(len(fault.path), 0, -1) if fault.path[:n] in lines), 1)
    where = f"{path}:{line}" if origin == "file" or origin.startswith("environments.") else origin
    message = f"{where}: {key} {fault.problem}"
    if fault.nearest is not None:
        message += f"; did you mean {fault.nearest}?"
    elif fault.expected is not None:
        message += f"; expected {fault.expected}"
    return {
        "file": str(path),
        "line": line,
        "key": key,
        "problem": fault.problem,
        "expected": fault.expected,
        "nearest": fault.nearest,
        "message": message,
    }
