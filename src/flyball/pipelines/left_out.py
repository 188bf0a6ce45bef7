"""Which files of a project's folder are no source, and why: of tools, tables, deployments, what programs write."""

from __future__ import annotations

from pathlib import Path

TOOL_FOLDERS = frozenset(
    (".git", ".flyball", ".venv", "venv", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache")
)
_TOOL_ENDINGS = (".pyc", ".pyo")
# A run reads tables through `[data] source`; as files of the project they would be data that nobody froze.
TABLE_ENDINGS = (
    *(".parquet", ".csv", ".csv.gz", ".tsv", ".jsonl", ".ndjson", ".feather", ".arrow", ".db", ".sqlite"),
)
# Where people and tools put what comes out. A report written there must not look like new source, or it would train.
OUTPUT_FOLDERS = ("out", "output", "outputs", "reports", "results", "logs", "artifacts", "mlruns")
DEPLOYMENTS_FOLDER = "deployments"
_OUTPUT_ENDINGS = (".log",)


def is_of_a_tool(path: Path) -> bool:
    """Whether nobody takes a file for the project's own."""
    return not TOOL_FOLDERS.isdisjoint(path.parts) or path.name.lower().endswith(_TOOL_ENDINGS)


def is_deployments_file(path: Path) -> bool:
    """Whether a file, by its path, says which versions are deployed: to name another one must not train anew."""
    return len(path.parts) == 2 and path.parts[0] == DEPLOYMENTS_FOLDER and path.suffix == ".toml"


def is_table(path: Path) -> bool:
    """Whether a file holds rows by its name."""
    return path.name.lower().endswith(TABLE_ENDINGS)


def is_output(path: Path) -> bool:
    """Whether a file that nobody has put under version control looks like something that was written by a program."""
    if path.suffix.lower() in _OUTPUT_ENDINGS:
        return True
    return path.suffix != ".py" and not set(OUTPUT_FOLDERS).isdisjoint(
        part.lower() for part in path.parts[:-1]
    )
