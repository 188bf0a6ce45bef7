from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import msgspec

from flyball.core.project import Project
from flyball.pipelines.default_reasons import REASONS
from flyball.pipelines.not_acted_on import not_acted_on
from flyball.pipelines.project_explain import effective_threshold, explain, general_key
from flyball.pipelines.project_file import read_project
from flyball.pipelines.project_schema import json_schema
from flyball.pipelines.shape import known_keys, section_of

EIGHT_LINES = """[model]
name = "credit-default"
task = "binary"
target = "default"
[data]
source = "data/credit.parquet"
[train]
entry = "train:train"
"""


def keys_with_defaults(kind: type[msgspec.Struct], path: tuple[str, ...] = ()) -> Iterator[str]:
    hints = get_type_hints(kind)
    for key, field in known_keys(kind).items():
        section, here = section_of(hints[field.name]), (*path, key)
        is_table = isinstance(hints[field.name], type) and section is not None
        if not field.required and not is_table:
            yield ".".join(here)
        if section is not None and path[:1] != ("environments",):
            yield from keys_with_defaults(section, here)


def test_every_default_has_a_reason():
    missing = [key for key in keys_with_defaults(Project) if key not in REASONS]
    assert missing == []


def test_each_value_tells_where_it_came_from(tmp_path: Path):
    (tmp_path / "flyball.toml").write_text(
        EIGHT_LINES + "[decision]\ncost = { false_positive = 1, false_negative = 3 }\n"
    )
    file = read_project(tmp_path, flags={"train.seed": "3"}, environment={"FLYBALL__LOG__SAMPLE": "0.5"})
    values = {value.key: value for value in explain(file)}
    assert values["model.name"].origin == "flyball.toml:2"
    assert values["train.seed"].origin == "flag" and values["train.seed"].value == 3
    assert values["log.sample"].origin == "environment variable FLYBALL__LOG__SAMPLE"
    assert values["monitor.window"].origin == "default"
    assert values["monitor.window"].reason == "a day holds every hour once"
    assert values["data.split.by"].value == "random"
    assert effective_threshold(file.project) == 0.25
    assert all(value.reason for value in values.values() if value.origin == "default")
    assert "not set" not in {value.reason for value in values.values()}


def test_general_keys_leave_names_and_indexes_out():
    assert general_key("contract.features.age.min") == "contract.features.min"
    assert general_key("environments.production.url") == "environments.url"
    assert general_key("gates[2].confidence") == "gates.confidence"


def test_what_nothing_acts_on_is_told_with_its_line(tmp_path: Path):
    text = (
        EIGHT_LINES
        + '[tune]\ntrials = 3\n[[gates]]\nmetric = "disagreement"\nmax = 0.1\nover = "replay 7d"\n'
    )
    (tmp_path / "flyball.toml").write_text(text)
    told = {item.key: item for item in not_acted_on(read_project(tmp_path))}
    assert told["tune"].line == 9 and "gates[0]" in told
    # The watch period is acted on: an alarm within it names the way back.
    (tmp_path / "flyball.toml").write_text(EIGHT_LINES + '[rollout]\nwatch = "3d"\n')
    assert not_acted_on(read_project(tmp_path)) == []


def test_the_schema_describes_every_section_and_refuses_unknown_keys():
    schema = json_schema()
    definitions = schema["$defs"]
    assert definitions["ModelSection"]["additionalProperties"] is False
    assert definitions["ModelSection"]["required"] == ["name", "task", "target"]
    assert definitions["RetrainSection"]["properties"]["from"]["enum"] == ["both", "log", "source"]
    assert definitions["ModelSection"]["properties"]["name"]["pattern"].startswith("^[a-z0-9]")
    assert set(tomllib.loads(EIGHT_LINES)) <= set(definitions["Project"]["properties"])
