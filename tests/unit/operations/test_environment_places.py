from __future__ import annotations

from pathlib import Path

import pytest

from flyball.cli.environment import enter
from flyball.core.errors import BadInput
from flyball.core.settings import read_settings
from flyball.operations.environments.deploying import settings_there
from flyball.operations.environments.places import choose_environment, list_environments
from flyball.pipelines.project_file import ProjectFile, read_project

PROJECT = """[model]
name = "plant"
task = "regression"
target = "yield"
[data]
source = "rows.csv"
[train]
entry = "train:train"
[rollout]
approvals = 1
bake = "20m"
[environments.eu-staging]
rollout = { strategy = "shadow", approvals = 0 }
[environments.production]
url = "https://models.example.com"
approvals = 2
"""


@pytest.fixture
def file(tmp_path: Path) -> ProjectFile:
    (tmp_path / "flyball.toml").write_text(PROJECT)
    return read_project(tmp_path)


def places(file: ProjectFile, **variables: str) -> list[str]:
    return [found.place for found in list_environments(file, {"FLYBALL_HOME": str(file.folder), **variables})]


def test_an_environment_is_where_the_first_setting_says(file):
    below = str(file.folder / "environments" / "eu-staging")
    assert places(file) == [below, "https://models.example.com"]
    given = {"FLYBALL_EU_STAGING_HOME": "/srv/staging", "FLYBALL_PRODUCTION_HOME": "/srv/production"}
    assert places(file, **given) == ["/srv/staging", "/srv/production"]
    given["FLYBALL_EU_STAGING_URL"] = "http://127.0.0.1:9"
    assert places(file, **given) == ["http://127.0.0.1:9", "/srv/production"]
    database = "postgresql://me:secret@db.example.com:5433/production"
    told = places(file, FLYBALL_PRODUCTION_DATABASE=database)[1]
    assert told == "postgresql://db.example.com:5433/production"


@pytest.mark.parametrize(
    ("key", "ours", "theirs"),
    [
        ("DATABASE", "sqlite:////srv/x.db", "sqlite:////srv/y/../x.db"),
        ("OBJECTS", "s3://bucket/x", "s3://bucket/x/"),
        ("OBJECTS", "file:///srv/x", "file:///srv/x/"),
        ("HOME", "/srv/x", "/srv/./x"),
    ],
)
def test_two_environments_in_one_place_are_refused_however_it_is_written(file, key, ours, theirs):
    variables = {f"FLYBALL_EU_STAGING_{key}": ours, f"FLYBALL_PRODUCTION_{key}": theirs}
    with pytest.raises(BadInput, match=f"eu-staging have the same .*FLYBALL_PRODUCTION_{key}"):
        places(file, **variables)


def test_a_database_that_is_named_from_the_working_folder_is_no_other_one(file, monkeypatch):
    monkeypatch.chdir(file.folder)
    variables = {"FLYBALL_EU_STAGING_DATABASE": "sqlite:///x.db"}
    with pytest.raises(BadInput, match="have the same database"):
        places(file, FLYBALL_PRODUCTION_DATABASE=f"sqlite:///{file.folder}/x.db", **variables)
    assert len(places(file, FLYBALL_PRODUCTION_DATABASE="sqlite:////x.db", **variables)) == 2


def test_stores_that_no_variable_names_lie_in_the_environments_home(file):
    variables = {"FLYBALL_HOME": "/srv/this", "FLYBALL_PRODUCTION_OBJECTS": "s3://bucket/production"}
    settings = choose_environment(file, "production", variables).settings
    assert settings is not None
    assert settings.database_url == "sqlite:////srv/this/environments/production/flyball.db"
    assert settings.objects_url == "s3://bucket/production"


def test_the_settings_of_an_environment_are_those_of_flag_then_variable_then_section_then_file(file):
    def there(name: str, strategy: str | None = None, **variables: str):
        known = {"FLYBALL_HOME": "/srv/this", **variables}
        environment = choose_environment(file, name, known)
        return settings_there(file, "plant", environment, known, strategy=strategy).rollout

    assert (there("eu-staging").strategy, there("eu-staging").bake) == ("shadow", "20m")
    assert there("production").strategy == "canary"
    assert there("eu-staging", FLYBALL__ROLLOUT__STRATEGY="blue-green").strategy == "blue-green"
    assert there("eu-staging", "immediate", FLYBALL__ROLLOUT__STRATEGY="blue-green").strategy == "immediate"


def test_the_strictest_number_of_approvals_counts_in_an_environment(file):
    known = {"FLYBALL_HOME": "/srv/this", "FLYBALL__ROLLOUT__APPROVALS": "0"}
    for name, expected in (("eu-staging", 1), ("production", 2)):
        environment = choose_environment(file, name, known)
        assert settings_there(file, "plant", environment, known).rollout.approvals == expected
    known["FLYBALL__ROLLOUT__APPROVALS"] = "5"
    environment = choose_environment(file, "production", known)
    assert settings_there(file, "plant", environment, known).rollout.approvals == 5


def test_another_model_has_other_environments(file):
    environment = choose_environment(file, "production", {"FLYBALL_HOME": "/srv/this"})
    with pytest.raises(BadInput, match="in the folder of shop"):
        settings_there(file, "shop", environment, {})


def test_a_process_that_enters_an_environment_has_its_stores_and_nobody_enters_an_address(file, monkeypatch):
    monkeypatch.chdir(file.folder)
    for key in ("HOME", "DATABASE", "OBJECTS"):
        monkeypatch.setenv(f"FLYBALL_{key}", "")
    monkeypatch.setenv("FLYBALL_EU_STAGING_OBJECTS", "s3://bucket/staging")
    with pytest.raises(BadInput, match="start its processes on that machine"):
        enter("production")
    assert enter("eu-staging") == 0
    settings = read_settings()
    assert settings.home == file.folder / ".flyball" / "environments" / "eu-staging"
    assert settings.database_url == f"sqlite:///{settings.home / 'flyball.db'}"
    assert settings.objects_url == "s3://bucket/staging"


@pytest.mark.parametrize("arguments", [["models"], ["up"], ["deploy", "plant"]])
def test_no_message_holds_what_stands_before_an_address(file, command, monkeypatch, arguments):
    monkeypatch.setenv("FLYBALL_PRODUCTION_URL", "http://me:secret@127.0.0.1:9/")
    said = command(*arguments, "--env", "production", cwd=file.folder)
    assert said.code != 0 and "secret" not in said.err + said.out, said.err
