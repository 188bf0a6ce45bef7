"""The environment of child processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flyball.backends.executors.environment import clean_environment
from flyball.backends.executors.port import open_executor
from flyball.core.errors import UnsupportedUrl

SECRETS = [
    "FLYBALL_TOKEN",
    "FLYBALL_DATABASE",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "AZURE_CLIENT_SECRET",
    "PGPASSWORD",
    "GITHUB_TOKEN",
    "MY_OWN_PASSWORD",
    "SSH_AUTH_SOCK",
    "LD_PRELOAD",
]


def test_a_child_sees_no_credentials_whatever_they_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "secret")
    assert "secret" not in clean_environment().values()


def test_a_child_sees_what_programs_need_and_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PATH", "HOME", "LC_ALL", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, f"value of {name}")
    found = clean_environment({"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "7"})
    assert found["PATH"] == "value of PATH"
    assert found["LC_ALL"] == "value of LC_ALL"
    assert (found["OMP_NUM_THREADS"], found["PYTHONHASHSEED"]) == ("1", "7")


def test_an_executor_nobody_has_is_refused() -> None:
    with pytest.raises(UnsupportedUrl, match="local"):
        open_executor("ray://head:10001")


def test_paths_of_a_child_name_no_folder_by_where_it_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("PYTHONPATH", "LD_LIBRARY_PATH"):
        monkeypatch.setenv(name, os.pathsep.join(["", "lib", ".", "/opt/lib", ""]))
        found = clean_environment()[name]
        assert found.split(os.pathsep) == [f"{tmp_path}/lib", str(tmp_path), "/opt/lib"]
    assert "DYLD_LIBRARY_PATH" not in clean_environment()
