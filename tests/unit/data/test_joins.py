from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.core.errors import BadInput, SourceUnreadable, UnknownColumn
from flyball.core.project import JoinSection
from flyball.data.joins import join_as_of, join_sources

START = datetime(2024, 1, 1, tzinfo=UTC)
JOIN = JoinSection(source="bureau.parquet", on="who", available_at="reported_on")


def at(hours: int) -> datetime:
    return START + timedelta(hours=hours)


def rows(*pairs: tuple[str, int]) -> pl.DataFrame:
    return pl.DataFrame({"who": [who for who, _ in pairs], "when": [at(hour) for _, hour in pairs]})


def reports(*entries: tuple[str, int | None, int]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "who": [who for who, _, _ in entries],
            "reported_on": [None if hour is None else at(hour) for _, hour, _ in entries],
            "score": [score for _, _, score in entries],
        },
        schema_overrides={"reported_on": pl.Datetime("us", "UTC")},
    )


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 20)), min_size=1, max_size=10),
    st.lists(
        st.tuples(st.sampled_from("ab"), st.none() | st.integers(0, 20), st.integers(0, 99)),
        min_size=1,
        max_size=10,
    ),
)
def test_each_row_gets_the_newest_report_that_was_available_and_never_a_later_one(
    asked: list[tuple[str, int]], told: list[tuple[str, int | None, int]]
):
    joined = join_as_of(rows(*asked), reports(*told), JOIN, time="when")

    expected = []
    for who, hour in asked:
        known = [
            (when, place, score)
            for place, (of, when, score) in enumerate(told)
            if of == who and when is not None and when <= hour
        ]
        expected.append(max(known, key=lambda entry: entry[:2])[2] if known else None)
    assert joined["score"].to_list() == expected
    assert joined.select("who", "when").equals(rows(*asked))
    assert joined.columns == ["who", "when", "score"]


def test_a_join_without_event_time_a_clash_of_names_and_unequal_keys_are_refused():
    with pytest.raises(BadInput, match=r"\[model\].time"):
        join_sources(rows(("a", 1)), [JOIN], time=None, folder=Path())
    with pytest.raises(BadInput, match=r"both have the column 'score'"):
        join_as_of(rows(("a", 1)).with_columns(score=1), reports(("a", 1, 1)), JOIN, time="when")
    with pytest.raises(SourceUnreadable, match=r"String in the data and Int64"):
        join_as_of(
            rows(("a", 1)), reports(("a", 1, 1)).with_columns(who=pl.lit(1, pl.Int64)), JOIN, time="when"
        )
    with pytest.raises(UnknownColumn, match=r"did you mean 'reported_on'"):
        join_as_of(
            rows(("a", 1)),
            reports(("a", 1, 1)),
            JoinSection(source="s", on="who", available_at="reported"),
            time="when",
        )


def test_several_joins_read_their_sources_and_add_their_columns(tmp_path: Path):
    reports(("a", 0, 7)).write_parquet(tmp_path / "bureau.parquet")
    reports(("a", 2, 1)).rename({"score": "income"}).write_csv(tmp_path / "wages.csv")
    second = JoinSection(source="wages.csv", on=["who"], available_at="reported_on")

    joined = join_sources(rows(("a", 1), ("a", 3)), [JOIN, second], time="when", folder=tmp_path)

    assert joined["score"].to_list() == [7, 7]
    assert joined["income"].to_list() == [None, 1]
