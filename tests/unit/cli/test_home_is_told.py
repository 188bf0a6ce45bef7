from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a repository's project, as the working folder, without a home named by the environment."""
    for name in ("FLYBALL_HOME", "FLYBALL_URL", "FLYBALL_DATABASE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "repository" / "one"
    (folder / "data").mkdir(parents=True)
    (tmp_path / "repository" / ".git").mkdir()
    (folder / "flyball.toml").write_text("")
    monkeypatch.chdir(folder / "data")
    return folder


def flyball(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in the working folder, as from a shell."""
    program = "from flyball.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], check=False, capture_output=True, text=True, timeout=60
    )


def test_a_home_in_an_unexpected_folder_is_told_on_standard_error(project: Path):
    home = project / "data" / ".flyball"
    home.mkdir(mode=0o700)
    done = flyball("deploy", "nothing", "--why", "try", "--json")
    assert done.stderr.splitlines()[0] == f"the home is {home}"
    assert str(home) not in done.stdout


def test_a_home_where_it_belongs_is_not_mentioned(project: Path):
    (project / ".flyball").mkdir(mode=0o700)
    done = flyball("deploy", "nothing", "--why", "try")
    assert "the home is" not in done.stderr
    assert "nothing" in done.stderr


@pytest.mark.parametrize("command", [["run"], ["up"], ["deploy", "nothing", "--why", "try"]])
def test_a_home_that_everybody_may_write_to_is_refused_before_anything_is_done(
    project: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
):
    home = project / ".flyball"
    home.mkdir()
    home.chmod(0o777)
    monkeypatch.chdir(project)
    done = flyball(*command)
    assert done.returncode == 2
    assert "may be written to by everybody" in done.stderr
    assert list(home.iterdir()) == []
