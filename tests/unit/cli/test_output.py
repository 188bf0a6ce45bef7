from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from flyball.cli.output import (
    cell,
    exit_code,
    exit_code_of,
    facts,
    moment,
    printable,
    progress,
    short,
    show,
    table,
)
from flyball.core import errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Refused("no"), 1),
        (errors.BadInput("what"), 2),
        (errors.ModelNotFound("x"), 2),
        (errors.NoChampion("x"), 2),
        (errors.StorageFull("full"), 3),
        (errors.CorruptBundle("bad"), 3),
        (errors.NotEnoughEvidence("wait"), 4),
        (errors.StepCrashed("gone"), 3),
    ],
)
def test_each_branch_of_the_errors_has_its_exit_code(error: errors.FlyballError, code: int):
    assert exit_code(error) == code


def test_an_error_from_another_process_has_the_exit_code_of_its_code():
    error = errors.FlyballError("there is no model 'x'")
    error.code = "model_not_found"
    assert exit_code(error) == 2
    assert exit_code_of(errors.FlyballError) == 3


def test_a_table_has_columns_as_wide_as_their_content(capsys: pytest.CaptureFixture[str]):
    table(("name", "n"), [("a", 1), ("longer", None)])
    assert capsys.readouterr().out == "name    n\na       1\nlonger\n"


def test_an_empty_table_says_so(capsys: pytest.CaptureFixture[str]):
    table(("name",), [])
    assert capsys.readouterr().out == "name\n(none)\n"


def test_facts_leave_out_what_is_empty_but_not_zero(capsys: pytest.CaptureFixture[str]):
    facts([("a", 0), ("bcd", None), ("e", ""), ("f", [])])
    assert capsys.readouterr().out == "a  0\n"


def test_values_are_shown_as_people_read_them():
    assert cell(True) == "yes" and cell(0.123456) == "0.1235" and cell(None) == ""
    assert cell(["a", 2]) == "a, 2" and cell({"rate": 0.1}) == "rate = 0.1" and cell({}) == ""
    assert cell(datetime(2026, 3, 1, 12, tzinfo=UTC)) == "2026-03-01 12:00:00Z"


def test_control_characters_in_stored_text_do_not_reach_the_terminal():
    assert cell("\x1b[31mred\x07") == "?[31mred?"


def test_moments_of_structs_and_of_json_look_alike():
    assert moment(datetime(2026, 3, 1, 12, 0, 1, 5, tzinfo=UTC)) == moment("2026-03-01T12:00:01.000005Z")
    assert moment(None) == ""


def test_digests_are_cut_to_twelve_digits_wherever_they_stand():
    assert short(f"tree sha256:{'ab' * 32}, rows 3") == "tree sha256:abababababab, rows 3"
    assert short("sha256:abc") == "sha256:abc"


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]):
    show({"a": [1, None]}, True, lambda _: pytest.fail("not for people"))
    assert capsys.readouterr().out == '{\n  "a": [\n    1,\n    null\n  ]\n}\n'


def test_no_control_character_of_a_training_reaches_the_terminal(capsys: pytest.CaptureFixture[str]):
    assert printable("loss \x1b]0;title\x07\x9b31m\r0.2\tä") == "loss ?]0;title??31m?0.2  ä"
    progress("\x1b[2Jgone")
    assert "\x1b" not in capsys.readouterr().err


def test_a_host_that_keeps_what_is_printed_finds_no_command_to_itself(capsys: pytest.CaptureFixture[str]):
    named = "models/##vso[task.setvariable variable=PYTHONPATH]x"
    show({"folder": named, "more": "###[a]\\##VSO[b]"}, True, lambda _: pytest.fail("not for people"))
    table(("folder",), [(named,)])
    progress(f"error: two models of one name: {named}")
    progress("::add-mask::a")
    said = capsys.readouterr()
    assert "##vso[" not in (said.out + said.err).lower() and "##[" not in said.out + said.err
    document, _, _ = said.out.partition("folder\n")
    assert json.loads(document) == {"folder": named, "more": "###[a]\\##VSO[b]"}
    assert said.err.splitlines()[-1] == "| ::add-mask::a"
