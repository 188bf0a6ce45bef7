"""`flyball check` and `flyball contract`: what can be said about a project without training."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from flyball.core.contract import Contract, FeatureRule, Violation
from flyball.core.settings import read_settings
from flyball.pipelines.project_file import ProjectFile, read_project


def check(folder: Path, *, explain: bool) -> dict[str, Any]:
    """Problems (it can't run), warnings (it should not), notes, and what is not acted on yet."""
    from flyball.pipelines.check import check_project
    from flyball.pipelines.project_explain import explain as explain_values

    file = read_project(folder, environment=os.environ)
    report = check_project(file, read_settings(folder))
    result: dict[str, Any] = {
        "project": str(file.path),
        "model": file.project.model.name,
        "features": report.features,
        "rows": report.rows,
        "problems": report.problems,
        "warnings": report.warnings,
        "notes": report.notes,
        "not_acted_on": msgspec.to_builtins(report.not_acted_on),
    }
    if explain:
        result["explained"] = msgspec.to_builtins(explain_values(file))
    return result


def infer(folder: Path) -> dict[str, Any]:
    """The contract that the project's source rows suggest, as struct and as the TOML to paste."""
    from flyball.data.contracts import infer_contract

    frame, features = _rows(read_project(folder, environment=os.environ))
    contract = infer_contract(frame, features)
    return {"contract": contract, "toml": contract_toml(contract)}


def check_rows(folder: Path) -> list[Violation]:
    """The rows of the source that break the project's contract (at most 1,000), in row order."""
    from flyball.data.contracts import check_frame, infer_contract

    file = read_project(folder, environment=os.environ)
    frame, features = _rows(file)
    rules = file.project.contract.features
    contract = Contract(features=rules) if rules else infer_contract(frame, features)
    return list(check_frame(contract, frame, limit=1000))


def contract_toml(contract: Contract) -> str:
    """A contract as `[contract.features.…]` sections."""
    blocks = []
    for name, rule in contract.features.items():
        lines = [f"[contract.features.{_key(name)}]"]
        lines += [f"{field} = {_value(value)}" for field, value in _fields(rule)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _fields(rule: FeatureRule) -> list[tuple[str, Any]]:
    names = ("type", "min", "max", "values", "nullable")
    return [(name, getattr(rule, name)) for name in names if getattr(rule, name) is not None]


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else _value(name)


def _value(value: Any) -> str:
    # A JSON string is a TOML basic string: the escapes of JSON are a subset of TOML's.
    if isinstance(value, tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return msgspec.json.encode(value).decode()


def _rows(file: ProjectFile) -> tuple[Any, list[str]]:
    from flyball.data.rows import prepare_rows
    from flyball.data.sources import read_source

    project = file.project
    frame = read_source(project.data.source, folder=file.folder, query=project.data.query)
    rows = prepare_rows(frame, project.model, project.data)
    return rows.frame, rows.features
