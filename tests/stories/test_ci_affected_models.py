"""`flyball ci affected`: which models of a repository a change affects, found from paths and imports."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flyball_tests_repositories import commit_all, git

from flyball.core.errors import BadInput
from flyball.operations.ci.affected import Affected, affected_models

TOML = """[model]
name = "{name}"
task = "regression"
target = "y"
[data]
source = "{source}"
[train]
entry = "train:train"
{more}"""
RUNNER = {"CI": "true"}
LAPTOP: dict[str, str] = {}


class Repository:
    """Models in one repository on `main`, and a branch for the change."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True)
        git(root, "init", "--quiet", "--initial-branch=main", ".")

    def write(self, path: str, text: str = "") -> Repository:
        """Write a file."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)
        return self

    def model(
        self, folder: str, name: str, train: str = "", source: str = "rows.csv", more: str = ""
    ) -> Repository:
        """Write a project."""
        self.write(f"{folder}/flyball.toml", TOML.format(name=name, source=source, more=more))
        return self.write(f"{folder}/train.py", f"{train}\ndef train(X, y):\n    return None\n")

    def commit(self) -> Repository:
        """Commit everything."""
        commit_all(self.root)
        return self

    def commit_only(self, path: str) -> None:
        """Commit one path."""
        git(self.root, "add", path)
        git(self.root, "commit", "--quiet", "--message", "a commit")

    def branch(self) -> Repository:
        """Commit everything on `main` and begin the change."""
        self.commit()
        git(self.root, "checkout", "--quiet", "-b", "change")
        return self

    def affected(self, environment: dict[str, str] = RUNNER, base: str | None = None) -> Affected:
        """What the change affects."""
        return affected_models(self.root, base, environment)

    def names(self, environment: dict[str, str] = RUNNER) -> list[str]:
        """The models that the change affects."""
        return [one.model for one in self.affected(environment).models]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """An empty repository."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    return Repository(tmp_path / "Modelle der Bänke")


def test_a_model_is_affected_by_its_own_files_and_a_nested_model_has_its_own(repository: Repository):
    repository.model("credit", "credit").model("credit/small", "small").model("fraud", "fraud").branch()
    repository.write("credit/small/train.py", "# other").commit()
    found = repository.affected()
    assert [(one.folder, one.model) for one in found.models] == [("credit/small", "small")]
    assert found.models[0].because == "credit/small/train.py changed"
    assert (found.unaffected, found.notes) == (2, [])
    repository.write("credit/notes.md", "a note").write("README.md", "of nobody").commit()
    assert repository.names() == ["credit", "small"]


def test_a_model_is_affected_by_what_its_entries_steps_and_tests_import_through_any_number_of_files(
    repository: Repository,
):
    steps = '[[steps]]\nname = "f"\nentry = "build:f"\n'
    repository.write("libs/common/pyproject.toml").write("libs/common/src/common/__init__.py")
    repository.write("libs/common/src/common/deep.py", "from . import deeper\n")
    repository.write("libs/common/src/common/deeper.py").write("libs/common/src/common/alone.py")
    repository.model("by_entry", "by-entry", train="def train(X, y):\n    from common import deep\n")
    repository.model("by_step", "by-step", more=steps).write("by_step/build.py", "import common.deep as d\n")
    repository.model("by_model_test", "by-model-test").write(
        "by_model_test/model_tests.py", "import common.deep"
    )
    repository.model("by_test", "by-test").write(
        "by_test/tests/unit/test_x.py", "from common.deep import *\n"
    )
    repository.model("by_name", "by-name", train='import importlib\nimportlib.import_module("common.deep")\n')
    repository.model("in_script", "in-script").write("in_script/plot.py", "import common.deep\n")
    repository.model("other", "other", train="import common.alone, json\n").branch()
    repository.write("libs/common/src/common/deeper.py", "# other").commit()
    found = repository.affected()
    assert [one.model for one in found.models] == [
        "by-entry",
        "by-model-test",
        "by-name",
        "by-step",
        "by-test",
    ]
    assert found.models[0].because == (
        "libs/common/src/common/deeper.py changed, which libs/common/src/common/deep.py imports"
    )
    # The script is imported by nothing that a run or a test loads.
    assert found.unaffected == 2


