"""What becomes of a retraining's candidate, by the project file and by an environment's section."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyball.core.errors import ProjectError
from flyball.pipelines.project_explain import explain
from flyball.pipelines.project_file import read_project

BASE = """[model]
name = "shop"
task = "binary"
target = "sold"

[data]
source = "rows.csv"

[train]
entry = "train:train"
"""


def write(tmp_path: Path, more: str) -> Path:
    path = tmp_path / "flyball.toml"
    path.write_text(BASE + more)
    return path


@pytest.mark.parametrize(
    ("more", "here", "there"),
    [
        ("[environments.live]\n", "rollout", "rollout"),
        ('[retrain]\ndeliver = "pull-request"\n[environments.live]\n', "pull-request", "pull-request"),
        ('[environments.live]\ndeliver = "pull-request"\n', "rollout", "pull-request"),
        (
            '[retrain]\ndeliver = "pull-request"\n[environments.live]\ndeliver = "rollout"\n',
            "pull-request",
            "rollout",
        ),
    ],
)
def test_an_environment_may_say_otherwise_than_the_file(tmp_path: Path, more: str, here: str, there: str):
    path = write(tmp_path, more)
    assert read_project(path).project.retrain.deliver == here
    assert read_project(path, section="live").project.retrain.deliver == there


def test_another_word_is_told_with_its_line(tmp_path: Path):
    with pytest.raises(ProjectError, match=r"flyball\.toml:12: retrain\.deliver") as error:
        read_project(write(tmp_path, '[retrain]\ndeliver = "merge-request"\n'))
    assert "pull-request" in error.value.message


def test_the_explanation_names_where_it_comes_from_and_why(tmp_path: Path):
    plain = {one.key: one for one in explain(read_project(write(tmp_path, "")))}
    assert plain["retrain.deliver"].origin == "default" and plain["retrain.deliver"].reason
    path = write(tmp_path, '[environments.live]\ndeliver = "pull-request"\n')
    found = {one.key: one for one in explain(read_project(path, section="live"))}
    assert found["retrain.deliver"].origin == "environments.live"
