"""`flyball ci propose` of several files: what is wrong with one of them is told beside what came of the others."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_a_file_about_an_environment_that_there_is_not_stops_no_other(
    command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FLYBALL_HOME", str(tmp_path / "home"))
    folder = tmp_path / "elsewhere"
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    named = '[deployments.shop]\nversion = "sha256:1f9a2c1f9a2c"\n'
    (folder / "flyball.toml").write_text('[model]\nname = "shop"\n')
    (folder / "far.toml").write_text(f'environment = "nowhere"\n{named}')
    (folder / "near.toml").write_text(named)
    said = command("ci", "propose", "near.toml", "far.toml", "--print", "--json")
    assert said.code == 2, said
    near, far = said.json()["proposals"]
    assert (near["state"], near["because"]) == ("nothing", "no retraining has given a candidate")
    assert far["state"] == "failed" and far["because"] and far["code"]
