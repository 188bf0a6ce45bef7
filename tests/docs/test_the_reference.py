from __future__ import annotations

import ast
import importlib.util
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "reference"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"reference_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference: Any = load(FOLDER / "generate.py")


@pytest.mark.parametrize("name", sorted(reference.PAGES))
def test_each_page_is_what_the_program_says_now(name: str):
    written = (FOLDER / name).read_text(encoding="utf-8")
    now = reference.render(reference.PAGES[name])
    assert written == now, "run `.venv/bin/python docs/reference/generate.py`"


def each_command() -> Iterator[tuple[str, click.Command]]:
    from flyball.cli.main import flyball

    def walk(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
        yield path, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None
                yield from walk(below, f"{path} {name}")

    yield from walk(flyball, "flyball")


def test_every_command_has_an_example_help_for_each_option_and_json():
    page = (FOLDER / "commands.md").read_text(encoding="utf-8")
    without_result = {"flyball", "flyball up", "flyball serve", "flyball audit", "flyball outcomes", "flyball contract",
                      "flyball rollout"}  # fmt: skip
    for path, command in each_command():
        if path == "flyball":
            continue
        assert f"### {path}\n" in page
        help_text = command.help or ""
        assert re.search(rf"Examples?: {path}\b", help_text), path
        options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
        assert all(option.help for option in options), path
        if path not in without_result:
            assert any("--json" in option.opts for option in options), path


def test_the_short_text_of_each_command_is_there_and_says_no_more_than_a_line():
    from flyball.cli.main import COMMANDS

    texts = [text for group in COMMANDS.values() for _, text in group.values()]
    assert all(text and len(text) <= 75 and not text.endswith(".") for text in texts)
    assert list(COMMANDS["Start here"]) == [
        "init", "check", "run", "up", "predict", "deploy", "rollback", "why",
    ]  # fmt: skip


def test_every_setting_is_documented_with_default_meaning_and_reason():
    from flyball.pipelines.setting_list import list_settings

    page = (FOLDER / "project-file.md").read_text(encoding="utf-8")
    for setting in list_settings():
        assert setting.meaning
        assert setting.required or setting.reason, setting.key
        assert f"`{setting.key.rpartition('.')[2]}`" in page or f"[{setting.key}" in page, setting.key
        assert setting.meaning.replace("|", "\\|")[1:].rstrip(".") in page, setting.key


def test_everything_that_the_published_file_names_is_in_the_reference():
    # The longest file that the tests of the project file know.
    from flyball.pipelines.setting_list import list_settings

    known = {setting.key for setting in list_settings()}
    examples = [ROOT / "examples" / "bike_sharing" / "flyball.toml"]
    for path in examples:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        assert set(keys(document)) <= known


def keys(table: dict[str, Any], above: str = "") -> Iterator[str]:
    for key, value in table.items():
        path = f"{above}{key}"
        if path == "contract.features":
            for rule in value.values():
                yield from (f"{path}.{name}" for name in rule)
        elif path == "train.params":
            yield path
        elif isinstance(value, dict):
            yield from keys(value, f"{path}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for item in value:
                yield from keys(item, f"{path}.")
        else:
            yield path


def test_every_environment_variable_that_the_program_reads_is_documented_with_its_meaning():
    from flyball.core.environment import VARIABLES
    from flyball.operations.environments.places import VARIABLE_KEYS
    from flyball.serving.options import SPEC_VARIABLE

    named = set()
    for path in (ROOT / "src" / "flyball").rglob("*.py"):
        if path.name != "environment.py" or path.parent.name != "core":
            named |= set(re.findall(r"FLYBALL_[A-Z][A-Z_]*", path.read_text(encoding="utf-8")))
    listed = [variable for variables in VARIABLES.values() for variable in variables]
    # One that the supervisor of a model server writes for its workers is nobody's to set.
    of_environments = {f"FLYBALL_<NAME>_{key}" for key in VARIABLE_KEYS}
    assert named - {SPEC_VARIABLE} == {variable.name for variable in listed} - of_environments
    assert of_environments < {variable.name for variable in listed}
    page = (FOLDER / "environment.md").read_text(encoding="utf-8")
    assert all(f"| `{one.name}` | {one.default or 'not set'} | {one.meaning} |" in page for one in listed)


def test_every_error_code_belongs_to_one_class_and_is_documented():
    from flyball.core.errors import FlyballError, find_class

    page = (FOLDER / "errors.md").read_text(encoding="utf-8")
    kinds = list(reference._kinds(FlyballError))
    assert len({kind.code for kind in kinds}) == len(kinds)
    for kind in kinds:
        assert find_class(kind.code) is kind
        assert f"| `{kind.code}` |" in page
    refusals = reference.refusal_statuses("serving") | reference.refusal_statuses("web")
    assert set(reference.words.REFUSALS) == set(refusals)


def test_every_endpoint_is_documented_with_what_it_does():
    from flyball.core.endpoints import ENDPOINTS, MODEL_ENDPOINTS

    page = (FOLDER / "endpoints.md").read_text(encoding="utf-8")
    for endpoint in ENDPOINTS:
        assert f"| {endpoint.method} | `{endpoint.path}` | " in page, endpoint.name
    assert set(reference.words.MODEL_SERVER) == {endpoint.name for endpoint in MODEL_ENDPOINTS}
    assert "|  | " not in re.sub(r"\|  \|  \|$", "", page, flags=re.MULTILINE).replace("|  |  |", "")


def test_every_kind_of_event_that_is_written_is_documented():
    assert written_events() <= set(reference.words.EVENTS)
    unwritten = set(reference.words.EVENTS) - written_events()
    # Named by the state of the retraining they end.
    assert unwritten == {"retraining.kept", "retraining.failed", "retraining.cancelled"}


def written_events() -> set[str]:
    """Names such as `version.created` in modules that write to the journal; no settings, permissions or actions."""
    from flyball.pipelines.setting_meanings import MEANINGS

    found = set()
    for path in (ROOT / "src" / "flyball").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "governance.journal import" not in text:
            continue
        names = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
        found |= {name for name in names if isinstance(name, str) and re.fullmatch(r"[a-z]+\.[a-z_]+", name)}
    others = {"incident.noted", *MEANINGS}
    return {name for name in found if not name.endswith((".add", ".edit", ".read"))} - others


def test_every_metric_of_a_model_server_is_documented():
    from flyball.serving.metrics import METRICS

    page = (FOLDER / "events-and-metrics.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` | {kind} |" in page for name, (kind, _) in METRICS.items())
