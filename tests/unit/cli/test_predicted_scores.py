from __future__ import annotations

from typing import Any

import pytest

from flyball.cli.predictions import _render_answer

ANSWER = {
    "model": "credit",
    "version": 3,
    "role": "champion",
    "predictions": ["yes", "no"],
    "scores": [[0.7, 0.3], [0.9, 0.1]],
    "prediction_ids": ["prd_1", "prd_2"],
    "flags": [[], ["age_high"]],
}


def lines_of(answer: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The table's lines, split where two spaces stand."""
    _render_answer(answer)
    return [
        [cell for cell in line.split("  ") if cell.strip()] for line in capsys.readouterr().out.splitlines()
    ]


def test_each_score_stands_under_the_name_of_its_class(capsys: pytest.CaptureFixture[str]):
    # With a threshold of 0.3 the first row is answered "yes", whose score is not the largest.
    lines = lines_of({**ANSWER, "classes": ["no", "yes"]}, capsys)
    assert [cell.strip().lower() for cell in lines[0]][:3] == ["prediction", "score of no", "score of yes"]
    assert [cell.strip() for cell in lines[1]][:3] == ["yes", "0.7", "0.3"]
    assert [cell.strip() for cell in lines[2]][:3] == ["no", "0.9", "0.1"]


def test_of_many_classes_the_score_of_the_predicted_one_is_shown(capsys: pytest.CaptureFixture[str]):
    scores = [[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]]
    answer = {**ANSWER, "predictions": ["d", "b"], "scores": scores, "classes": ["a", "b", "c", "d"]}
    lines = lines_of(answer, capsys)
    assert lines[0][1].strip().lower() == "score of the predicted class"
    assert [line[1].strip() for line in lines[1:3]] == ["0.4", "0.3"]


def test_without_the_classes_no_single_score_is_shown(capsys: pytest.CaptureFixture[str]):
    lines = lines_of(ANSWER, capsys)
    assert lines[0][1].strip().lower() == "scores, in the order of the classes"
    assert lines[1][1].strip() == "0.7, 0.3"
