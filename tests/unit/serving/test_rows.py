"""The quick check of a row agrees with core's on every row."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.core.contract import Contract, FeatureRule, check_row
from flyball.serving.rows import RowChecker, flag

RULES = st.one_of(
    st.builds(
        FeatureRule,
        type=st.sampled_from(["int", "float"]),
        min=st.none() | st.floats(-10, 0),
        max=st.none() | st.floats(0, 10),
        nullable=st.booleans(),
    ),
    st.builds(FeatureRule, type=st.sampled_from(["bool", "string", "datetime"]), nullable=st.booleans()),
    st.builds(FeatureRule, type=st.just("string"), values=st.just(("a", "b")), nullable=st.booleans()),
    st.builds(FeatureRule, type=st.just("int"), values=st.just((1, 2)), nullable=st.booleans()),
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-20, 20),
    st.integers(),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from(["a", "b", "c", "2020-01-01", "1.5", ""]),
)
NAMES = ["one", "two", "three", "four"]
CONTRACTS = st.builds(lambda rules: Contract(features=rules), st.dictionaries(st.sampled_from(NAMES), RULES))
ROWS = st.dictionaries(st.sampled_from([*NAMES, "when", "stranger"]), VALUES)


@given(CONTRACTS, ROWS)
def test_it_finds_what_the_contracts_own_check_finds(contract: Contract, row: dict[str, Any]):
    found = [
        v for v in RowChecker(contract, ["when", "stranger", *NAMES]).check(row, 3) if v.problem != "unknown"
    ]
    assert found == check_row(contract, row, 3)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 10**400])
@pytest.mark.parametrize("kind", ["int", "float"])
def test_numbers_at_the_end_of_the_line_are_judged_alike(value: float, kind: str):
    contract = Contract(features={"x": FeatureRule(type=kind)})
    assert RowChecker(contract).check({"x": value}) == check_row(contract, {"x": value})


@given(CONTRACTS, ROWS)
def test_fields_that_nobody_knows_are_named(contract: Contract, row: dict[str, Any]):
    found = {v.feature for v in RowChecker(contract, ["when"]).check(row) if v.problem == "unknown"}
    assert found == row.keys() - contract.features.keys() - {"when"}


@given(CONTRACTS, ROWS)
def test_only_features_are_kept(contract: Contract, row: dict[str, Any]):
    kept = RowChecker(contract, ["when"]).features_of(row)
    assert kept == {name: value for name, value in row.items() if name in contract.features}


@pytest.mark.parametrize(
    ("value", "problem"),
    [(None, "null"), ("x", "type"), (True, "type"), (0.5, "type"), (121, "range"), (17, "range")],
)
def test_each_kind_of_violation_has_its_word(value: object, problem: str):
    contract = Contract(features={"age": FeatureRule(type="int", min=18, max=120)})
    (violation,) = RowChecker(contract).check({"age": value})
    assert flag(violation) == f"{problem}:age"
