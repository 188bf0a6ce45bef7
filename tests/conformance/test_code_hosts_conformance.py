"""The report as one comment, on every code host: written, updated, never twice, and never in the way of the verdict."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flyball.backends.egress import exchange
from flyball.backends.egress.comments import NotPosted, Posted, post_comment
from flyball.operations.ci.posting import find_host, post_report

TOKEN = "tok_5ecret5ecret"


def bodies(host: Any) -> list[str]:
    return [entry["body"] for entry in host.comments]


def test_the_first_report_is_a_new_comment_and_the_next_replaces_it(code_host: Any, ci_reports: Any):
    first = post_report(ci_reports.bad(), code_host.environment())
    assert isinstance(first, Posted) and not first.updated
    second = post_report(ci_reports.good(), code_host.environment())
    assert isinstance(second, Posted) and second.updated
    assert len(code_host.comments) == 1
    assert bodies(code_host)[0].startswith("<!-- flyball ci-credit-default run=500 -->\n## ✅ credit-default")


def test_two_models_have_a_comment_each(code_host: Any, ci_reports: Any):
    other = msgspec.structs.replace(ci_reports.good(), model="credit-default-2")
    for report in (ci_reports.good(), other, ci_reports.bad(), other):
        assert isinstance(post_report(report, code_host.environment()), Posted)
    assert sorted(body.splitlines()[1] for body in bodies(code_host)) == [
        "## ✅ credit-default-2: can be merged",
        "## ❌ credit-default: don't merge",
    ]


def test_an_earlier_comment_is_found_on_a_later_page(code_host: Any, ci_reports: Any):
    for place in range(130):
        code_host.add(f"talk {place}", mine=False)
    post_report(ci_reports.bad(), code_host.environment())
    for place in range(130):
        code_host.add(f"more talk {place}", mine=False)
    assert isinstance(post_report(ci_reports.good(), code_host.environment()), Posted)
    assert len(code_host.comments) == 261


def test_long_comments_of_others_are_read_in_smaller_pages(code_host: Any, ci_reports: Any):
    post_report(ci_reports.bad(), code_host.environment())
    for _ in range(30):
        code_host.add("W" * 60_000, mine=False)
    outcome = post_report(ci_reports.good(), code_host.environment())
    assert isinstance(outcome, Posted) and outcome.updated
    assert any("per_page=4&" in path or "per_page=20&" in path for _, path, _ in code_host.requests)


def test_writers_at_once_leave_one_comment(code_host: Any, ci_reports: Any):
    code_host.delay_seconds = 0.02
    environment = code_host.environment()
    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(lambda _: post_report(ci_reports.good(), environment), range(6)))
    assert all(isinstance(outcome, Posted) for outcome in outcomes)
    assert len(code_host.comments) == 1


def test_a_comment_that_somebody_else_began_with_our_marker_is_never_taken_for_ours(
    code_host: Any, ci_reports: Any
):
    forged = code_host.add("<!-- flyball ci-credit-default run=1 -->\n## ✅ all is well", mine=False)
    assert isinstance(post_report(ci_reports.bad(), code_host.environment()), Posted)
    assert forged["body"].endswith("all is well") and len(code_host.comments) == 2
    assert "don't merge" in code_host.comments[1]["body"]


def test_a_run_that_ends_late_does_not_write_over_a_later_one(code_host: Any, ci_reports: Any):
    number = {"github": "GITHUB_RUN_ID", "gitlab": "CI_PIPELINE_ID"}[code_host.kind]
    post_report(ci_reports.good(), code_host.environment(**{number: "501"}))
    late = post_report(ci_reports.bad(), code_host.environment(**{number: "499"}))
    assert late == NotPosted("a later run has reported on this change already")
    assert "can be merged" in bodies(code_host)[0]


def test_a_comment_that_was_deleted_by_hand_meanwhile_is_written_anew(code_host: Any, ci_reports: Any):
    post_report(ci_reports.bad(), code_host.environment())
    code_host.comments.clear()
    assert isinstance(post_report(ci_reports.good(), code_host.environment()), Posted)
    assert len(code_host.comments) == 1


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((401, {}, b"{}"), "has expired or was revoked"),
        ((403, {}, b'{"message": "Resource not accessible by integration"}'), "changes from forks"),
        ((404, {}, b"{}"), "changes from forks"),
        ((403, {"Retry-After": "60"}, b"{}"), "no more requests for now: again in 60 seconds"),
        ((429, {}, b"{}"), "no more requests for now: try again later"),
        ((429, {"Retry-After": "\u00b2"}, b"{}"), "no more requests for now: try again later"),
        ((403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "99999999999"}, b"{}"), "again in"),
        ((403, {}, b'{"message": "Unable to create comment because issue is locked."}'), "comment here"),
        ((500, {}, b"<html>tok_5ecret5ecret</html>"), "status 500"),
        ((502, {}, b""), "status 502"),
        ((503, {"Retry-After": "120"}, b"{}"), "status 503"),
        ((410, {}, b"{}"), "does not take the comment (status 410)"),
        ((422, {}, b"{}"), "does not take the comment"),
        ((302, {"Location": "http://127.0.0.1:1/steal"}, b""), "status 302"),
        ((200, {}, b"<html>"), "no JSON"),
        ((200, {}, b"W" * 1_100_000), "more than 1 MiB"),
        ((200, {}, b'{"surprise": [1]}'), "unforeseen"),
    ],
)  # fmt: skip
def test_a_host_that_says_no_is_told_and_changes_nothing(
    code_host: Any, ci_reports: Any, caplog: pytest.LogCaptureFixture, answer: Any, told: str
):
    code_host.answer = answer
    with caplog.at_level(logging.DEBUG):
        outcome = post_report(ci_reports.good(), code_host.environment())
    assert isinstance(outcome, NotPosted) and told in outcome.because
    assert code_host.comments == []
    assert TOKEN not in outcome.because and TOKEN not in caplog.text


def test_a_short_wait_asked_for_is_waited_once(code_host: Any):
    code_host.answers = [(429, {"Retry-After": "3"}, b"{}")]
    waited: list[float] = []
    host = find_host(code_host.environment())
    assert not isinstance(host, NotPosted)
    outcome = post_comment(host, marker="ci-m", order=1, body="text", sleep=waited.append)
    assert isinstance(outcome, Posted) and waited == [3] and len(code_host.comments) == 1


REPLACES = {"github": "PATCH", "gitlab": "PUT"}


def test_a_comment_that_is_deleted_between_being_found_and_replaced_is_written_anew(
    code_host: Any, ci_reports: Any
):
    post_report(ci_reports.bad(), code_host.environment())
    respond = code_host.respond

    def lose_it_first(method: str, *request: Any) -> Any:
        if method == REPLACES[code_host.kind]:
            code_host.comments.clear()
        return respond(method, *request)

    code_host.respond = lose_it_first
    outcome = post_report(ci_reports.good(), code_host.environment())
    assert isinstance(outcome, Posted) and not outcome.updated
    assert len(code_host.comments) == 1 and "can be merged" in bodies(code_host)[0]


def test_a_limit_that_is_reached_in_the_middle_is_waited_for_and_leaves_one_comment(code_host: Any):
    code_host.answers_by_method["POST"] = [(403, {"Retry-After": "2"}, b"{}")]
    waited: list[float] = []
    host = find_host(code_host.environment())
    assert not isinstance(host, NotPosted)
    outcome = post_comment(host, marker="ci-m", order=1, body="text", sleep=waited.append)
    assert isinstance(outcome, Posted) and waited == [2] and len(code_host.comments) == 1
    code_host.answers_by_method[REPLACES[code_host.kind]] = [(429, {"Retry-After": "3600"}, b"{}")]
    outcome = post_comment(host, marker="ci-m", order=2, body="newer", sleep=waited.append)
    assert outcome == NotPosted(
        f"{type(host).__name__} takes no more requests for now: again in 3600 seconds"
    )
    assert waited == [2] and bodies(code_host)[0].endswith("text")


def test_in_a_change_with_thousands_of_comments_ours_is_not_looked_for_without_end(
    code_host: Any, ci_reports: Any
):
    code_host.add("talk", mine=False)
    code_host.comments *= 6_001
    outcome = post_report(ci_reports.good(), code_host.environment())
    assert isinstance(outcome, NotPosted) and "more than 5999 comments" in outcome.because
    assert len(code_host.comments) == 6_001


def test_after_a_force_push_the_report_of_the_older_commit_does_not_come_back(
    code_host: Any, ci_reports: Any
):
    number = {"github": "GITHUB_RUN_ID", "gitlab": "CI_PIPELINE_ID"}[code_host.kind]
    older, newer = (
        msgspec.structs.replace(ci_reports.good(), commit=letter * 40, branch="change") for letter in "ab"
    )
    post_report(older, code_host.environment(**{number: "500"}))
    assert "commit aaaaaaaaaaaa on change" in bodies(code_host)[0]
    post_report(newer, code_host.environment(**{number: "501"}))
    # The run of the commit that was pushed over is started once more: it keeps its number.
    again = post_report(older, code_host.environment(**{number: "500", "GITHUB_RUN_ATTEMPT": "2"}))
    assert again == NotPosted("a later run has reported on this change already")
    (body,) = bodies(code_host)
    assert "commit bbbbbbbbbbbb on change" in body and "aaaaaaaaaaaa" not in body


def test_where_nothing_could_be_posted_the_report_is_kept_and_the_exit_code_is_the_verdicts(
    code_host: Any, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = tmp_path / "project"
    project.mkdir()
    (project / "flyball.toml").write_text('[model]\nname = "credit-default"\ntask = "guess"\n')
    for name, value in {**code_host.environment(), "FLYBALL_HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    for answer in ((401, {}, b"{}"), (403, {"Retry-After": "9999"}, b"{}"), (500, {}, b""), (302, {}, b"")):
        code_host.answer = answer
        said = command("ci", "--post", "--report", "out", cwd=project)
        assert said.code == 1 and "the report was not posted: " in said.err
        assert "don't merge" in (project / "out" / "report.md").read_text()
    code_host.close()
    said = command("ci", "--post", "--report", "out", cwd=project)
    assert (
        said.code == 1 and "could not be reached" in said.err and (project / "out" / "report.json").is_file()
    )


def test_a_host_that_is_down_or_silent_costs_seconds_and_no_verdict(
    code_host: Any, ci_reports: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(exchange, "DEADLINE_SECONDS", 0.5)
    code_host.delay_seconds = 2
    began = time.monotonic()
    outcome = post_report(ci_reports.good(), code_host.environment())
    assert isinstance(outcome, NotPosted) and "did not answer within 0.5 seconds" in outcome.because
    assert time.monotonic() - began < 1.5
    code_host.close()
    outcome = post_report(ci_reports.good(), code_host.environment())
    assert isinstance(outcome, NotPosted) and "could not be reached" in outcome.because


def test_without_the_admins_list_a_host_on_this_machine_is_refused_before_anything_is_sent(
    code_host: Any, ci_reports: Any
):
    environment = code_host.environment(FLYBALL_EGRESS="")
    outcome = post_report(ci_reports.good(), environment)
    assert isinstance(outcome, NotPosted) and "not encrypted" in outcome.because
    https = {name: value.replace("http://", "https://") for name, value in environment.items()}
    outcome = post_report(ci_reports.good(), https)
    assert isinstance(outcome, NotPosted) and "FLYBALL_EGRESS=https://127.0.0.1" in outcome.because
    assert code_host.requests == []


def test_the_token_goes_into_one_header_only(code_host: Any, ci_reports: Any):
    post_report(ci_reports.good(), code_host.environment())
    for _, path, headers in code_host.requests:
        assert TOKEN not in path
        assert [name for name, value in headers.items() if TOKEN in value] in (
            ["authorization"],
            ["private-token"],
        )
    assert all(TOKEN not in body for body in bodies(code_host))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"GITHUB_TOKEN": "", "GITLAB_TOKEN": ""}, "_TOKEN is not set"),
        ({"GITHUB_TOKEN": "a\nb: c", "GITLAB_TOKEN": "a\nb: c"}, "_TOKEN is not set"),
        ({"GITHUB_EVENT_PATH": "/nowhere", "CI_MERGE_REQUEST_IID": ""}, "does not run for a"),
        ({"GITHUB_REPOSITORY": "../x", "CI_PROJECT_ID": "../1"}, "repository|merge request"),
        ({"GITHUB_API_URL": "file:///etc/passwd", "CI_API_V4_URL": "gopher://x"}, "needs http or https"),
        ({"GITHUB_ACTIONS": "", "GITLAB_CI": ""}, "no job of GitHub or GitLab"),
    ],
)
def test_a_job_without_a_change_or_a_token_is_told_what_is_missing(
    code_host: Any, ci_reports: Any, changed: dict[str, str], told: str
):
    outcome = post_report(ci_reports.good(), code_host.environment(**changed))
    assert isinstance(outcome, NotPosted)
    assert any(part in outcome.because for part in told.split("|"))
    assert code_host.requests == []


def test_the_number_of_a_pull_request_is_read_from_the_event_or_the_ref(code_host: Any, tmp_path: Path):
    if code_host.kind != "github":
        assert not isinstance(find_host(code_host.environment()), NotPosted)
        return
    odd = tmp_path / "odd.json"
    for text in (
        "[]",
        '{"pull_request": {"number": true}}',
        '{"pull_request": 3}',
        "{",
        '{"pull_request": {"number": -1}}',
    ):
        odd.write_text(text)
        outcome = find_host(code_host.environment(GITHUB_EVENT_PATH=str(odd), GITHUB_REF="refs/heads/main"))
        assert isinstance(outcome, NotPosted)
    found = find_host(code_host.environment(GITHUB_EVENT_PATH=str(odd), GITHUB_REF="refs/pull/7/merge"))
    assert not isinstance(found, NotPosted) and found.list_page(1, 10) == []


def test_flyball_ci_posts_and_answers_with_the_same_exit_code_whatever_the_host_says(
    code_host: Any, tmp_path: Path
):
    project = tmp_path / "project"
    project.mkdir()
    (project / "flyball.toml").write_text('[model]\nname = "credit-default"\ntask = "guess"\n')
    command = [sys.executable, "-m", "flyball", "ci", str(project), "--post"]
    environment = {**os.environ, **code_host.environment(), "FLYBALL_HOME": str(tmp_path / "home")}
    first = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert first.returncode == 1 and "the report was posted" in first.stderr
    assert "don't merge" in bodies(code_host)[0] and "flyball.toml:3" in bodies(code_host)[0]
    code_host.answer = (401, {}, b"{}")
    second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1 and "not posted" in second.stderr
    assert TOKEN not in first.stdout + first.stderr + second.stdout + second.stderr
