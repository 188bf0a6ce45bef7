from __future__ import annotations

from pathlib import Path

import pytest

from flyball.core.errors import BadInput
from flyball.core.settings import find_home, read_settings


def test_the_environment_names_the_home_first(tmp_path: Path):
    (tmp_path / ".flyball").mkdir()

    assert find_home(tmp_path, {"FLYBALL_HOME": str(tmp_path / "other")}) == tmp_path / "other"


def test_the_nearest_home_upwards_goes_before_the_git_root(tmp_path: Path):
    (tmp_path / ".git").mkdir()
    (tmp_path / "a" / ".flyball").mkdir(parents=True)
    (tmp_path / "a" / "b").mkdir()

    assert find_home(tmp_path / "a" / "b", {}) == tmp_path / "a" / ".flyball"


def test_without_a_home_it_is_made_at_the_git_root_and_else_beside_the_project_file(tmp_path: Path):
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    (tmp_path / "repository" / "models").mkdir()
    (tmp_path / "plain" / "deep").mkdir(parents=True)
    (tmp_path / "plain" / "flyball.toml").write_text("")

    assert find_home(tmp_path / "repository" / "models", {}) == tmp_path / "repository" / ".flyball"
    assert find_home(tmp_path / "plain" / "deep", {}) == tmp_path / "plain" / ".flyball"


def test_urls_have_defaults_below_the_home(tmp_path: Path):
    settings = read_settings(tmp_path, {"FLYBALL_HOME": str(tmp_path / "h")})

    assert settings.database_url == f"sqlite:///{tmp_path / 'h' / 'flyball.db'}"
    assert settings.objects_url == f"file://{tmp_path / 'h' / 'objects'}"
    assert settings.spool_folder.parent == settings.cache_folder.parent == settings.home
    assert {settings.runs_folder.name, settings.log_folder.name} == {"runs", "logs"}


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("FLYBALL_DATABASE", "mysql://h/db"),
        ("FLYBALL_OBJECTS", "/plain/path"),
        ("FLYBALL_EXECUTOR", "kubernetes://x"),
        ("FLYBALL_EXECUTOR", "ray://x"),
    ],
)
def test_a_url_of_an_unknown_kind_is_refused_without_repeating_it(tmp_path: Path, name: str, url: str):
    with pytest.raises(BadInput, match=name) as caught:
        read_settings(tmp_path, {name: url + "?password=secret"})
    assert "secret" not in caught.value.message


def test_the_use_of_caches_is_chosen_by_a_known_word_and_is_full_without_one(tmp_path: Path):
    assert read_settings(tmp_path, {}).cache == "read-write"
    assert read_settings(tmp_path, {"FLYBALL_CACHE": "read"}).cache == "read"
    with pytest.raises(BadInput, match="read-write, read, off"):
        read_settings(tmp_path, {"FLYBALL_CACHE": "readonly"})
