"""A deployments file, and so its name, may be a stranger's: told, it commands no terminal and no host of a log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyball.cli.output import printable

NAME = "a\n::error::b\r##[error]c\x1b[31m.toml"


@pytest.mark.parametrize("version", ["sha256:1f9a2c1f9a2c", "7"])
def test_a_name_of_a_file_stays_within_its_line(version: str, command: Callable[..., Any], tmp_path: Path):
    (tmp_path / "elsewhere" / NAME).write_text(f'[deployments.shop]\nversion = "{version}"\n')
    said = command("plan", "--offline", NAME)
    told = said.out if version.startswith("sha256:") else said.err
    assert "shop" in told and "::error::b" in told
    assert not any(line.lstrip().startswith("::") for line in told.splitlines())
    assert not set("\r\x1b") & set(told) and "##[" not in told


def test_a_folder_in_the_place_of_a_file_is_told_without_a_command(
    command: Callable[..., Any], tmp_path: Path
):
    name = "##vso[task.setvariable variable=PATH]x.toml"
    (tmp_path / "elsewhere" / name).mkdir()
    said = command("plan", "--offline", name)
    assert said.code == 2 and printable(name) in said.err and "##vso[" not in said.err
