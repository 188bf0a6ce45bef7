"""The report of a check of a change in all its forms: what it says, how long it gets, and what users can't do to it."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from flyball_tests_ci_reports import TRAP
from hypothesis import given as drawn
from hypothesis import strategies as st

from flyball.core.errors import BadInput
from flyball.operations.ci.charts import charts
from flyball.operations.ci.contents import headline
from flyball.operations.ci.forms import report_files, write_json
from flyball.operations.ci.html import write_html
from flyball.operations.ci.markdown import escape, write_comment, write_markdown
from flyball.operations.ci.report import CiReport, Link, MetricLine
from flyball.operations.ci.shortening import fit, shorten

MENTION = re.compile(r"(?<![\w&;])[@#!%~$^][\w\"]")


class Tags(HTMLParser):
    """The tags and attributes of a page, as a browser would find them, and the words outside of style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self._in_style = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if not self._in_style:
            self.words.append(data)


def test_the_verdict_stands_first_and_then_why_and_then_what_to_do(ci_sample: CiReport):
    lines = [line for line in write_markdown(ci_sample).splitlines() if line]
    assert lines[0].startswith("## ") and headline(ci_sample) in lines[0]
    assert lines[1].startswith("**Why:**")
    at = next(place for place, line in enumerate(lines) if line.startswith("**What to do:**"))
    assert at <= 2 + len(ci_sample.because)


def test_the_four_verdicts_are_told_apart_in_words(ci_reports: Any):
    told = {name: headline(make()).partition(": ")[2] for name, make in ci_reports.SAMPLES.items()}
    assert told == {
        "good": "can be merged",
        "bad": "don't merge",
        "inconclusive": "not enough evidence yet",
        "broken": "the check itself broke",
    }


def test_markdown_and_html_tell_the_same(ci_sample: CiReport):
    page = " ".join(Tags(write_html(ci_sample)).words)
    text = write_markdown(ci_sample)
    for line in ci_sample.metrics:
        assert line.metric in page and line.metric in text
    for word in ("versus", "None", "Interval("):
        assert word not in page and word not in text
    for stage in ci_sample.stages:
        assert stage.name in page and f"| {stage.name} |" in text


def test_differences_carry_their_label_their_estimate_and_their_interval(ci_reports: Any):
    text = write_markdown(ci_reports.good())
    assert "| roc_auc ↑ | 0.787 (0.778 to 0.796) | ✅ better +0.0060 (+0.0020 to +0.0100) |" in text
    assert "➖ same 0 (0 to 0)" in text
    assert "➖ unclear -0.0004" in text


def test_one_column_shows_a_champion_that_is_the_base(ci_reports: Any):
    report = ci_reports.good()
    same = msgspec.structs.replace(report.champion, name="main at 77c0ffee1234", number=None)
    text = write_markdown(msgspec.structs.replace(report, base=same))
    assert "| Metric | This change | Against champion and base | Rows |" in text
    assert "and base main at 77c0ffee1234 on" in text and text.count("· against ") == 1
    assert "| Metric | This change | Against the champion | Against the base | Rows |" in write_markdown(
        report
    )


def test_of_slices_without_a_difference_only_a_few_are_shown(ci_reports: Any):
    report = ci_reports.good()
    unclear = [
        ci_reports.metric("log_loss", 0.4, ci_reports.difference(0, 0.01, "unclear"), slice=f"region = {i}")
        for i in range(20)
    ]
    worse = ci_reports.metric(
        "log_loss", 0.9, ci_reports.difference(0.3, 0.1, "worse"), slice="region = last"
    )
    protected = ci_reports.metric("log_loss", 0.4, None, slice="sex = 2", is_protected=True)
    text = write_markdown(msgspec.structs.replace(report, metrics=[*unclear, worse, protected]))
    assert "| region = last | log_loss" in text and "| sex = 2 (protected) |" in text
    assert text.count("| region = ") == 6 and "… and 15 more, left out here" in text


