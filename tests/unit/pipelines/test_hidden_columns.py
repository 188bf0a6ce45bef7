"""Values of columns that [log] drops or hashes stand in no finding, no message and no difference."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
import pytest

from flyball.core.contract import FeatureRule
from flyball.core.errors import ContractBroken
from flyball.core.project import (
    ContractSection,
    DataSection,
    GateSection,
    LogSection,
    ModelSection,
    Project,
    SplitSection,
    TrainSection,
)
from flyball.operations.ci.differences import _without_values
from flyball.operations.ci.report import ColumnDifference
from flyball.pipelines.children.measuring import slice_columns
from flyball.pipelines.children.prepare import PrepareTask, look_at
from flyball.pipelines.hidden import hidden_columns, shown_row, without_values

LOG = LogSection(drop=["ward"], hash=["name"])


def _project(**data: Any) -> Project:
    return Project(
        model=ModelSection(name="line", task="regression", target="y"),
        data=DataSection(source="rows.csv", **data),
        train=TrainSection(entry="train:train"),
        log=LOG,
        gates=[GateSection(metric="mae", by="name", max_gap=1.0)],
    )


def test_a_row_keeps_its_columns_and_loses_the_hidden_values():
    row = {"x": 1.5, "ward": "north", "name": "Ann", "at": date(2025, 1, 2)}
    expected = {"x": 1.5, "ward": "(not shown)", "name": "(not shown)", "at": "2025-01-02"}
    assert shown_row(row, hidden_columns(LOG)) == expected


def test_a_message_loses_the_values_it_quotes_the_longest_first_and_keeps_short_ones():
    frame = pl.DataFrame({"name": ["Ann", "Anna", "Al", None], "x": [123, 4, 5, 6]})
    said = without_values("no Anna, no Ann, no Al, no 123", [frame], hidden_columns(LOG))
    assert said == "no (not shown), no (not shown), no Al, no 123"


def test_metrics_by_a_hidden_column_are_made_only_where_the_project_asks_for_them():
    frame = pl.DataFrame({name: ["a", "b"] * 30 for name in ("x", "ward", "name")})
    features = ["x", "ward", "name"]
    assert slice_columns(frame, _project(), features) == ["name", "x"]  # a gate looks at name
    assert slice_columns(frame, _project(protected=["ward"]), features) == ["ward", "name", "x"]


@pytest.mark.parametrize("change", ["contract", "distribution"])
def test_rules_and_means_of_a_hidden_column_are_not_shown(change: Any):
    found = ColumnDifference(column="name", change=change, before=None, after="values ('Ann', 'Bob')")
    hidden = _without_values(found)
    assert (hidden.before, hidden.after, hidden.change) == (None, "(not shown)", change)


def test_another_type_of_a_hidden_column_is_shown():
    found = ColumnDifference(column="name", change="type", before="String", after="Int64")
    assert _without_values(found) == found


def _task(folder: Any, hidden: list[str], contract: ContractSection) -> PrepareTask:
    return PrepareTask(
        choice={"kind": "source", "digest": None},
        folder=str(folder),
        model=ModelSection(name="line", task="regression", target="y"),
        data=DataSection(source="rows.csv"),
        contract=contract,
        split=SplitSection(by="random"),
        has_train_steps=False,
        seed=1,
        blobs="",
        now="",
        to={},
        hidden=hidden,
    )


@pytest.mark.parametrize(("hidden", "is_told"), [([], True), (["name"], False)])
def test_a_row_that_breaks_the_contract_is_told_without_its_hidden_value(
    tmp_path: Any, hidden: list[str], is_told: bool
):
    rows = [{"x": float(n), "name": "planted" if n == 7 else "Ann", "y": n * 2.0 + 1} for n in range(60)]
    pl.DataFrame(rows).write_csv(tmp_path / "rows.csv")
    rule = FeatureRule(type="string", values=("Ann",))
    with pytest.raises(ContractBroken) as broken:
        look_at(_task(tmp_path, hidden, ContractSection(features={"name": rule})))
    assert ("planted" in broken.value.message) is is_told
    assert ("planted" in str(broken.value.facts)) is is_told
    assert "row 7, name: value" in broken.value.message


@pytest.mark.parametrize(("hidden", "is_told"), [([], True), (["name"], False)])
def test_a_column_of_one_value_is_told_without_a_hidden_one(tmp_path: Any, hidden: list[str], is_told: bool):
    rows = [{"x": float(n % 9), "name": "planted", "y": n * 2.0 + 1} for n in range(60)]
    pl.DataFrame(rows).write_csv(tmp_path / "rows.csv")
    looked = look_at(_task(tmp_path, hidden, ContractSection()))
    found = [finding for finding in looked.findings if finding["kind"] == "constant_feature"]
    assert [("planted" in str(finding)) for finding in found] == [is_told]
