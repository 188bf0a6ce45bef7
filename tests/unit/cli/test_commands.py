from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from flyball.cli.main import COMMANDS


@pytest.mark.parametrize("name", [name for group in COMMANDS.values() for name in group])
def test_each_listed_command_is_there(name: str):
    (target,) = [group[name][0] for group in COMMANDS.values() if name in group]
    module, _, attribute = target.partition(":")
    assert isinstance(getattr(importlib.import_module(module), attribute), click.Command)


def test_a_mistyped_command_suggests_the_nearest(command: Callable[..., Any]):
    said = command("depoy", "shop")
    assert said.code == 2 and "did you mean deploy?" in said.err and said.out == ""


def test_wrong_use_ends_with_2_and_shows_how(command: Callable[..., Any]):
    for arguments in (("predict",), ("runs", "--limit", "0"), ("up", "--port", "http"), ("--nonsense",)):
        said = command(*arguments)
        assert said.code == 2 and "Usage: flyball" in said.err, arguments


def test_the_version_is_the_packages(command: Callable[..., Any]):
    import flyball

    said = command("--version")
    assert said.code == 0 and said.out.strip().endswith(flyball.__version__)


def test_the_schema_is_one_json_document(command: Callable[..., Any]):
    assert command("schema").json() == command("schema", "--json").json()


def test_a_defect_is_one_line_and_3_with_the_way_to_the_traceback(
    command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FLYBALL_HOME", str(tmp_path / "home"))
    (tmp_path / "home").write_text("a file where the home should be")
    said = command("models")
    assert said.code in (2, 3) and said.out == ""
    assert len(said.err.splitlines()) == 1 and "Traceback" not in said.err


def test_what_is_done_in_place_refuses_a_control_plane_elsewhere(
    command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FLYBALL_URL", "http://127.0.0.1:9")
    told = ("--why", "seen")
    for arguments in (
        *(("doctor",), ("migrate",), ("replay", "prd_1")),
        *(("approve", "m@1", *told), ("reject", "m@1", *told)),
    ):
        said = command(*arguments)
        assert said.code == 2 and "FLYBALL_URL" in said.err, arguments
    assert command("models").code == 3


def test_a_missing_extra_is_told_with_what_to_install(child_environment: dict[str, str], tmp_path: Path):
    code = (
        "import sys; sys.modules['sqlalchemy'] = None; sys.argv = ['flyball', 'init', 'shop'];"
        "from flyball.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=child_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'flyball[standard,boost]'" in done.stderr and "Traceback" not in done.stderr
