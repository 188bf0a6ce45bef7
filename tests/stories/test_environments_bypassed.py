"""Ways around an environment's rules: by variables, by a section's order, by one database that is named in two ways."""

from __future__ import annotations

import sys

import pytest

whole_plugin = sys.modules["flyball_tests_whole"]

GATE = """
[[environments.production.gates]]
metric = "mae"
max = 0.000001
"""


def test_a_check_of_strangers_promotes_nothing_either(staged, monkeypatch):
    staged.say("deploy", "plant@1", "--env", "staging", "--why", "a")
    monkeypatch.setenv("FLYBALL_CACHE", "read")
    said = staged.say("deploy", "plant", "--env", "production", "--why", "b", code=1)
    assert "FLYBALL_CACHE=read" in said.err and not staged.path_of("production").exists()


@pytest.mark.parametrize(("key", "value"), [("GATES", "[]"), ("AFTER", "test"), ("APPROVALS", "0")])
def test_what_an_environment_asks_for_stands_in_its_file_and_in_no_variable(staged, monkeypatch, key, value):
    project = staged.folder / "flyball.toml"
    project.write_text(project.read_text() + GATE + "[environments.test]\n")
    for name in ("staging", "test"):
        staged.say("deploy", "plant@1", "--env", name, "--why", "a")
    monkeypatch.setenv(f"FLYBALL__ENVIRONMENTS__PRODUCTION__{key}", value)
    said = staged.say("deploy", "plant", "--env", "production", "--why", "b", code=2)
    assert f"FLYBALL__ENVIRONMENTS__PRODUCTION__{key}" in said.err and "flyball.toml" in said.err
    assert not staged.path_of("production").exists()


def test_one_database_under_two_names_is_not_two_environments(staged, new_postgres_url, monkeypatch):
    database = new_postgres_url()
    monkeypatch.setenv("FLYBALL_STAGING_DATABASE", database)
    monkeypatch.setenv("FLYBALL_PRODUCTION_DATABASE", f"{database}&application_name=production")
    staged.say("deploy", "plant@1", "--env", "staging", "--why", "a")
    deployments = staged.folder / "production.toml"
    deployments.write_text(
        'environment = "production"\n[deployments.plant]\nversion = "champion of staging"\n'
    )
    for arguments in (("deploy", "plant", "--env", "production", "--why", "b"), ("apply", str(deployments))):
        said = staged.say(*arguments, code=2)
        assert "production and staging have the same database" in said.err
    assert staged.champion("staging") == 1
