from __future__ import annotations

from pathlib import Path

import pytest

from flyball.core.errors import BadInput
from flyball.core.settings import read_settings


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