def test_names_are_looked_for_in_the_models_own_folder_first_then_in_the_repository(repository: Repository):
    repository.write("src/shared.py").write("elsewhere/tools/__init__.py").write("elsewhere/tools/a.py")
    repository.model("own", "own", train="import shared\n").write("own/shared.py")
    repository.model("from_src", "from-src", train="import shared\n")
    repository.model("from_path", "from-path", train="from tools.a import x\n")
    repository.model("from_model", "from-model", train="from own.train import train as other\n").branch()
    repository.write("src/shared.py", "# other").commit()
    # What another model's file imports is looked for beside the model that it is imported by, too.
    assert repository.names() == ["from-model", "from-src"]
    repository.write("elsewhere/tools/a.py", "# other").write("own/train.py", "# other").commit()
    assert repository.names() == ["from-model", "from-path", "from-src", "own"]


def test_a_star_may_bring_in_any_module_of_a_package_and_pythons_own_names_are_nobodys(
    repository: Repository,
):
    repository.write("src/shared/__init__.py").write("src/shared/one.py").write("src/json.py")
    repository.model("star", "star", train="from shared import *\n")
    repository.model("plain", "plain", train="import json, shared\n").branch()
    repository.write("src/shared/one.py", "# other").write("src/json.py", "# other").commit()
    assert repository.names() == ["star"]


def test_a_module_that_was_moved_away_affects_whoever_imported_it_and_whoever_imports_it_now(
    repository: Repository,
):
    repository.write("src/old.py", "x = 1\n" * 50).model("before", "before", train="import old\n")
    repository.model("after", "after", train="import new\n").model("other", "other").branch()
    git(repository.root, "mv", "src/old.py", "src/new.py")
    repository.commit()
    assert repository.names() == ["after", "before"]


def test_files_beside_imported_modules_count_and_those_of_other_models_do_not(repository: Repository):
    repository.write("src/shared/__init__.py").write("src/shared/words/list.txt")
    repository.model("uses", "uses", train="import shared\n").model("other", "other").branch()
    repository.write("src/shared/words/list.txt", "more").write("src/readme.txt", "of nobody").commit()
    found = repository.affected()
    assert [(one.model, one.because) for one in found.models] == [
        ("uses", "src/shared/words/list.txt changed, beside modules that are imported")
    ]


def test_rows_in_the_repository_affect_the_models_that_name_them(repository: Repository):
    join = '[[data.join]]\nsource = "../data/months/*.csv"\non = "id"\navailable_at = "at"\n'
    repository.write("data/rows.csv", "x").write("data/months/01.csv", "x").write("data/other.csv", "x")
    repository.model("by_file", "by-file", source="../data/rows.csv").model(
        "folder", "folder", source="../data"
    )
    repository.model("joined", "joined", source="s3://somewhere/rows", more=join).model(
        "none", "none"
    ).branch()
    repository.write("data/rows.csv", "y").commit()
    found = repository.affected()
    assert [one.model for one in found.models] == ["by-file", "folder"]
    assert (
        found.models[0].because == "data/rows.csv changed, which [data].source of by_file/flyball.toml names"
    )
    repository.write("data/months/02.csv", "new").commit()
    assert repository.names() == ["by-file", "folder", "joined"]


