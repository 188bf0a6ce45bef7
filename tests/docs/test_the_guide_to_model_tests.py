"""The guide's tests are asked of the project it is about, and it tells of every kind there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from flyball.pipelines.init import init_project
from flyball.pipelines.model_test_rules import KINDS

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "test-a-model.md"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


def test_the_guide_tells_of_every_kind():
    assert set(re.findall(r'^kind = "(.*)"$', "\n".join(_blocks("toml")), re.MULTILINE)) == set(KINDS)


@pytest.mark.long
def test_the_tests_of_the_guide_are_asked_and_hold(run_home: Any, tmp_path: Path):
    folder = tmp_path / "shop"
    init_project(folder)
    file = folder / "flyball.toml"
    file.write_text(file.read_text() + "\n" + "\n".join(_blocks("toml")))
    (folder / "model_tests.py").write_text("\n".join(_blocks("python")))
    result = run_home.run(folder)
    assert result.error is None, result.error
    told = {test["name"]: (test["outcome"], test["because"]) for test in result.tests}
    assert len(told) == len(KINDS) + 1
    assert {outcome for outcome, _ in told.values()} == {"pass"}, told
    assert result.state == "registered"
