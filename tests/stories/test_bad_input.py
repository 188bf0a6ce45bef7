"""What people get wrong, as they meet it at the command line: one clear line, exit code 2, nothing changed half way.

What `train` and tables can have wrong is in test_run_fails_clearly, requests in test_serving_predictions, a second
`up` and a full disk in tests/faults.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

MODEL = "orders"
ROW = {"category": "books", "price": 12.5, "items": 1, "discount": 0.1, "days_since_last": 30}


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory, child_environment: dict[str, str]) -> Iterator[Any]:
    """The project that `flyball init` writes, with a champion and a running `flyball up`."""
    whole = sys.modules["flyball_tests_whole"].Whole(tmp_path_factory.mktemp("orders"), child_environment)
    whole.flyball("init", ".", "--name", MODEL)
    whole.flyball("run")
    whole.flyball("deploy", MODEL)
    whole.up()
    yield whole
    whole.down()


def refused(orders: Any, *arguments: str) -> str:
    """What a command that must end with exit code 2 says on standard error, having printed nothing else."""
    code, out, err = orders.command(*arguments)
    assert (code, out) == (2, ""), err
    assert "Traceback" not in err
    return str(err)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: (p / "data" / "orders.csv").unlink(), "there is no file data/orders.csv"),
        (lambda p: (p / "data" / "orders.csv").write_bytes(b"\xff\xfe\x00"), "orders.csv"),
        (lambda p: rewrite(p / "flyball.toml", '"returned"', '"retuned"'), "did you mean 'returned'?"),
        (lambda p: rewrite(p / "flyball.toml", "[monitor]", "[moniter]"), "did you mean monitor?"),
        (lambda p: (p / "train.py").write_text("def train(X, y):\n    return helper\n"), "at train.py:2"),
        (lambda p: (p / "train.py").write_text("def train(X, y):\n    return 42\n"), "Supported: LightGBM"),
    ],
    ids=["missing", "unreadable", "target", "key", "raises", "nonsense"],
)
def test_a_run_that_can_not_work_says_why_and_registers_nothing(
    command: Callable[..., Any], tmp_path: Path, change: Callable[[Path], object], words: str
):
    folder = tmp_path / MODEL
    assert command("init", str(folder)).code == 0
    change(folder)
    said = command("run", cwd=folder)
    assert said.code == 2 and words in said.err
    assert said.err.count("error: ") == 1 and "Traceback" not in said.err
    assert command("models", "--json", cwd=folder).json() == []
    assert command("audit", "verify", cwd=folder).code == 0
    for run in command("runs", "--json", cwd=folder).json():
        assert run["state"] == "failed" and words in run["error"]["message"]


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    "arguments", [("run",), ("models",), ("status",), ("why", "shop"), ("replay", "prd_1")]
)
def test_without_a_project_or_a_home_nothing_is_made(
    command: Callable[..., Any], tmp_path: Path, arguments: tuple[str, ...]
):
    said = command(*arguments)
    assert said.code == 2 and "flyball init" in said.err
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_init_over_a_project_changes_nothing_and_without_a_target_asks_for_one(
    command: Callable[..., Any], tmp_path: Path
):
    folder = tmp_path / MODEL
    command("init", str(folder))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert "exists already; nothing was written" in command("init", str(folder)).err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before

    table = str(folder / "data" / "orders.csv")
    said = command("init", str(tmp_path / "other"), "--data", table, "--target", "retuned")
    assert said.code == 2 and "did you mean 'returned'?" in said.err
    assert "--target" in command("init", str(tmp_path / "other"), "--data", table).err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ('{"price": NaN}', "the argument is not JSON"),
        ('{"price": 1', "the argument is not JSON"),
        ("[1, 2]", "one JSON object, or a list of objects"),
        ("no-such-file.csv", "neither a file that exists nor JSON"),
        ('{"price": [1]}', "row 1, price: type: got array"),
    ],
)
def test_rows_that_can_not_be_asked_about_are_told_with_their_place(orders: Any, rows: str, words: str):
    assert words in refused(orders, "predict", MODEL, rows)


def test_an_infinity_in_a_table_is_told_with_row_and_column_and_nothing_is_sent(orders: Any):
    (orders.folder / "odd.csv").write_text("category,price\nbooks,3\nbooks,inf\n")
    assert "row 2, price: inf can't be sent" in refused(orders, "predict", MODEL, "odd.csv")


def test_a_body_of_fifty_megabytes_is_refused_with_the_limit(orders: Any):
    large = orders.folder / "large.json"
    large.write_text(json.dumps([ROW | {"note": "x" * (50 << 20)}]))
    said = refused(orders, "predict", MODEL, str(large))
    large.unlink()
    assert "413" in said and "10" in said


def test_unknown_categories_and_wrong_columns_are_answered_and_flagged(orders: Any):
    said = orders.flyball("predict", MODEL, json.dumps([ROW | {"category": "boats"}, {"prise": 3}]))
    lines = said.splitlines()
    assert lines[1].endswith("value:category")
    assert "unknown:prise" in lines[2] and "missing:price" in lines[2]


def test_a_model_nobody_serves_is_told(orders: Any):
    assert "there is no model 'nobody'" in refused(orders, "predict", "nobody", json.dumps(ROW))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("prediction_id,vale\nprd_1,yes\n", "'vale', which outcomes do not have (did you mean 'value'?)"),
        ("prediction_id,value\n,yes\n", "row 1: it needs prediction_id, or entity and time"),
        ("entity,value\nkim,yes\n", "row 1: it needs prediction_id, or entity and time"),
        ("prediction_id,value\nprd_1,yes\nprd_2,\n", "row 2: no value"),
        ("prediction_id,value\nprd_1,yes\n", "row 1, prediction_id: type: got prd_1"),
    ],
)
def test_outcomes_that_can_not_be_used_are_told_with_their_row(orders: Any, table: str, words: str):
    (orders.folder / "wrong.csv").write_text(table)
    assert words in refused(orders, "outcomes", "add", MODEL, "wrong.csv")


def test_an_outcome_for_an_unknown_prediction_is_kept_counted_shown_and_joined_when_its_prediction_comes(
    orders: Any,
):
    from flyball.core.ids import derived_id

    identity = derived_id("prd", MODEL, "late-1")
    (orders.folder / "early.csv").write_text(f"prediction_id,value\n{identity},yes\n")
    assert "1 outcomes accepted" in orders.flyball("outcomes", "add", MODEL, "early.csv")

    def pending() -> int:
        return int(orders.json("status")["models"][0]["pending_outcomes"])

    orders.wait(lambda: pending() == 1, "the pending outcome")
    assert "1 outcomes fit no prediction yet" in orders.flyball("status")
    progress = orders.call(orders.port, "GET", f"/api/v1/models/{MODEL}/progress")[1]
    assert progress["pending_outcomes"] == 1
    page = orders.call(orders.port, "GET", f"/models/{MODEL}")[1].decode()
    assert "1 fit no prediction yet" in page

    body = {"rows": [ROW], "ids": ["late-1"]}
    status, answer = orders.call(orders.serve_port, "POST", f"/v1/models/{MODEL}/predict", body)
    assert (status, answer["prediction_ids"]) == (200, [identity])
    orders.wait(lambda: pending() == 0, "the prediction that fits")
    found = orders.call(orders.port, "GET", f"/api/v1/predictions/{identity}")[1]
    assert found["outcome"]["value"] == "yes"


def test_questions_about_what_is_not_there_name_the_command_that_lists_it(orders: Any):
    for arguments, words in (
        (("show", f"{MODEL}@9"), f"`flyball versions {MODEL}`"),
        (("show", "Not A Name"), "is no reference to a model"),
        (("signals", "nobody"), "`flyball models`"),
        (("incidents", "--model", "nobody"), "`flyball models`"),
        (("incidents", "show", "inc_1"), "`flyball incidents`"),
        (("runs", "--model", "nobody"), "`flyball models`"),
        (("run", "show", "run_1"), "`flyball runs`"),
        (("rollout", "status", "nobody"), "`flyball models`"),
        (("rollout", "abort", MODEL, "--why", "x"), f"`flyball deploy {MODEL}@VERSION`"),
        (("rollback", MODEL, "--why", "x"), "nothing to go back to"),
        (("replay", "prd_1"), "no prediction prd_1"),
        (("lineage", "sha256:0000000000"), "sha256:0000000000"),
        (("audit", "verify", "--head", "x"), "is no head of the audit trail"),
        (("deploy", MODEL), "is the champion already"),
    ):
        assert words in refused(orders, *arguments), arguments


def test_an_export_over_a_file_leaves_the_file_as_it_is(orders: Any):
    (orders.folder / "kept.jsonl").write_text("mine")
    assert "exists already; nothing was written" in refused(orders, "audit", "export", "-o", "kept.jsonl")
    assert (orders.folder / "kept.jsonl").read_text() == "mine"
    assert "can't be written" in refused(orders, "audit", "export", "-o", "no/such/folder.jsonl")
