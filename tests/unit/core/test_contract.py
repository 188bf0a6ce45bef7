from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from flyball.core.contract import Contract, FeatureRule, check_row, describe_rule, violates

AGE = FeatureRule(type="int", min=18, max=120)


def problems(rule: FeatureRule, value: Any) -> list[str]:
    return [broken.problem for broken in check_row(Contract(features={"x": rule}), {"x": value})]


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        (AGE, 18, []),
        (AGE, 120.0, []),
        (AGE, 17, ["range"]),
        (AGE, 18.5, ["type"]),
        (AGE, "18", ["type"]),
        (AGE, True, ["type"]),
        (AGE, None, ["null"]),
        (AGE, math.nan, ["not_finite"]),
        (AGE, [18], ["type"]),
        (FeatureRule(type="float", nullable=True), None, []),
        (FeatureRule(type="float"), 3, []),
        (FeatureRule(type="float"), math.inf, ["not_finite"]),
        (FeatureRule(type="float", max=1.0), 10**400, ["range"]),
        (FeatureRule(type="bool"), False, []),
        (FeatureRule(type="bool"), 0, ["type"]),
        (FeatureRule(type="string", values=("a", "b")), "b", []),
        (FeatureRule(type="string", values=("a", "b")), "c", ["value"]),
        (FeatureRule(type="int", values=(1, 2)), 2.0, []),
        (FeatureRule(type="datetime"), "2024-05-31T08:00:00Z", []),
        (FeatureRule(type="datetime"), "last week", ["type"]),
        (FeatureRule(type="datetime"), 20240531, ["type"]),
    ],
)
def test_a_value_breaks_its_rule_or_it_does_not(rule: FeatureRule, value: Any, expected: list[str]):
    assert problems(rule, value) == expected
    if value is not None:
        assert violates(rule, value) == bool(expected)


def test_an_absent_feature_is_missing_unless_it_may_be_null():
    contract = Contract(features={"a": AGE, "b": FeatureRule(type="float", nullable=True)})

    broken = check_row(contract, {}, row=7)

    assert [(one.row, one.feature, one.problem) for one in broken] == [(7, "a", "missing")]


def test_violations_come_in_the_contracts_order_and_say_what_was_expected():
    contract = Contract(features={"b": AGE, "a": FeatureRule(type="string", values=("x",))})

    broken = check_row(contract, {"a": "y", "b": 3})

    assert [one.feature for one in broken] == ["b", "a"]
    assert (broken[0].got, broken[0].expected) == ("3", "int from 18 to 120")
    assert broken[1].expected == "one of x"


@pytest.mark.parametrize(
    "value", ["x" * 5000, 10**5000, {"a": list(range(1000))}], ids=["text", "number", "object"]
)
def test_what_came_is_shown_at_no_great_length(value: Any):
    (broken,) = check_row(Contract(features={"x": AGE}), {"x": value})

    assert len(broken.got) <= 80


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (FeatureRule(type="float", min=0), "float of at least 0"),
        (FeatureRule(type="float", max=1.5, nullable=True), "float of at most 1.5 or null"),
        (FeatureRule(type="string"), "string"),
        (FeatureRule(type="int", values=tuple(range(10))), "one of 0, 1, 2, 3, 4, 5, 6, 7, …"),
    ],
)
def test_a_rule_is_told_in_words(rule: FeatureRule, words: str):
    assert describe_rule(rule) == words


def test_a_contract_comes_back_from_json_as_it_was():
    contract = Contract(
        features={"a": AGE, "b": FeatureRule(type="string", values=("x", 1, True), nullable=True)}
    )

    assert msgspec.json.decode(msgspec.json.encode(contract), type=Contract) == contract
