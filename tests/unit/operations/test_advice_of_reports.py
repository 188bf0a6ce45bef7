"""What a report of a check advises: one sentence, and only commands and versions that its reader has."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flyball.operations.ci.advice import what_to_do
from flyball.operations.ci.report import Stage


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        ({"versus": "champion", "max_increase": 0.002}, "about 24,000 held-out rows would decide it"),
        ({"versus": "champion", "max_increase": 0.0005}, "more rows would rather refuse it"),
        ({"versus": "champion", "max_increase": 0.0011}, "hardly any number of rows would decide it"),
        ({"max": 0.45}, None),
    ],
)
def test_an_undecided_gate_is_told_how_many_rows_would_decide_it(
    ci_reports: Any, gate: dict[str, Any], told: str | None
):
    # 0.001 worse, give or take 0.002, of 0.002 allowed: half as wide an interval is needed, so four times the rows.
    line = ci_reports.metric("log_loss", 0.42, ci_reports.difference(0.001, 0.002, "unclear"))
    undecided = [{"metric": "log_loss", "outcome": "inconclusive", "because": "…", **gate}]
    report = msgspec.structs.replace(
        ci_reports.good(), outcome="inconclusive", gates=undecided, metrics=[line]
    )
    advice = what_to_do(report)
    assert advice.startswith("Bring more held-out rows")
    assert told in advice if told else advice.endswith("yes or no.")


def test_a_job_whose_home_goes_with_it_advises_no_number_of_a_version(ci_reports: Any):
    report = msgspec.structs.replace(ci_reports.good(), version=5, registered=True)
    assert "`flyball deploy churn@5`" in what_to_do(msgspec.structs.replace(report, model="churn"))
    advice = what_to_do(report, goes_with_job=True)
    assert advice.startswith("Merge when you like") and "@5" not in advice and "`flyball ci deploy`" in advice


def test_a_version_of_an_earlier_check_changes_nothing_only_where_it_is_the_champion_or_the_bases(
    ci_reports: Any,
):
    good = msgspec.structs.replace(ci_reports.good(), model="churn", version=5, registered=False)
    assert "churn@5, registered before this check, is what was tested" in what_to_do(good)
    same = msgspec.structs.replace(good, champion=msgspec.structs.replace(good.champion, digest=good.digest))
    base = Stage(name="base", outcome="pass", because="the project's files are those of main", cached=True)
    for report in (same, msgspec.structs.replace(good, stages=[base])):
        assert what_to_do(report).startswith("Nothing about the model changes: churn@5 stands as it is")
    assert "is what was tested" in what_to_do(msgspec.structs.replace(same, registered=True))


@pytest.mark.parametrize(
    ("failed", "told"),
    [
        (("model tests", "gates"), "until its model tests and gates pass"),
        (("gates",), "until its gates pass"),
        (("model tests",), "until its model tests pass"),
    ],
)
def test_all_that_decided_is_named_in_the_advice(ci_reports: Any, failed: tuple[str, ...], told: str):
    names = ("run", "model tests", "gates", "base")
    stages = [Stage(name=name, outcome="fail" if name in failed else "pass", because="") for name in names]
    assert told in what_to_do(msgspec.structs.replace(ci_reports.bad(), stages=stages))


def test_where_deployments_files_decide_the_advice_names_them_and_no_command_that_deploys(ci_reports: Any):
    report = msgspec.structs.replace(ci_reports.good(), version=5, registered=True)
    files = ["deployments/eu.toml", "deployments/us.toml"]
    for on_runner in (False, True):
        advice = what_to_do(report, goes_with_job=on_runner, files=files)
        assert "deployments/eu.toml and deployments/us.toml" in advice and report.digest in advice
        assert "`flyball" not in advice
    assert "deployments" not in what_to_do(ci_reports.bad(), files=files)
