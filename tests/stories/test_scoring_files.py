"""`flyball score`: a file of rows becomes a file of predictions, each row once, in order, and nothing silently lost."""

from __future__ import annotations

import csv
import json
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from flyball_tests_serving import MODEL, ROW, TROUBLE, Bundles, ModelServer, wait_until
from flyball_tests_whole_payers import payers, write_csv

from flyball.operations.scoring.job import score
from flyball.operations.scoring.output import open_draft

KEPT = ["client", "month", "note", "late"]
MADE = ["prediction", "score_no_", "score_yes_", "version", "prediction_id", "flags", "problem"]


def logged(home: Path) -> list[Any]:
    """All prediction records of a home."""
    return ModelServer(home).predictions()


def test_each_row_has_one_row_of_output_in_its_place_with_the_answer_that_a_request_gets(
    payers_served: Any, tmp_path: Path
):
    rows = payers_served.folder / "month.csv"
    pl.read_csv(rows, try_parse_dates=True).write_parquet(tmp_path / "month.parquet")
    pl.read_csv(rows).write_ndjson(tmp_path / "month.jsonl")
    said = payers_served.json("score", "payers", "month.csv", str(tmp_path / "out.csv"))
    payers_served.flyball("score", "payers", str(tmp_path / "month.parquet"), str(tmp_path / "out.parquet"))
    payers_served.flyball("score", "payers", str(tmp_path / "month.jsonl"), str(tmp_path / "out.jsonl"))
    frames = [
        pl.read_csv(tmp_path / "out.csv"),
        pl.read_parquet(tmp_path / "out.parquet"),
        pl.read_ndjson(tmp_path / "out.jsonl"),
    ]
    asked = payers(700, seed=6)
    for frame in frames:
        assert frame.columns == KEPT + MADE
        assert frame["client"].to_list() == [row["client"] for row in asked]
        assert frame["prediction"].to_list() == frames[0]["prediction"].to_list()
        assert frame["version"].to_list() == [1] * 700 and frame["problem"].null_count() == 700
    assert (said["rows"], said["refused"], said["versions"]) == (700, 0, [{"version": 1, "rows": 700}])
    status, alone = payers_served.call(
        payers_served.serve_port, "POST", "/v1/models/payers/predict", {"rows": asked[40:41]}
    )
    row = frames[1].row(40, named=True)
    assert status == 200 and alone["predictions"] == [row["prediction"]], alone
    assert alone["scores"][0] == pytest.approx([row["score_no_"], row["score_yes_"]])


def test_a_file_with_nothing_but_features_has_its_predictions(payers_served: Any, tmp_path: Path):
    rows = write_csv(tmp_path / "rows.csv", [{"age": row["age"], "debt": row["debt"]} for row in payers(3)])
    payers_served.flyball("score", "payers", str(rows), str(tmp_path / "out.csv"))
    written = pl.read_csv(tmp_path / "out.csv")
    assert written.columns == MADE and written["prediction"].null_count() == 0 and written.height == 3


def test_a_cell_that_is_no_number_is_the_trouble_of_its_own_row_only(payers_served: Any, tmp_path: Path):
    rows = payers(6)
    asked = [dict(row) for row in rows]
    asked[1]["age"], asked[3]["debt"], asked[4]["debt"] = "unknown", "inf", " 12.5"
    rows[4]["debt"] = 12.5
    for name, table in (("fine", rows), ("odd", asked)):
        write_csv(tmp_path / f"{name}.csv", table)
        payers_served.command(
            "score", "payers", str(tmp_path / f"{name}.csv"), str(tmp_path / f"{name}.out.csv")
        )
    fine, odd = (pl.read_csv(tmp_path / f"{name}.out.csv") for name in ("fine", "odd"))
    told = [
        "age: type: got 'unknown', expected int from 18 to 120",
        "debt: type: got 'inf', expected float or null",
    ]
    assert odd["problem"].to_list() == [None, told[0], None, told[1], None, None]
    for place in (0, 2, 4, 5):
        assert odd["score_yes_"][place] == fine["score_yes_"][place], place
    alone = write_csv(tmp_path / "alone.csv", [rows[0], asked[4]])
    asked_for = payers_served.json("predict", "payers", str(alone))
    assert [scores[1] for scores in asked_for["scores"]] == [fine["score_yes_"][0], fine["score_yes_"][4]]


