"""`flyball ci post`: reports that another job wrote, which ran a stranger's code, are posted as text or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest


@pytest.fixture
def post(command: Callable[..., Any], code_host: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`flyball ci post` in a job of the host: what was told of each file."""
    for name, value in code_host.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://code.example")
    monkeypatch.setenv("CI_PIPELINE_URL", "https://code.example/o/r/actions/runs/500")

    def run(place: Path) -> list[str]:
        said = command("ci", "post", str(place), "--json")
        assert said.code == 0, said.err
        return [entry["told"] for entry in said.json()]

    return run


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else msgspec.json.encode(content))
    return path


def test_each_report_of_a_folder_is_posted_with_the_page_that_keeps_all_of_it(
    post: Any, code_host: Any, ci_reports: Any, tmp_path: Path
):
    other = msgspec.structs.replace(ci_reports.bad(), model="other-model")
    write(tmp_path / "in" / "report-0" / "report.json", ci_reports.good())
    write(tmp_path / "in" / "report 1" / "report.json", other)
    told = post(tmp_path / "in")
    assert len(code_host.comments) == 2 and len(told) == 2
    assert all("the report was posted" in sentence for sentence in told), told
    assert told[0].startswith("other-model: ") and told[1].startswith("credit-default: ")
    bodies = "\n".join(entry["body"] for entry in code_host.comments)
    assert bodies.count("](<https://code.example/o/r/actions/runs/500>)") == 2
    assert "ci.example/jobs/7" not in bodies  # an address that the report names


def test_a_files_name_gives_the_host_no_commands(command: Callable[..., Any], code_host: Any, tmp_path: Path):
    write(tmp_path / "in" / "a\n::add-mask::b\x1b[2J" / "report.json", b"{")
    said = command("ci", "post", str(tmp_path / "in"))
    assert said.code == 0 and "is no report" in said.out
    assert not any(line.startswith("::") for line in said.out.splitlines()) and "\x1b" not in said.out


def test_what_a_hostile_report_says_is_text_in_the_comment(
    post: Any, code_host: Any, ci_reports: Any, tmp_path: Path
):
    plain = msgspec.to_builtins(ci_reports.bad())
    plain["because"] = ["<img src=x onerror=alert(1)> @everyone [free](https://evil.example) | `x`\n# Merged"]
    plain["links"] = [{"name": "the report", "url": "https://evil.example/login"}]
    plain["gates"] = [{"<b>": {"a": ["x"] * 10}}, {"outcome": "<script>"}]
    plain["secret"] = {"unknown": "field"}
    told = post(write(tmp_path / "report.json", plain))
    assert "was posted" in told[0] and len(code_host.comments) == 1, told
    body = code_host.comments[0]["body"]
    for sign in ("<img", "<script", "@everyone", "](https://evil", "<https://evil", "\n# Merged"):
        assert sign not in body, sign


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b'{"format": 1}',
        b"[" * 200_000,
        b'{"gates": [' + b'{"a":' * 5_000,
        b" " * 1_000_001,
    ],
    ids=["empty", "no text", "fields missing", "deep", "deep fields", "long"],
)
def test_what_is_no_report_is_not_posted(post: Any, code_host: Any, tmp_path: Path, content: bytes):
    told = post(write(tmp_path / "report.json", content))
    assert "was not posted" in told[0] and "is no report" in told[0]
    assert code_host.requests == []


def test_other_models_names_formats_and_types_are_refused(
    post: Any, code_host: Any, ci_reports: Any, tmp_path: Path
):
    plain = msgspec.to_builtins(ci_reports.good())
    for field, value in (
        ("model", "../x\n"),
        ("model", ""),
        ("format", 99),
        ("outcome", "merged"),
        ("tests", {}),
    ):
        told = post(write(tmp_path / "report.json", {**plain, field: value}))
        assert "was not posted" in told[0], (field, value)
    assert code_host.requests == []


def test_links_pipes_and_folders_in_place_of_a_report_are_not_read(
    post: Any, code_host: Any, ci_reports: Any, tmp_path: Path
):
    secret = write(tmp_path / "elsewhere.json", ci_reports.good())
    for place in ("a", "b", "c"):
        (tmp_path / "in" / place).mkdir(parents=True)
    (tmp_path / "in" / "a" / "report.json").symlink_to(secret)
    os.mkfifo(tmp_path / "in" / "b" / "report.json")
    (tmp_path / "in" / "c" / "report.json").symlink_to("/dev/zero")
    told = post(tmp_path / "in")
    assert len(told) == 3 and all("was not posted" in sentence for sentence in told)
    assert code_host.requests == []


def test_no_report_or_far_too_many_are_told_in_a_sentence(
    post: Any, code_host: Any, ci_reports: Any, tmp_path: Path
):
    (tmp_path / "in").mkdir()
    assert "wrote no report" in post(tmp_path / "in")[0]
    assert "is not there" in post(tmp_path / "nowhere")[0]
    for place in range(257):
        write(tmp_path / "in" / str(place) / "report.json", b"{}")
    assert "more than 256" in post(tmp_path / "in")[0]
    assert code_host.requests == []


def test_an_expired_token_is_told_and_the_exit_code_stays_0(
    post: Any, code_host: Any, ci_reports: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GITHUB_TOKEN", "gone")
    monkeypatch.setenv("GITLAB_TOKEN", "gone")
    told = post(write(tmp_path / "report.json", ci_reports.good()))
    assert "was not posted" in told[0] and "does not know the token" in told[0]