def test_locks_of_the_folder_of_those_above_and_of_what_is_imported_count(repository: Repository):
    repository.write("libs/pyproject.toml").write("libs/shared.py").write("teams/requirements-dev.txt")
    repository.model("teams/one", "one").model("two", "two", train="import shared\n").model(
        "three", "three"
    ).branch()
    repository.write("teams/requirements-dev.txt", "polars==1.0").commit()
    assert repository.names() == ["one"]
    repository.write("libs/pyproject.toml", "[project]").commit()
    assert repository.names() == ["one", "two"]
    repository.write("uv.lock", "x").commit()
    found = repository.affected()
    assert [one.model for one in found.models] == ["one", "three", "two"]
    assert found.models[1].because == "uv.lock changed, where packages are named"


@pytest.mark.parametrize(
    "path", [".github/workflows/flyball.yml", ".gitlab-ci.yml", "azure-pipelines.yml", "Jenkinsfile"]
)
def test_a_changed_workflow_affects_every_model(repository: Repository, path: str):
    repository.model("one", "one").model("two", "two").branch()
    repository.write(path, "x").commit()
    found = repository.affected()
    assert [one.model for one in found.models] == ["one", "two"] and path in found.models[0].because


def test_an_imported_file_that_cannot_be_parsed_affects_whoever_imports_it(repository: Repository):
    repository.write("src/broken.py", "def (:\n").write("src/other.py")
    repository.model("uses", "uses", train="import broken\n").model("not", "not").branch()
    assert repository.names() == []
    repository.write("src/other.py", "# other").commit()
    found = repository.affected()
    assert [one.model for one in found.models] == ["uses"]
    assert "src/broken.py can't be parsed (line 1" in found.models[0].because


def test_nothing_of_a_project_is_run(repository: Repository, tmp_path: Path):
    trap = f"open({str(tmp_path / 'ran')!r}, 'w')\n"
    repository.write("conftest.py", trap).write("src/shared.py", trap).model(
        "one", "one", train="import shared\n" + trap
    )
    repository.write("one/model_tests.py", trap).write("one/tests/test_x.py", trap).branch()
    repository.write("conftest.py", trap + "# other").commit()
    found = repository.affected()
    assert found.models[0].because == "conftest.py changed, which pytest loads"
    assert not (tmp_path / "ran").exists()


def test_what_is_not_committed_counts_on_a_laptop_and_not_on_a_runner(repository: Repository):
    repository.model("one", "one").model("two", "two").model("three", "three").branch()
    repository.write("one/train.py", "# other").model("new", "new").write("three/out/report.html", "x")
    assert repository.names(RUNNER) == []
    found = repository.affected(LAPTOP)
    assert [one.model for one in found.models] == ["new", "one"] and found.unaffected == 2


def test_without_a_base_every_model_counts_as_affected_and_it_is_said_why(
    repository: Repository, tmp_path: Path
):
    repository.model("one", "one").model("two", "two").branch()
    found = repository.affected({**RUNNER, "GITHUB_BASE_REF": "gone"})
    assert [one.because for one in found.models] == ["there is no base to compare with"] * 2
    assert (
        "gone is not in this clone" in found.notes[0] and "every model counts as affected" in found.notes[-1]
    )
    (repository.root / ".git").rename(tmp_path / "elsewhere.git")
    plain = repository.affected()
    assert [one.folder for one in plain.models] == ["one", "two"] and "no Git repository" in plain.notes[0]


def test_two_models_of_one_name_are_named_with_both_files(
    repository: Repository, command: Callable[..., Any]
):
    repository.model("one", "same").model("deep/two", "same").branch()
    with pytest.raises(BadInput, match=r"'same': deep/two/flyball\.toml and one/flyball\.toml"):
        repository.affected()
    said = command("ci", "affected", "--json", cwd=repository.root)
    assert (said.code, said.out) == (2, "") and "give one of them another" in said.err


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[model", "Expected"),
        ("x = 1", "names no model"),
        ("data = 3\n[model]\nname = 'x'", "data is no table"),
    ],
)
def test_a_project_file_that_cannot_be_read_affects_its_model_and_stops_no_other(
    repository: Repository, text: str, problem: str
):
    repository.model("one", "one").write("odd/flyball.toml", text).branch()
    found = repository.affected()
    assert [(one.folder, one.model) for one in found.models] == [("odd", "odd")] and found.unaffected == 1
    assert (
        found.models[0].because.startswith("odd/flyball.toml can't be read")
        and problem in found.models[0].because
    )