def test_the_log_has_each_row_with_its_entity_and_its_time(payers_project: Any, tmp_path: Path):
    code, _, told = payers_project.command("score", "payers", "month.csv", "out.csv", "--key", "night-1")
    assert code == 0 and "one was started for this job" in told
    assert not list((payers_project.home / "spool").glob("*.*")), "every segment is shipped"
    assert payers_project.pids("serving.supervisor") == [], "the job's own server has ended with it"
    records = {record.entity: record for record in logged(payers_project.home)}
    written = pl.read_csv(payers_project.folder / "out.csv")
    assert len(records) == 700
    assert [records[row["client"]].id for row in written.to_dicts()] == written["prediction_id"].to_list()
    assert records["c000003"].at.isoformat() == "2026-03-04T00:00:00+00:00"


def test_rows_that_the_contract_refuses_have_their_problem_and_the_rest_its_predictions(
    payers_served: Any, tmp_path: Path
):
    asked = payers(700, seed=8)
    for number in range(0, 450, 3):  # 150 rows with two problems each: more than a short refusal could name
        asked[number]["age"] = 7
        asked[number]["month"] = None
    asked[1]["age"] = None
    asked[2]["debt"] = math.inf
    frame = pl.DataFrame(asked, infer_schema_length=None).with_columns(pl.col("month").str.to_datetime())
    frame.write_parquet(tmp_path / "rows.parquet")
    before = len(logged(payers_served.home))
    code, out, _ = payers_served.command(
        "score", "payers", str(tmp_path / "rows.parquet"), str(tmp_path / "out.jsonl")
    )
    written = pl.read_ndjson(tmp_path / "out.jsonl", infer_schema_length=None).to_dicts()
    refused = [number for number, row in enumerate(written) if row["problem"] is not None]
    assert code == 1 and "without prediction  152" in out and "and 147 more" in out, out
    assert refused == sorted([*range(0, 450, 3), 1, 2])
    assert written[0]["problem"].startswith("age: range: got 7, expected int from 18 to 120")
    assert written[1]["problem"] == "age: null: got null, expected int from 18 to 120"
    assert written[2]["problem"] == "debt: not_finite: got inf, expected a number"
    for number, row in enumerate(written):
        assert row["client"] == asked[number]["client"]
        assert (row["prediction"] is None) == (row["prediction_id"] is None) == (number in refused), row
    # The row that can't be sent leaves no record; each other one leaves one, refused or not.
    new = logged(payers_served.home)[before:]
    assert (len(new), sum(record.error == "rejected" for record in new)) == (699, 151)


def test_a_key_that_is_repeated_gives_the_same_answer_and_does_nothing_again(
    payers_served: Any, tmp_path: Path
):
    whole, out = payers_served, tmp_path / "out.csv"
    first = whole.flyball("score", "payers", "month.csv", str(out), "--key", "night-1", "--json")
    records, written = len(logged(whole.home)), out.stat().st_mtime_ns
    code, again, told = whole.command("score", "payers", "month.csv", str(out), "--key", "night-1", "--json")
    assert (code, again) == (0, first) and "nothing is done again" in told
    assert out.stat().st_mtime_ns == written and len(logged(whole.home)) == records

    write_csv(whole.folder / "other.csv", payers(10))
    for arguments, differs in (
        (("payers", "other.csv", str(out)), "input was sha256:"),
        (("payers", "month.csv", str(tmp_path / "elsewhere.csv")), "output was "),
        (("others", "month.csv", str(out)), "model was payers, is others"),
    ):
        code, _, told = whole.command("score", *arguments, "--key", "night-1")
        assert code == 2 and "stands for something else" in told and differs in told, told
    assert not (tmp_path / "elsewhere.csv").exists()

    frame = pl.read_csv(out)
    out.write_text("half a row")
    code, _, told = whole.command("score", "payers", "month.csv", str(out), "--key", "night-1")
    assert code == 0 and "not what was written there: it is made again" in told
    assert pl.read_csv(out)["prediction_id"].equals(frame["prediction_id"])


