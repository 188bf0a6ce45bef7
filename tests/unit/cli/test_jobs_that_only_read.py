"""A job that was told to only read (FLYBALL_CACHE=read) changes no registry, in place or elsewhere, by any command."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from flyball.cli.connection import CHANGES
from flyball.cli.main import COMMANDS

WHY = ("--why", "x")
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "deploy": ("shop", *WHY),
    "rollback": ("shop", *WHY),
    "approve": ("shop@1", *WHY),
    "reject": ("shop@1", *WHY),
    "apply": ("deployments.toml",),
    "retrain": ("shop", *WHY),
    "monitor": (),
    "migrate": (),
    "rollout pause": ("shop", *WHY),
    "rollout resume": ("shop", *WHY),
    "rollout promote": ("shop", *WHY),
    "rollout abort": ("shop", *WHY),
    "ci propose": ("deployments.toml",),
    "runs cancel": ("run_1", *WHY),
}
# It looks for what a report names first, and refuses in its own words.
WITH_REPORT = {"ci deploy"}


def test_each_of_these_commands_has_arguments_here():
    assert set(ARGUMENTS) | WITH_REPORT == set(CHANGES)


@pytest.mark.parametrize("name", list(ARGUMENTS))
def test_a_command_that_changes_a_registry_is_refused_where_it_would_have_been_asked(
    name: str, command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "elsewhere" / "deployments.toml").write_text("")
    monkeypatch.setenv("FLYBALL_CACHE", "read")
    for variable, place in (("FLYBALL_HOME", str(tmp_path / "home")), ("FLYBALL_URL", "http://127.0.0.1:1")):
        monkeypatch.setenv(variable, place)
        said = command(*name.split(), *ARGUMENTS[name])
        assert said.code == 1 and f"this job only reads, and `flyball {name}` changes" in said.err, said
    assert not (tmp_path / "home").exists()


def test_it_reads_as_ever(command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLYBALL_CACHE", "read")
    monkeypatch.setenv("FLYBALL_HOME", str(tmp_path / "home"))
    for arguments in (("models",), ("runs",), ("rollback", "--help")):
        assert command(*arguments).code == 0


def test_each_command_of_people_is_known_to_change_a_registry_or_not_to():
    reading = {
        "init", "check", "run", "up", "predict", "why", "test", "ci", "ci affected", "ci init", "ci post", "runs",
        "runs show", "runs logs", "models", "versions", "show", "history", "lineage", "contract",
        "contract infer", "contract check", "schema", "serve", "score", "rollout status", "plan", "outcomes add",
        "replay", "signals", "incidents", "incidents show", "audit log", "audit verify", "audit export", "status",
        "doctor",
    }  # fmt: skip
    assert set(_names()) - reading == set(CHANGES)


def _names() -> Iterator[str]:
    for group in COMMANDS.values():
        for name, (target, _) in group.items():
            module, _, attribute = target.partition(":")
            found = getattr(importlib.import_module(module), attribute)
            if isinstance(found, click.Group):
                yield from (f"{name} {verb}" for verb in found.commands)
                if not found.invoke_without_command:
                    continue
            yield name
