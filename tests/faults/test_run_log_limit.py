"""What a run prints is bounded on disk and in every answer, however much its training writes."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flyball.pipelines.run_log as run_log
from flyball.pipelines.run_log import MOST_LINE_BYTES, RunLog

FLOOD = """
import sys
print("the first word")
for number in range(24_000):
    print(number, "x" * 1000)
print("y" * (3 << 20))
print("the last word")
"""


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.strip().splitlines())


def size_of(log: RunLog) -> int:
    return sum(path.stat().st_size for path in [log.path, *log.folder.iterdir()])


def test_a_training_that_prints_without_end_fills_no_disk(run_home: Any, make_project: Callable[..., Path]):
    from flyball_tests_runs import LINE

    from flyball.pipelines.runs import get_run

    head, _, tail = LINE.partition("    x = X[:, 0]\n")
    result = run_home.run(make_project(train=f"{head}{indented(FLOOD)}    x = X[:, 0]\n{tail}"))
    assert result.state == "registered"
    shop = run_home.shop
    assert 12 << 20 < size_of(shop.bench(result.run_id).log) < 21 << 20
    with shop.database.read() as conn:
        kept = shop.blobs.get_object(get_run(conn, result.run_id).log)
    assert len(kept) < 21 << 20
    lines = kept.decode().split("\n")
    assert "[train] the first word" in lines and "[train] the last word" in lines
    assert [line for line in lines if "were left out here" in line]
    assert max(map(len, lines)) < 2 * MOST_LINE_BYTES


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RunLog:
    """A log of 1,000 lines whose files hold 1,000 bytes each."""
    monkeypatch.setattr(run_log, "SEGMENT_BYTES", 1000)
    log = RunLog(tmp_path / "log.txt")
    for number in range(1000):
        log.write_line(f"line {number}")
    return log


def test_pages_go_on_where_the_one_before_ended_and_tell_what_is_left_out(small: RunLog):
    page = small.page(offset=0, limit=50)
    assert page.lines[:2] == ["line 0", "line 1"] and page.total == 1000
    seen, pages = list(page.lines), 1
    while page.next is not None:
        page = small.page(offset=page.next, limit=50)
        assert 0 < len(page.lines) <= 50
        seen, pages = seen + page.lines, pages + 1
    assert seen[-1] == "line 999" and pages > 5
    gaps = [line for line in seen if line.startswith("[")]
    assert gaps == [f"[{page.left_out} lines (0.0 MiB) were left out here: a log has a limit]"]
    assert len(seen) == 1000 - page.left_out + 1
    assert "\n".join(seen) + "\n" == b"".join(small.chunks()).decode()


def test_without_an_offset_the_last_lines_are_told(small: RunLog):
    page = small.page(limit=3)
    assert page.lines == ["line 997", "line 998", "line 999"]
    assert (page.offset, page.next) == (997, None)
    assert small.page(offset=5000).lines == []


def test_an_offset_among_lines_that_are_gone_goes_on_after_them(small: RunLog):
    gap = next(number for number, line in enumerate(small.page(limit=10_000).lines) if line.startswith("["))
    page = small.page(offset=gap + 1, limit=2)
    assert page.offset == gap + page.left_out
    assert page.lines == [f"line {page.offset}", f"line {page.offset + 1}"]


def test_whoever_follows_sees_each_line_once_and_a_word_for_those_that_went(small: RunLog):
    lines, at = small.new_lines(0)
    assert lines[0] == "line 0"
    more = lines
    while more:
        more, at = small.new_lines(at)
        lines += more
    assert lines[-1] == "line 999" and len(set(lines)) == len(lines)
    assert [line for line in lines if line.startswith("[")] == [
        "[lines that came faster than they could be shown are left out here]"
    ]
    small.write_line("line 1000")
    assert small.new_lines(at)[0] == ["line 1000"]


def test_a_long_line_is_cut_and_a_log_of_one_file_is_whole(tmp_path: Path):
    log = RunLog(tmp_path / "log.txt")
    log.write_line("ä" * 10_000)
    log.write_line("two\nlines\x0bhere")
    assert [line[:6] for line in log.page().lines] == ["ääääää", "two", "lines\x0b"]
    assert len(log.page().lines[0].encode()) < MOST_LINE_BYTES + 80
    whole = io.BytesIO()
    log.write_to(whole)
    assert whole.getvalue() == (tmp_path / "log.txt").read_bytes()