def test_a_job_with_refused_rows_ends_with_the_same_code_under_its_key(payers_served: Any, tmp_path: Path):
    rows = payers(20)
    rows[4]["age"] = 7
    job = ("score", "payers", str(write_csv(tmp_path / "rows.csv", rows)), str(tmp_path / "out.csv"))
    first = payers_served.command(*job, "--key", "twice", "--json")
    again = payers_served.command(*job, "--key", "twice", "--json")
    assert first[0] == again[0] == 1 and first[1] == again[1]
    assert json.loads(first[1])["problems"] == [
        {"row": 5, "problem": "age: range: got 7, expected int from 18 to 120"}
    ]


def test_a_file_that_is_there_already_is_kept_without_force(payers_served: Any, tmp_path: Path):
    output = tmp_path / "out.csv"
    output.write_text("somebody's work")
    code, _, told = payers_served.command("score", "payers", "month.csv", str(output), "--key", "careful")
    assert code == 2 and "is there already" in told and output.read_text() == "somebody's work"
    payers_served.flyball("score", "payers", "month.csv", str(output), "--key", "careful", "--force")
    assert len(pl.read_csv(output)) == 700
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"], "nothing is left beside it"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("payers", "lacking.csv", "out.csv"),
            "INPUT has no column 'debt', which payers needs; did you mean",
        ),
        (
            ("payers", "taken.csv", "out.csv"),
            "INPUT has a column 'prediction', and OUTPUT has one of its own",
        ),
        (("payers", "empty.csv", "out.csv"), "empty.csv is empty"),
        (("payers", "header.csv", "out.csv"), "header.csv holds no rows"),
        (("payers", "none.csv", "out.csv"), "there is no file none.csv"),
        (("nobody", "month.csv", "out.csv"), "nobody"),
        (("payers", "month.csv", "out.xlsx"), "ends in none of .parquet, .csv, .jsonl"),
        (("payers", "month.csv", "."), "ends in none of"),
        (("payers", "month.csv", "no-folder/out.csv"), "there is no folder no-folder"),
        (("payers", "month.csv", "month.csv", "--force"), "is part of INPUT"),
        (("payers", ".", "out.csv"), "would be part of INPUT"),
        (("payers", "month.csv", "/proc/out.csv"), "/proc/out.csv can't be written"),
        (("payers", "month.csv", "out.csv", "--key", "\n"), "a key has 1 to 200 printable characters"),
        (("payers", "month.csv", "out.csv", "--url", "nonsense"), "nonsense"),
    ],
)
def test_what_can_not_be_scored_is_told_and_leaves_nothing(
    payers_served: Any, arguments: tuple[str, ...], told: str
):
    folder = payers_served.folder
    rows = payers(3)
    write_csv(folder / "lacking.csv", [{**row, "debts": 1, "debt": 0} for row in rows])
    (folder / "lacking.csv").write_text((folder / "lacking.csv").read_text().replace(",debt,", ",x,"))
    write_csv(folder / "taken.csv", [{**row, "prediction": 1} for row in rows])
    (folder / "empty.csv").write_text("")
    (folder / "header.csv").write_text("client,month,age,debt\n")
    before = sorted(path.name for path in folder.iterdir())
    code, out, errors = payers_served.command("score", *arguments)
    assert (code, out) == (2, "") and told in errors, errors
    assert sorted(path.name for path in folder.iterdir()) == before


def test_where_nothing_is_deployed_no_server_is_started(payers_project: Any):
    code, _, told = payers_project.command("score", "nobody", "month.csv", "out.csv")
    assert code == 2 and "there is no model 'nobody'" in told, told
    assert not (payers_project.home / "logs" / "score-serve.log").exists()