def test_what_failed_is_open_and_the_rest_is_folded(ci_reports: Any):
    text = write_markdown(ci_reports.bad())
    assert "\n### Gates: 1 of 2 passed\n" in text and "\n### Model tests: 1 of 2 passed\n" in text
    assert "<summary>Slices and protected groups: 1 of 3 worse</summary>" in text
    assert text.index("❌ fail | roc_auc") < text.index("✅ pass | package_mb")
    # What was changed and answered, and then what tells most of the row.
    assert "| changed | before | after | pay_0 | limit_bal | age | bill_1 | bill_2 |" in text
    assert "| pay_0: 0 → 2 | 0.31 | 0.1 | 0 | 50000 | 31 | 100 | 200 |" in text
    assert "<summary>Gates: 2 of 2 passed</summary>" in write_markdown(ci_reports.good())


def test_a_report_of_a_first_version_compares_with_nothing(ci_reports: Any):
    report = msgspec.structs.replace(ci_reports.good(), champion=None, base=None)
    text = write_markdown(report)
    assert "Against the" not in text and "| Metric | This change | Rows |" in text


def test_the_comment_names_the_full_report_and_shows_no_picture(ci_reports: Any):
    report = ci_reports.good()
    full = Link(name="full report", url="https://ci.example/a b(1)|")
    text = write_comment(report, full=full)
    assert text.startswith("## ")
    assert "](<https://ci.example/a" not in text  # a space: no address at all
    link = Link(name="full report", url="https://ci.example/a(1)|<>")
    assert "[full report](<https://ci.example/a%281%29%7C%3C%3E>)" in write_comment(report, full=link)
    assert "![" not in text
    files = report_files(report)
    shown = re.findall(r"!\[[^\]]*\]\(<([^>]+)>\)", files["report.md"])
    assert shown == ["charts/differences.svg", "charts/slices.svg", "charts/importances.svg"]
    assert set(shown) <= set(files)


def pieces(text: str, size: int = 45) -> list[str]:
    """A long text in parts that are short enough to be shown whole."""
    return [text[start : start + size] for start in range(0, len(text), size - 15)]


@pytest.mark.parametrize("text", [TRAP, *pieces(TRAP)])
@pytest.mark.parametrize("count", [1, 20])
def test_texts_of_users_stay_texts_in_markdown(ci_reports: Any, text: str, count: int):
    text = write_comment(ci_reports.hostile(text, count))
    tags = set(re.findall(r"</?([a-z]+)[ />]?", text))
    assert tags <= {"details", "summary", "sub", "code"}
    assert text.count("<details>") == text.count("</details>")
    assert not re.search(r"^\s*/", text, re.MULTILINE)  # quick actions of hosts begin a line
    assert not MENTION.search(re.sub(r"&#?\w+;(?:&#8203;)?", "", text.replace("&#8203;", "\u200b")))
    assert "://evil" not in text and "www.evil" not in text and "GH-7" not in text and ":tada:" not in text
    assert not re.search(r"!\[|\]\((?!<https://x\.example/)", text)
    assert all(char.isprintable() or char == "\n" for char in text)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1


@drawn(st.text(max_size=60))
def test_an_escaped_text_is_one_line_of_letters_and_entities(text: str):
    written = escape(text)
    assert "\n" not in written
    bare = written.replace("<code>", "").replace("</code>", "")
    assert not re.search(r"[<>`|*\[\]\\~]", bare)
    assert not re.search(r"[@%](?![\s&]|$)", re.sub(r"&#\d+;", "&", bare))


@pytest.mark.parametrize("text", ["- a", "1. a", "12) a", "+ a", "# a", "> a", "* a", "=== a", "    a"])
def test_a_text_never_begins_a_list_a_heading_or_a_quote(text: str):
    assert not re.match(r"[-+*#>] |\d+[.)] |\s", escape(text))


def test_a_number_stays_readable_in_the_source():
    assert (
        escape("-0.018 (-0.024 to +0.012), 12.5 s, roc_auc") == "-0.018 (-0.024 to +0.012), 12.5 s, roc_auc"
    )


def test_hebrew_and_arabic_do_not_turn_what_stands_beside_them():
    assert escape("\u05d0\u05d1 1") == "&lrm;\u05d0\u05d1 1&lrm;"