def test_a_model_that_is_called_otherwise_or_gone_is_told(repository: Repository):
    repository.model("one", "one").model("two", "two").model("moved", "moved").branch()
    repository.model("one", "uno")
    git(repository.root, "rm", "-r", "--quiet", "two")
    git(repository.root, "mv", "moved", "elsewhere")
    repository.commit()
    found = repository.affected()
    assert [one.model for one in found.models] == ["moved", "uno"]
    renamed, gone = found.notes
    assert (
        "one/flyball.toml calls its model uno, which was one: the new name begins without champion" in renamed
    )
    assert gone.startswith("two/flyball.toml is gone: two is not checked any more")


def test_a_submodule_that_moved_affects_its_importers_and_every_model_where_its_files_are_missing(
    repository: Repository, tmp_path: Path
):
    library = Repository(tmp_path / "library").write("pyproject.toml").write("shared.py").commit()
    repository.model("uses", "uses", train="import shared\n").model("other", "other")
    git(repository.root, "submodule", "--quiet", "add", f"file://{library.root}", "libs")
    repository.branch()
    assert repository.names() == []
    library.write("shared.py", "# other").commit()
    git(repository.root / "libs", "pull", "--quiet", "origin", "main")
    repository.commit()
    assert repository.names() == ["uses"]
    git(repository.root, "submodule", "--quiet", "deinit", "--force", "libs")
    found = repository.affected()
    assert [one.model for one in found.models] == ["other", "uses"]
    assert "libs changed, a submodule whose files are not in this clone" in found.models[0].because


def _calls_of_git(repository: Repository, log: Path) -> int:
    log.write_text("")
    repository.affected(LAPTOP)
    return len(log.read_text().splitlines())