def test_of_two_jobs_for_one_file_one_is_refused_and_one_with_the_same_key_waits(
    payers_served: Any, tmp_path: Path
):
    output, told = tmp_path / "out.csv", []
    job = ("score", "payers", "month.csv", str(output))
    with ThreadPoolExecutor(1) as pool:
        with open_draft(output, "one", lambda: None, told.append):
            code, _, errors = payers_served.command(*job, "--key", "two")
            assert code == 2 and f"process {os.getpid()} is writing" in errors, errors
            code, _, errors = payers_served.command(*job, "--key", "one", "--timeout", "0.2s")
            assert code == 3 and "waiting for the job with this key" in errors, errors
            running = pool.submit(payers_served.command, *job, "--key", "one")
        assert running.result()[0] == 0 and len(pl.read_csv(output)) == 700
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"] and told == []


def test_a_link_in_the_place_of_a_draft_is_not_followed(payers_served: Any, tmp_path: Path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    (tmp_path / ".out.csv.scoring").symlink_to(tmp_path / "precious")
    code, _, told = payers_served.command("score", "payers", "month.csv", str(tmp_path / "out.csv"))
    assert code == 2 and "out.csv can't be written" in told, told
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "years of work"


def test_time_that_is_over_ends_the_job_with_nothing_written(payers_served: Any, tmp_path: Path):
    job = ("score", "payers", "month.csv", str(tmp_path / "out.csv"))
    code, _, told = payers_served.command(*job, "--timeout", "0.01s")
    assert code == 3 and "not done within 0.01 s" in told, told
    assert list(tmp_path.iterdir()) == []


def test_by_address_a_key_is_kept_beside_the_output_and_rows_that_the_model_fails_on_are_told(
    model_server: ModelServer, bundles: Bundles, tmp_path: Path, command: Any
):
    model_server.publish(1, champion=(1, bundles.custom("raise")))
    model_server.start()
    rows = [{**(TROUBLE if number in (7, 30) else ROW), "name": f"r{number}"} for number in range(40)]
    write_csv(tmp_path / "rows.csv", rows)
    job = ("score", "rides", str(tmp_path / "rows.csv"), str(tmp_path / "out.csv"))
    job += ("--url", f"http://127.0.0.1:{model_server.port}", "--key", "k", "--json")
    first = command(*job)
    with (tmp_path / "out.csv").open() as file:
        written = list(csv.DictReader(file))
    assert first.code == 1 and first.json()["refused"] == 2, first.err
    assert [row["name"] for row in written] == [f"r{number}" for number in range(40)]
    assert [n for n, row in enumerate(written) if not row["prediction"]] == [7, 30]
    assert "as asked: raised" in written[7]["problem"] and float(written[8]["prediction"]) == 1020.0
    model_server.stop()
    assert command(*job)[:2] == first[:2], "nothing is asked again"
    write_csv(tmp_path / "rows.csv", rows[:3])
    assert "input was" in command(*job).err


def test_a_version_that_is_not_ready_is_waited_for_and_each_row_tells_which_one_answered(
    model_server: ModelServer, bundles: Bundles, tmp_path: Path
):
    model_server.publish(1, entity="name")
    model_server.start()
    write_csv(tmp_path / "rows.csv", [{**ROW, "name": f"r{number}"} for number in range(300)])
    url = f"http://127.0.0.1:{model_server.port}"
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(
            score, MODEL, "rows.csv", tmp_path / "out.parquet", place=url, folder=tmp_path, say=print
        )
        time.sleep(0.3)
        assert not job.done()
        champion, candidate = (1, bundles.lightgbm(0.0)), (2, bundles.lightgbm(5000.0))
        model_server.publish(2, entity="name", champion=champion)
        assert job.result().versions == [{"version": 1, "rows": 300}]
    model_server.publish(
        3, entity="name", share=0.5, candidate_role="canary", champion=champion, candidate=candidate
    )
    named = [{**ROW, "name": f"r{number}"} for number in range(9)]
    wait_until(lambda: model_server.predict(MODEL, named).json.get("versions"), 20, "the candidate's answer")
    scored = score(
        MODEL, "rows.csv", tmp_path / "out.parquet", place=url, folder=tmp_path, say=print, force=True
    )
    written = pl.read_parquet(tmp_path / "out.parquet")
    counts = dict(written["version"].value_counts().iter_rows())
    assert {item["version"]: item["rows"] for item in scored.versions} == counts and set(counts) == {1, 2}
    assert written.select((pl.col("prediction") > 3000) == (pl.col("version") == 2)).to_series().all()
