"""Packages of one version whose files differ are different environments, and share no results."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from flyball.pipelines.environment import read_environment


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, the only one there is."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder)])
    return folder


def _install(site: Path, origin: object = None, record: str = "") -> None:
    description = site / "shared_lib-0.1.0.dist-info"
    description.mkdir(exist_ok=True)
    (description / "RECORD").write_text(record)
    if origin is not None:
        (description / "direct_url.json").write_text(json.dumps(origin))


def _version() -> str:
    read_environment.cache_clear()
    try:
        return read_environment().packages["shared-lib"]
    finally:
        read_environment.cache_clear()


def test_an_edit_in_an_editable_package_makes_another_environment_and_other_files_beside_it_do_not(
    site: Path, tmp_path: Path
):
    package = tmp_path / "a library" / "src" / "shared_lib"
    (package / "tables").mkdir(parents=True)
    (package / "__init__.py").write_text("RATE = 0.05\n")
    _install(site, {"url": (tmp_path / "a library").as_uri(), "dir_info": {"editable": True}})
    seen = [_version()]
    assert seen[0].startswith("0.1.0 (files sha256:")
    (tmp_path / "a library" / "README.md").write_text("about it")
    (tmp_path / "a library" / ".venv").mkdir()
    (tmp_path / "a library" / ".venv" / "other.py").write_text("")
    assert _version() == seen[0]
    (package / "__init__.py").write_text("RATE = 0.15\n")
    seen.append(_version())
    (package / "tables" / "rates.json").write_text("[1]")
    seen.append(_version())
    assert len(set(seen)) == 3


def test_a_package_from_a_file_or_a_repository_is_told_by_what_was_installed_wherever_it_came_from(
    site: Path,
):
    line = "shared_lib/__init__.py,sha256={},12\n"
    place = "shared_lib-0.1.0.dist-info/direct_url.json,sha256={},60\n"
    _install(site, {"url": "file:///one/x.whl", "archive_info": {}}, line.format("aa") + place.format("1"))
    first = _version()
    _install(site, {"url": "file:///two/x.whl", "archive_info": {}}, line.format("aa") + place.format("2"))
    assert _version() == first
    _install(site, {"url": "file:///two/x.whl", "archive_info": {}}, line.format("bb") + place.format("2"))
    assert _version() != first


def test_of_a_package_from_an_index_the_version_says_all(site: Path):
    _install(site, None, "shared_lib/__init__.py,sha256=aa,12\n")
    assert _version() == "0.1.0"
