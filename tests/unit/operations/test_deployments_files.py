from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from flyball.core.digests import digest_bytes
from flyball.core.errors import BadInput, ProjectError
from flyball.operations.planning.files import read_files

DIGEST = "sha256:" + "1f" * 32


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a deployments file into a folder that is in no repository; the working folder is above it."""
    monkeypatch.chdir(tmp_path)

    def write_file(text: str, name: str = "production.toml") -> Path:
        path = tmp_path / "deployments" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write_file


def refused(path: Path) -> str:
    with pytest.raises(ProjectError) as error:
        read_files([path])
    return error.value.message.replace(str(path), path.name)


def test_a_file_says_what_is_to_be_in_service_where_and_why(write: Any):
    text = (
        'environment = "production"\n[deployments.plant]\nversion = "1f1f1f1f1f1f"\n'
        'project = "models/plant"\nwhy = "warm"\n'
        f'[deployments.bike]\nversion = "{DIGEST}"\n[deployments.shop]\nversion = "champion of staging"\n'
    )
    path = write(text)
    (file,) = read_files([path])
    assert (file.name, file.environment, file.commit) == ("deployments/production.toml", "production", None)
    assert file.digest == digest_bytes(text.encode())
    bike, plant, shop = file.asked
    assert (bike.prefix, bike.follows, bike.project, bike.line) == ("1f" * 32, None, None, 6)
    assert (plant.prefix, plant.project, plant.why) == (
        "1f" * 6,
        path.parents[1] / "models" / "plant",
        "warm",
    )
    assert (shop.prefix, shop.follows) == (None, "staging")


def test_an_environment_left_out_is_this_home(write: Any):
    (file,) = read_files([write(f'[deployments.bike]\nversion = "{DIGEST}"\n')])
    assert (file.environment, file.asked[0].environment) == (None, None)


@pytest.mark.parametrize("number", ["3", '"3"', '"bike@3"'])
def test_a_number_is_refused_because_homes_count_for_themselves(write: Any, number: str):
    told = refused(write(f"[deployments.bike]\nversion = {number}\n"))
    assert told.startswith("production.toml:2: deployments.bike.version is ")
    assert "another version in another home" in told and "a digest such as" in told


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('[deployments.bike]\nversion = "1f1f1f"\n', 2, "too few digits"),
        ('[deployments.bike]\nversion = "champion"\n', 2, 'expected a digest such as "sha256:1f9a2c…" (12 digits'),
        ('[deployments.bike]\nversion = "latest"\n', 2, "or \"champion of ENVIRONMENT\""),
        (f'[deployments.bike]\nverison = "{DIGEST}"\n', 2, "did you mean version?"),
        ("[deployments.bike]\n", 1, "deployments.bike.version is missing"),
        (f'enviroment = "x"\n[deployments.bike]\nversion = "{DIGEST}"\n', 1, "did you mean environment?"),
        (f'environment = "a b"\n[deployments.bike]\nversion = "{DIGEST}"\n', 1, "letters, digits and hyphens"),
        (f'[deployments."A B"]\nversion = "{DIGEST}"\n', 1, "is no model's name"),
        ('environment = "staging"\n[deployments.bike]\nversion = "champion of staging"\n', 3, "this very environment"),
        (f'[deployments.bike]\nversion = "{DIGEST}"\nproject = "../elsewhere"\n', 3, "lies outside"),
        (f'[deployments.bike]\nversion = "{DIGEST}"\n[roles.ada]\nmay = "approve"\n', 3, "roles is not known here"),
        (f'[policies]\n[deployments.bike]\nversion = "{DIGEST}"\n', 1, "policies are sections of the project file"),
        (f'[deployments.bike]\nversion = "{DIGEST}"\n[deployments.bike]\n', 3, "a second time"),
        ("", 1, "deployments is missing"),
        ("[deployments\n", 1, "is not TOML"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_line(write: Any, text: str, line: int, words: str):
    told = refused(write(text))
    assert words in told
    assert f"production.toml:{line}: " in told


def test_every_fault_of_a_file_is_told_at_once(write: Any):
    told = refused(
        write('[roles]\n[deployments.bike]\nversion = 3\n[deployments.plant]\nversion = "latest"\n')
    )
    assert [line.partition(":")[2].partition(":")[0] for line in told.splitlines()] == ["1", "3", "5"]


def test_a_model_named_twice_for_one_environment_names_both_places(write: Any):
    first = write(f'environment = "staging"\n[deployments.bike]\nversion = "{DIGEST}"\n', "a.toml")
    second = write(f'environment = "staging"\n\n[deployments.bike]\nversion = "{DIGEST}"\n', "b.toml")
    with pytest.raises(ProjectError) as error:
        read_files([first, second])
    assert error.value.message == (
        "deployments/a.toml:2 and deployments/b.toml:3: bike is deployed to staging twice"
    )
    elsewhere = write(f'environment = "production"\n[deployments.bike]\nversion = "{DIGEST}"\n', "c.toml")
    assert len(read_files([first, elsewhere])) == 2
    assert len(read_files([first, first])) == 1


def test_champions_that_follow_each_other_in_a_circle_are_refused(write: Any):
    text = 'environment = "{}"\n[deployments.bike]\nversion = "champion of {}"\n'
    first = write(text.format("staging", "production"), "a.toml")
    second = write(text.format("production", "staging"), "b.toml")
    with pytest.raises(
        ProjectError, match=r"bike follows itself: (production, staging|staging, production)"
    ) as error:
        read_files([first, second])
    assert "deployments/a.toml:2" in error.value.message and "deployments/b.toml:2" in error.value.message


def test_no_file_and_no_text_are_told_by_name(write: Any, tmp_path: Path):
    with pytest.raises(BadInput, match=r"nowhere\.toml can't be read"):
        read_files([tmp_path / "nowhere.toml"])
    path = write("")
    path.write_bytes(b"\xff\xfe")
    assert "is not UTF-8 text" in refused(path)


def test_no_more_is_read_than_a_file_of_settings_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.toml")

    def pour() -> None:
        with contextlib.suppress(BrokenPipeError):
            Path("pipe.toml").write_bytes(b"#" * (3 << 20))

    threading.Thread(target=pour, daemon=True).start()
    assert "larger than 1 MiB" in refused(Path("pipe.toml"))


def test_offline_a_file_is_held_against_the_project_files_and_no_home_is_opened(
    make_project: Any, command: Any, tmp_path: Path
):
    folder = make_project(more="[environments.staging]\n")
    file = folder / "asked.toml"
    file.write_text(f'environment = "staging"\n[deployments.line]\nversion = "{"4" * 64}"\n')
    said = command("plan", "asked.toml", "--offline", cwd=folder)
    assert (said.code, said.out) == (0, "staging/line: sha256:444444444444 (asked.toml:2)\n"), said.err
    assert not (folder / ".flyball").exists()
    file.write_text(file.read_text().replace("4" * 64, "champion of nowhere"))
    said = command("plan", "asked.toml", "--offline", cwd=folder)
    assert said.code == 2 and "has no environment 'nowhere'" in said.err
    said = command("plan", "asked.toml", "--offline", "--check", cwd=folder)
    assert said.code == 2 and "nothing to check" in said.err
