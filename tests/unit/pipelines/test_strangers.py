"""Where the rows of a stranger's change may come from, and which variables no source may name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flyball_tests_repositories import git

from flyball.core.errors import Refused, SourceUnreadable
from flyball.core.project import DataSection, JoinSection
from flyball.core.settings import Settings
from flyball.data.sources import fill_in, read_source
from flyball.pipelines.strangers import (
    refuse_foreign_sources,
    refuse_shared_database,
    told_of_network,
    unprotected,
    with_own_database,
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with rows, links that lead to keys and out of it, and a home; beside it, keys."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = tmp_path / "project"
    for name in ("project/data", "project/.git", "project/.flyball", "keys"):
        (tmp_path / name).mkdir(parents=True)
    (folder / "data" / "rows.csv").write_text("x,y\n1,2\n")
    (folder / ".git" / "config.csv").write_text("token\n1\n")
    (folder / ".flyball" / "flyball.db").write_text("")
    (tmp_path / "keys" / "id.csv").write_text("secret\n1\n")
    (folder / "link.csv").symlink_to(tmp_path / "keys" / "id.csv")
    (folder / "more").mkdir()
    (folder / "more" / "link.csv").symlink_to(tmp_path / "keys" / "id.csv")
    monkeypatch.setenv("KEYS", str(tmp_path / "keys"))
    return folder


def _refuse(folder: Path, source: str, joined: str = "data/rows.csv") -> bool:
    home = folder / ".flyball"
    settings = Settings(
        home=home, database_url=f"sqlite:///{home}/flyball.db", objects_url="s3://team/flyball"
    )
    join = JoinSection(source=joined, on="x", available_at="at")
    refuse_foreign_sources(DataSection(source=source, join=[join]), folder, settings)
    return False


def test_where_the_kernel_keeps_nothing_apart_a_strangers_check_says_so(tmp_path: Path):
    def told(cache: Any, confines: bool, closes_network: bool) -> str | None:
        settings = Settings(home=tmp_path, database_url="", objects_url="", cache=cache)
        return unprotected(settings, confines=confines, closes_network=closes_network)

    assert "can't keep their code apart" in (told("read", False, True) or "")
    assert "can't be kept from the network" in (told("read", True, False) or "")
    assert told("read", True, True) is None
    assert [told(cache, False, False) for cache in ("read-write", "off")] == [None, None]


@pytest.mark.parametrize("database", ["postgresql://team/flyball", "sqlite:////elsewhere/flyball.db"])
def test_a_strangers_run_stands_in_the_homes_own_database_or_nowhere(tmp_path: Path, database: str):
    shared = Settings(home=tmp_path, database_url=database, objects_url="s3://team/flyball", cache="read")
    with pytest.raises(Refused, match="FLYBALL_DATABASE names a database that others may use"):
        refuse_shared_database(shared)
    own = with_own_database(shared)
    assert (own.database_url, own.objects_url) == (f"sqlite:///{tmp_path}/flyball.db", "s3://team/flyball")
    refuse_shared_database(own)
    trusted = Settings(home=tmp_path, database_url=database, objects_url="s3://team/flyball")
    refuse_shared_database(trusted)
    assert with_own_database(trusted) == trusted


@pytest.mark.parametrize(
    "because",
    [
        "PermissionError: [Errno 13] Permission denied",
        "urllib.error.URLError: <urlopen error [Errno -3] Temporary failure in name resolution>",
        "httpx.ConnectError: [Errno -2] Name or service not known",
        "curl: (7) Failed to connect to 127.0.0.1 port 80 after 0 ms: Couldn't connect to server",
    ],
)
def test_what_wanted_the_network_is_told_that_it_is_closed(because: str):
    assert told_of_network(because).startswith(f"{because} (the network is closed to a stranger's change")


@pytest.mark.parametrize(
    "because",
    ["PermissionError: [Errno 13] Permission denied: '/etc/shadow'", "assert 1 == 2", "ValueError: c"],
)
def test_what_failed_for_another_reason_is_told_as_it_was(because: str):
    assert told_of_network(because) == because


@pytest.mark.parametrize(
    "source", ["data/rows.csv", "data", "data/*.csv", "./data/../data/rows.csv", "s3://team/rows.csv"]
)
def test_rows_of_the_repository_and_of_object_stores_are_read(project: Path, source: str):
    assert not _refuse(project, source)


@pytest.mark.parametrize(
    "source",
    [
        "../keys/id.csv", "/etc/passwd", "~/.ssh/id_rsa", "link.csv", "more", "more/*.csv", "${KEYS}/id.csv",
        "file:///etc/passwd", "sqlite:///../keys/id.csv", ".git/config.csv", "sqlite:///.flyball/flyball.db",
        "postgresql://u:hidden-word@host/db", "**/*.csv",
    ],
)  # fmt: skip
def test_what_lies_elsewhere_is_refused_whichever_way_it_is_named(project: Path, source: str):
    for told in ((source,), ("data/rows.csv", source)):
        with pytest.raises(SourceUnreadable, match="for changes of strangers") as refused:
            _refuse(project, *told)
        assert "hidden-word" not in refused.value.message


def test_a_hook_that_names_another_repository_widens_nothing(project: Path, monkeypatch: pytest.MonkeyPatch):
    git(project.parent, "init", "-q", "elsewhere")
    monkeypatch.setenv("GIT_DIR", str(project.parent / "elsewhere" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(project.parent))
    with pytest.raises(SourceUnreadable, match="for changes of strangers"):
        _refuse(project, "../keys/id.csv")


@pytest.mark.parametrize(
    "name",
    [
        "FLYBALL_TOKEN", "FLYBALL_DATABASE", "GITHUB_TOKEN", "GH_TOKEN", "CI_JOB_TOKEN", "GITLAB_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_URL", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_CLIENT_SECRET",
        "GOOGLE_APPLICATION_CREDENTIALS", "CI_REGISTRY_PASSWORD", "AWS_ACCESS_KEY_ID",
    ],
)  # fmt: skip
def test_keys_of_flyball_hosts_and_clouds_are_not_filled_into_a_source(name: str, tmp_path: Path):
    with pytest.raises(SourceUnreadable, match="is not for sources") as refused:
        read_source(f"s3://${{{name}}}/rows.csv", folder=tmp_path, environment={name: "hidden-word"})
    assert "hidden-word" not in refused.value.message


def test_other_variables_are_filled_in():
    environment = {"GITHUB_WORKSPACE": "/w", "DB_PASSWORD": "p"}
    assert fill_in("${GITHUB_WORKSPACE}/rows.csv", environment) == "/w/rows.csv"
    assert fill_in("postgresql://u:${DB_PASSWORD}@h/d", environment) == "postgresql://u:p@h/d"