def test_git_is_asked_as_often_for_many_models_as_for_one(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    log, real = tmp_path / "calls", shutil.which("git")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text(f'#!/bin/sh\necho call >> {log}\nexec {real} "$@"\n')
    (tmp_path / "bin" / "git").chmod(0o755)
    repository.model("one", "one", train="import shared\n").write("src/shared.py").branch()
    repository.model("one", "uno").write("src/shared.py", "# other").commit()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    once = _calls_of_git(repository, log)
    for number in range(8):
        repository.model(f"more/{number}", f"more-{number}", train="import shared\n")
    repository.commit()
    assert len(repository.names()) == 9 and _calls_of_git(repository, log) == once > 0


def test_a_link_to_a_folder_is_no_submodule_and_a_repository_in_the_repository_is_nobodys(
    repository: Repository,
):
    repository.model("one", "one").model("two", "two").write("data/rows.csv", "x").branch()
    (repository.root / "rows").symlink_to("data")
    git(repository.root, "init", "--quiet", "clone")
    repository.commit_only("rows")
    assert repository.names(LAPTOP) == []


def test_the_command_answers_for_people_and_for_a_matrix(
    repository: Repository, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CI", "true")
    repository.model("one", "one").model("two", "two").branch()
    repository.write("two/train.py", "# other").commit()
    said = command("ci", "affected", "two", "--base", "main", "--json", cwd=repository.root)
    assert (said.code, said.err) == (0, "")
    assert said.json() == {
        "models": [{"folder": "two", "model": "two", "because": "two/train.py changed"}],
        "unaffected": 1,
        "deployments": [],
        "notes": [],
    }
    told = command("ci", "affected", cwd=repository.root)
    assert "two/train.py changed" in told.out and "1 not affected" in told.out
    assert command("ci", "affected", "--base", "gone", cwd=repository.root).code == 2
    assert command("ci", "affected", "nowhere", cwd=repository.root).code == 2


def test_a_file_that_says_what_is_deployed_affects_its_environment_and_no_model(
    repository: Repository, command: Callable[..., Any]
):
    repository.model("one", "one").model("two", "two").model(".", "root")
    asks = 'environment = "{}"\n[deployments.{}]\nversion = "champion of test"\n'
    repository.write("deployments/staging.toml", asks.format("staging", "two"))
    repository.write("deployments/staging-more.toml", asks.format("staging", "one"))
    repository.write("deployments/production.toml", asks.format("production", "one"))
    repository.write("deployments/old/x.toml", "of another kind").branch()
    repository.write("deployments/.draft.toml", asks.format("test", "one")).commit()
    assert repository.affected().deployments == []
    repository.write("deployments/staging.toml", asks.format("staging", "two") + "\n").commit()
    found = repository.affected()
    (staging,) = found.deployments
    assert staging.files == ["deployments/staging-more.toml", "deployments/staging.toml"]
    assert (staging.environment, staging.because) == ("staging", "deployments/staging.toml changed")
    assert (found.models, found.unaffected) == ([], 3)
    told = command("ci", "affected", "--base", "main", cwd=repository.root)
    assert "deployments to staging: deployments/staging.toml changed" in told.out

    # What holds there may be another, too, where a model's project file changed.
    git(repository.root, "checkout", "--quiet", "-B", "change", "main")
    repository.model("one", "one", more="# a word\n").commit()
    found = repository.affected()
    assert [(one.environment, one.because) for one in found.deployments] == [
        ("production", "one/flyball.toml changed"),
        ("staging", "one/flyball.toml changed"),
    ]
    # One that can't be read is nobody's; one that is gone is not there to be applied.
    git(repository.root, "checkout", "--quiet", "-B", "change", "main")
    repository.write("deployments/staging.toml", "environment = ")
    repository.write("deployments/odd.toml", 'environment = "x }} y"\n')
    (repository.root / "deployments" / "production.toml").unlink()
    repository.commit()
    (home,) = repository.affected().deployments
    assert (home.environment, home.files) == (None, ["deployments/odd.toml", "deployments/staging.toml"])


def test_a_repository_without_models_says_so(repository: Repository):
    repository.write("README", "no model yet").branch()
    found = repository.affected()
    assert (found.models, found.unaffected) == ([], 0)
    assert found.notes[-1] == f"there is no flyball.toml in {repository.root}"


def test_what_leads_to_a_device_or_is_too_large_is_not_read(repository: Repository):
    repository.model("one", "one", train="import large\n").model("two", "two", train="import link\n")
    (repository.root / "last").mkdir()
    for path in ("last/flyball.toml", "link.py"):
        (repository.root / path).symlink_to("/dev/null")  # as one to /dev/zero, which has no end
    repository.write("large.py", "#" * (1 << 20) + "\n").branch()
    repository.write("src/x.py", "x = 1").commit()
    last, one, two = repository.affected().models
    assert last.because == "last/flyball.toml can't be read: it is no file"
    assert "large.py can't be parsed (it is larger than 1 MiB)" in one.because
    assert "link.py can't be parsed (it is no file" in two.because


@pytest.mark.parametrize(
    "name", ["a\n::add-mask::b", "##vso[task.setvariable variable=PYTHONPATH]x", "a\x1b[2J"]
)
def test_a_folder_whose_name_a_hosts_log_would_take_for_a_command_is_refused(
    repository: Repository, name: str
):
    repository.model("plain #1 of C#", "plain").branch()
    repository.model("plain #1 of C#", "plain", train="import json\n").commit()
    assert repository.names() == ["plain"]
    repository.model(f"models/{name}", "odd").commit()
    with pytest.raises(BadInput, match="take for a command") as refused:
        repository.names()
    assert refused.value.message.isprintable()
