from __future__ import annotations

import pytest

from flyball.cli.run_progress import RunProgress

DIGEST = "sha256:" + "0123456789ab" + "c" * 52


def told(capsys: pytest.CaptureFixture[str], *lines: str) -> list[str]:
    progress = RunProgress()
    for line in lines:
        progress(line)
    progress.close()
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err.splitlines()


def test_a_step_is_one_line_with_its_digests_cut_short(capsys: pytest.CaptureFixture[str]):
    assert told(capsys, "source …", f"source done: files 2, tree {DIGEST}") == [
        "source      … files 2, tree sha256:0123456789ab"
    ]


def test_a_step_that_was_not_made_again_says_so(capsys: pytest.CaptureFixture[str]):
    assert told(capsys, "train …", "train unchanged: kind lightgbm") == ["train       … unchanged"]


def test_what_the_users_code_prints_stands_between_and_the_step_is_named_again(
    capsys: pytest.CaptureFixture[str],
):
    assert told(capsys, "train …", "[train] epoch 1", "train done: seconds 2") == [
        "train       …",
        "  [train] epoch 1",
        "train       … seconds 2",
    ]


def test_warnings_are_left_to_the_result_which_says_them_again(capsys: pytest.CaptureFixture[str]):
    progress = RunProgress()
    for line in (
        "prepare …",
        "warning: 3 rows of the test part also stand in training",
        "prepare done: rows 9",
    ):
        progress(line)
    assert progress.warnings == ["3 rows of the test part also stand in training"]
    assert capsys.readouterr().err.splitlines() == ["prepare     … rows 9"]


def test_a_step_begun_again_after_a_kill_says_how_often(capsys: pytest.CaptureFixture[str]):
    assert told(capsys, "train … (begun for the 2. time)", "train done: seconds 2") == [
        "train       … (begun for the 2. time) seconds 2"
    ]


def test_what_the_result_says_is_not_told_twice(capsys: pytest.CaptureFixture[str]):
    lines = ("evaluate …", "gate log_loss: pass (first)", "registered: sha256:1", "failed: no luck")
    assert told(capsys, *lines) == ["evaluate    …"]


def test_escapes_that_a_training_prints_are_shown_as_what_they_are(capsys: pytest.CaptureFixture[str]):
    told = RunProgress()
    told("[train] \x1b[31mred\x1b[0m")
    told("warning: \x1b[2J")
    assert capsys.readouterr().err == "  [train] ?[31mred?[0m\n" and told.warnings == ["?[2J"]
