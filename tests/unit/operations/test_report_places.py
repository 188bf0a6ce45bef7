"""A report tells nothing of the machine it was made on, in any of its forms."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from flyball.operations.ci.forms import report_files
from flyball.operations.ci.markdown import write_comment
from flyball.operations.ci.places import without_places
from flyball.operations.ci.report import Annotation, CiReport, Link, ModelTestResult, Stage

ROOT, HOME = Path("/builds/team/shop"), Path("/var/state/.flyball")


def _report(text: str) -> CiReport:
    return CiReport(
        model="shop",
        outcome="fail",
        because=[text],
        what_to_do=text,
        stages=[Stage(name="checks", outcome="fail", because=text)],
        tests=[
            ModelTestResult(
                kind="own",
                name="a test",
                outcome="fail",
                because=text,
                rows=[{"answer": text, "row": {"x": 1}}],
            )
        ],
        gates=[{"metric": "mae", "outcome": "fail", "because": text}],
        warnings=[text],
        annotations=[Annotation(path="flyball.toml", line=3, level="error", rule="check", message=text)],
        links=[Link(name="the job", url="https://ci.example.com/builds/team/shop/7")],
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/builds/team/shop/models/flyball.toml:47: no", "models/flyball.toml:47: no"),
        ("see '/builds/team/shop'", "see '.'"),
        ("/builds/team/shop-two/x is another folder", "/builds/team/shop-two/x is another folder"),
        ("/var/state/.flyball can't be written", "…/.flyball can't be written"),
        ("file:///var/state/.flyball/objects is away", "file://…/.flyball/objects is away"),
        (f"{Path.home()}/.cache/x", "…/.cache/x"),
        (f"{sys.prefix}/lib/python3/site.py:9: gone", "…/lib/python3/site.py:9: gone"),
        (f"{tempfile.gettempdir()}/flyball-tmp-base-1_x2/train.py:3: an error", "train.py:3: an error"),
        (f"{tempfile.gettempdir()}/elsewhere", "…/elsewhere"),
        ("a/builds/team/shop/b and 1/2", "a/builds/team/shop/b and 1/2"),
    ],
)
def test_paths_are_named_from_the_repository_or_lose_their_folder(text: str, expected: str):
    told = without_places(_report(text), ROOT, HOME)
    assert told.because == [expected]
    assert told.tests[0].rows == [{"answer": expected, "row": {"x": 1}}]
    assert told.links[0].url == "https://ci.example.com/builds/team/shop/7"


def test_no_form_of_a_report_and_no_comment_names_a_folder_of_the_machine():
    places = [str(ROOT), str(HOME), sys.prefix, f"{tempfile.gettempdir()}/flyball-tmp-base-1"]
    text = " and ".join(f"{place}/file.py:1" for place in places)
    told = without_places(_report(text), ROOT, HOME)
    forms: dict[str, Any] = {**report_files(told), "comment": write_comment(told)}
    assert len(forms) >= 6
    for name, written in forms.items():
        assert "file.py:1" in written or name.startswith("charts/"), name
        assert [place for place in places if f"{place}/file.py" in written] == [], name


def test_a_repository_at_the_root_of_the_file_system_changes_nothing_else():
    assert without_places(_report("a / b, /etc/x"), Path("/"), Path("/")).because == ["a / b, /etc/x"]