@pytest.mark.parametrize("count", [1, 300])
@pytest.mark.parametrize(
    "text", [TRAP, "@" * 2_000, "\U0001f6b2" * 1_000, ""], ids=["trap", "signs", "emoji", "empty"]
)
def test_no_report_outgrows_its_host(ci_reports: Any, text: str, count: int):
    report = ci_reports.hostile(text, count)
    comment = write_comment(report)
    assert len(comment) < 65_536 and len(comment.encode()) < 65_536
    for name, form in report_files(report).items():
        assert len(form.encode()) < (1_000_000 if name in ("junit.xml", "report.sarif") else 200_000), name


def test_what_is_left_out_is_counted(ci_reports: Any):
    report = msgspec.structs.replace(ci_reports.good(), warnings=[f"warning {place}" for place in range(500)])
    text = write_markdown(report)
    assert "<summary>Warnings: 500</summary>" in text and "… and 440 more, left out here" in text
    assert json.loads(write_json(report))["left_out"] == {"warnings": 440}


def test_rows_left_out_are_counted_for_their_own_test(ci_reports: Any):
    bad = ci_reports.bad()
    failing = msgspec.structs.replace(bad.tests[1], rows=[{"row": place} for place in range(130)])
    short = shorten(msgspec.structs.replace(bad, tests=[bad.tests[0], failing]), rows=100, characters=80)
    assert short.left_out == {"tests.0.rows": 120}
    assert "… and 120 more, left out here" in write_markdown(short)


def test_cutting_keeps_the_worst_gates_and_all_metrics_over_all_rows(ci_reports: Any):
    bad = ci_reports.bad()
    parts = [
        MetricLine(metric="roc_auc", larger_is_better=True, value=0.5, slice=f"part {place}")
        for place in range(50)
    ]
    short = shorten(
        msgspec.structs.replace(
            bad, metrics=[*parts, *bad.metrics], gates=[*[bad.gates[0]] * 9, bad.gates[1]]
        ),
        rows=4,
        characters=80,
    )
    assert [line.slice for line in short.metrics] == [None, None, "sex = female", "sex = male"]
    assert short.gates[0]["outcome"] == "fail"
    assert (short.left_out["metrics"], short.left_out["gates"]) == (51, 6)


def test_too_small_a_room_is_refused_and_named(ci_reports: Any):
    with pytest.raises(BadInput, match="does not fit into 10 bytes"):
        fit(ci_reports.good(), write_json, 10)


def test_html_needs_nothing_beside_it_and_runs_nothing(ci_reports: Any, ci_sample: CiReport):
    for report in (ci_sample, ci_reports.hostile(TRAP, 5)):
        page = Tags(write_html(report))
        assert not {"script", "img", "link", "iframe", "object", "form", "base"} & set(page.tags)
        names = {name for name, _ in page.attributes}
        assert not {name for name in names if name.startswith("on")} | ({"src", "style", "srcset"} & names)
        links = [value for name, value in page.attributes if name == "href"]
        assert all(value.startswith("https://") for value in links)
        assert "url(" not in write_html(report) and "@import" not in write_html(report)
        assert all(char.isprintable() or char == "\n" for char in write_html(report))


def test_charts_stand_alone_and_are_read_out(ci_reports: Any):
    for report in (ci_reports.good(), ci_reports.hostile(TRAP, 30)):
        for width in (720, 360):
            for drawing in charts(report, width).values():
                root = ET.fromstring(drawing)
                assert root.get("role") == "img" and root.get("aria-label")
                tags = {element.tag.partition("}")[2] for element in root.iter()}
                assert tags <= {"svg", "style", "rect", "text", "path", "circle"}
                assert "prefers-color-scheme:dark" in drawing and "nan" not in re.sub(
                    r"[a-z]nan|nan[a-z]", "", drawing
                )
                for element in root.iter():
                    assert not {name for name in element.attrib if "href" in name or name.startswith("on")}


def test_in_a_chart_better_is_right_of_the_line_whichever_way_the_metric_points(ci_reports: Any):
    root = ET.fromstring(charts(ci_reports.good())["differences"])
    points = [float(element.get("cx", 0)) for element in root.iter() if element.tag.endswith("circle")]
    assert len(points) == 3 and all(point > 360 for point in points)
    root = ET.fromstring(charts(ci_reports.bad())["differences"])
    assert all(float(one.get("cx", 999)) < 360 for one in root.iter() if one.tag.endswith("circle"))
