"""Print each benchmark with the command that runs it and the first line of what it measures."""

from __future__ import annotations

import ast
from pathlib import Path


def list_benchmarks(folder: Path) -> list[tuple[str, str]]:
    """Command and description of each runnable file in the folders of `folder`, in order of name."""
    found = []
    for path in sorted(folder.glob("*/*.py")):
        source = path.read_text(encoding="utf-8")
        if '__name__ == "__main__"' not in source:
            continue
        docstring = ast.get_docstring(ast.parse(source)) or "says nothing about itself"
        found.append((f".venv/bin/python {path.as_posix()}", docstring.splitlines()[0]))
    return found


if __name__ == "__main__":
    for command, description in list_benchmarks(Path("benchmarks")):
        print(f"{command}\n    {description}")
