"""Charts: what is drawn, where, and that no text in it can be markup."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.web.pages.charts import (
    NARROW,
    WIDE,
    Mark,
    Sample,
    Size,
    describe,
    heat_level,
    heat_strip,
    metric_chart,
    sparkline,
)
from flyball.web.pages.scales import nice_ticks, short_number, time_ticks, value_range

START = datetime(2011, 5, 5, tzinfo=UTC)
WEEK = timedelta(days=7)
finite = st.floats(min_value=-1e9, max_value=1e9, allow_nan=False)


def samples(*values: float | None, reference: float | None = 36.0) -> list[Sample]:
    return [
        Sample(
            start=START + WEEK * i,
            end=START + WEEK * (i + 1),
            value=value,
            reference=reference,
            version=1 + i // 3,
            healthy=value is None or value < 50,
            rows=168,
        )
        for i, value in enumerate(values)
    ]


def drawn(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(markup)


def with_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [e for e in root.iter() if name in (e.get("class") or "").split()]


@given(finite, finite, st.integers(1, 10))
def test_ticks_are_evenly_spaced_and_cover_the_range(low: float, high: float, most: int):
    ticks = nice_ticks(low, high, most)
    assert len(ticks) >= 2
    assert ticks == sorted(set(ticks))
    if low <= high:
        slack = (ticks[1] - ticks[0]) * 1e-6
        assert ticks[0] <= low + slack
        assert ticks[-1] >= high - slack
        assert len(ticks) <= 2.5 * most + 4


@given(st.lists(finite, min_size=1))
def test_an_axis_covers_every_value(values: list[float]):
    low, high = value_range(values)
    assert low <= min(values)
    assert high >= max(values)


def test_an_axis_of_small_differences_far_from_zero_does_not_begin_at_zero():
    assert value_range([0.91, 0.93]) == (0.91, 0.93)
    assert value_range([20.0, 71.0]) == (0.0, 71.0)


@pytest.mark.parametrize(
    "span", [timedelta(minutes=3), timedelta(hours=30), timedelta(days=9), 90 * WEEK, 900 * WEEK]
)
def test_time_ticks_lie_within_the_span_and_are_few(span: timedelta):
    ticks = time_ticks(START, START + span, 6)
    assert 1 <= len(ticks) <= 9
    assert all(START <= at <= START + span for at, _ in ticks)
    assert len({label for _, label in ticks}) == len(ticks)


def test_a_chart_draws_a_dot_for_each_known_value_and_marks_those_out_of_the_ordinary():
    chart = drawn(metric_chart(samples(38.0, None, 52.0, 41.0), [], "mae", WIDE))
    assert len(with_class(chart, "dot")) == 3
    assert len(with_class(chart, "alarmed")) == 1


def test_a_value_that_is_not_known_leaves_a_gap_in_the_curve():
    chart = drawn(metric_chart(samples(38.0, 39.0, None, 41.0, 40.0), [], "mae", WIDE))
    (curve,) = with_class(chart, "curve")
    assert curve.get("d", "").count("M") == 2


def test_higher_values_are_drawn_higher_and_later_ones_further_right():
    chart = drawn(metric_chart(samples(30.0, 60.0), [], "mae", NARROW))
    first, second = with_class(chart, "dot")
    assert float(second.get("cy", "")) < float(first.get("cy", ""))
    assert float(second.get("cx", "")) > float(first.get("cx", ""))


def test_a_change_of_version_is_a_line_with_its_number():
    chart = drawn(metric_chart(samples(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0), [], "mae", WIDE))
    assert [e.text for e in with_class(chart, "version")] == ["v1", "v2", "v3"]
    assert len(with_class(chart, "change")) == 2


def test_marks_outside_the_charts_time_are_left_out():
    marks = [
        Mark(at=START + WEEK, kind="signal", text="inside"),
        Mark(at=START - WEEK, kind="signal", text="before"),
        Mark(at=START + 50 * WEEK, kind="promoted", text="long after"),
    ]
    chart = drawn(metric_chart(samples(1.0, 2.0, 3.0), marks, "mae", WIDE))
    assert len(with_class(chart, "mark")) == 1


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "//elsewhere.example/x", "http://elsewhere.example", ""]
)
def test_a_mark_links_within_the_console_only(link: str):
    marks = [
        Mark(at=START, kind="signal", text="x", link=link),
        Mark(at=START, kind="signal", text="y", link="/runs"),
    ]
    chart = drawn(metric_chart(samples(1.0, 2.0), marks, "mae", WIDE))
    assert [e.get("href") for e in chart.iter("a")] == ["/runs"]


@given(st.text(max_size=60))
def test_whatever_the_text_a_drawing_is_well_formed_and_gains_no_element(text: str):
    marks = [Mark(at=START, kind=text, text=text, link="/" + text)]
    for size in (WIDE, NARROW):
        plain = drawn(
            metric_chart(samples(1.0, 2.0), [Mark(at=START, kind="x", text="x", link="/x")], "mae", size)
        )
        hostile = drawn(metric_chart(samples(1.0, 2.0), marks, text, size))
        tags = [e.tag for e in hostile.iter()]
        expected = [e.tag for e in plain.iter()]
        assert sorted(set(tags)) == sorted(set(expected)) or "a" not in tags
    assert drawn(sparkline([1.0, 2.0], text)).tag == "svg"
    assert drawn(heat_strip([0.1], [True], text)).tag == "svg"


def test_nothing_to_show_draws_nothing():
    assert metric_chart([], [], "mae", WIDE) == ""
    assert sparkline([None, None], "x") == ""
    assert heat_strip([], [], "x") == ""


def test_a_single_window_and_equal_values_can_be_drawn():
    assert len(with_class(drawn(metric_chart(samples(5.0, reference=None), [], "mae", WIDE)), "dot")) == 1
    assert "nan" not in metric_chart(samples(0.0, 0.0, 0.0, reference=0.0), [], "mae", WIDE)


def test_a_chart_says_in_words_what_it_shows():
    text = describe(samples(38.0, 52.0, 41.0), [Mark(at=START, kind="signal", text="x")], "mae")
    assert text == (
        "mae per window from 2011-05-05 to 2011-05-26: between 38 and 52, last 41 where 36 was expected; "
        "1 events, listed below"
    )


def test_shades_grow_with_drift_and_unknown_windows_are_left_empty():
    levels = [heat_level(score / 100) for score in range(101)]
    assert levels == sorted(levels)
    assert (levels[0], levels[-1]) == (0, 6)
    strip = drawn(heat_strip([0.0, None, 0.9, 0.9], [False, False, True, False], "temp"))
    assert {e.get("class"): (e.get("d") or "").count("M") for e in strip} == {
        "heat-0": 1,
        "heat-6": 2,
        "alarm": 1,
    }


@given(finite)
def test_a_short_number_reads_back_within_four_digits(value: float):
    assert float(short_number(value)) == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("weeks", [1 / 168, 1 / 7, 1, 4, 26, 104])
def test_labels_of_the_time_axis_never_run_into_each_other(size: Size, weeks: float):
    span = timedelta(weeks=weeks)
    found = [
        Sample(start=START + span * i / 10, end=START + span * (i + 1) / 10, value=float(i))
        for i in range(10)
    ]
    chart = drawn(metric_chart(found, [], "mae", size))
    labels = [e for e in with_class(chart, "tick") if float(e.get("y", "")) == size.height - 11]
    assert labels
    edges = []
    for label in labels:
        x, width, look = float(label.get("x", "")), 6.5 * len(label.text or ""), label.get("class", "")
        start = x - width if "end" in look else x if "start" in look else x - width / 2
        edges.append((start, start + width))
    assert all(before[1] < after[0] for before, after in itertools.pairwise(edges))
