"""The JSON Schema of `flyball.toml`, made from the same structs that read it."""

from __future__ import annotations

from typing import Any

import msgspec

from flyball.core.project import Project
from flyball.pipelines.setting_list import list_settings

SCHEMA_ID = "urn:flyball:project-file:1"
_DURATION = r"^\d+(\.\d+)?\s*(ms|s|m|h|d|w)$"
_ENTRY = r"^(auto|[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*)$"
_SHARE = {"exclusiveMinimum": 0, "maximum": 1}
_DETAILS: dict[str, dict[str, Any]] = {
    "ModelSection.name": {"pattern": "^[a-z0-9][a-z0-9-]{1,62}$"},
    "DataSection.outcome_delay": {"pattern": _DURATION},
    "SplitSection.test": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "SplitSection.validation": {"minimum": 0, "exclusiveMaximum": 1},
    "TrainSection.entry": {"pattern": _ENTRY},
    "TrainSection.seed": {"minimum": 0, "maximum": 2**32 - 1},
    "TrainSection.threads": {"minimum": 1},
    "TrainSection.timeout": {"pattern": _DURATION},
    "StepSection.entry": {"pattern": _ENTRY},
    "GateSection.confidence": {"exclusiveMinimum": 0.5, "exclusiveMaximum": 1},
    "RolloutSection.bake": {"pattern": _DURATION},
    "RolloutSection.confidence": {"exclusiveMinimum": 0.5, "exclusiveMaximum": 1},
    "RolloutSection.max_duration": {"pattern": _DURATION},
    "RolloutSection.min_requests": {"minimum": 1},
    "RolloutSection.watch": {"pattern": _DURATION},
    "MonitorSection.window": {"pattern": _DURATION},
    "MonitorSection.false_alarms": {"pattern": r"^\d+(\.\d+)?\s+per\s+.+$"},
    "MonitorSection.min_rows": {"minimum": 1},
    "LogSection.sample": _SHARE,
    "LogSection.keep": {"pattern": _DURATION},
    "RetrainSection.cooldown": {"pattern": _DURATION},
    "RetrainSection.data": {"pattern": r"^(expanding|since-change|sliding\s+.+)$"},
    "RetrainSection.max_per_month": {"minimum": 0},
    "ServeSection.workers": {"minimum": 1},
    "ServeSection.deadline": {"pattern": _DURATION},
}


def json_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of the whole file, for editors that complete and check TOML."""
    schema = msgspec.json.schema(Project)
    definitions: dict[str, Any] = schema["$defs"]
    for name, details in _DETAILS.items():
        section, key = name.split(".")
        _describe(definitions[section]["properties"][key], details)
    for setting in list_settings():
        definitions[setting.owner.__name__]["properties"][setting.key.rpartition(".")[2]].setdefault(
            "description", setting.meaning
        )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "Flyball project file",
        "$ref": schema["$ref"],
        "$defs": definitions,
    }


def _describe(field: dict[str, Any], details: dict[str, Any]) -> None:
    """Add details to a field, or to the alternative of a nullable field that they are about."""
    kinds = {"pattern": "string"}
    wanted = {kinds.get(key, "number") for key in details}
    for choice in field.get("anyOf", []):
        if choice.get("type") in wanted or (choice.get("type") == "integer" and "number" in wanted):
            choice.update(details)
            return
    field.update(details)
