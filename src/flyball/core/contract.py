"""The data contract and its check of one row, shared by the model server and, through a property test, by frames."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

CONTRACT_FORMAT = 1
FeatureType = Literal["int", "float", "string", "bool", "datetime"]


class FeatureRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What one column must satisfy. `min` and `max` are inclusive; `values` are the only values allowed."""

    type: FeatureType
    min: float | None = None
    max: float | None = None
    values: tuple[str | int | bool, ...] | None = None
    nullable: bool = False


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """What every batch and every request must satisfy: a rule per feature, in the order of the signature."""

    format: int = CONTRACT_FORMAT
    features: dict[str, FeatureRule] = {}


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """One broken rule: row index (0-based), feature, problem, what came and what was expected."""

    row: int
    feature: str
    problem: Literal["missing", "null", "type", "range", "value", "not_finite", "unknown"]
    got: str
    expected: str


def check_row(contract: Contract, values: Mapping[str, Any], row: int = 0) -> list[Violation]:
    """Every rule that this row breaks, in the contract's order; empty when it satisfies the contract.

    A feature that is absent counts as null where it is nullable, as `missing` otherwise. An int satisfies a float
    rule, a float without fraction an int rule; a bool is no number. NaN and infinities are `not_finite`.
    """
    broken: list[Violation] = []
    for name, rule in contract.features.items():
        value = values.get(name)
        if value is None:
            if not rule.nullable:
                problem: Literal["null", "missing"] = "null" if name in values else "missing"
                broken.append(
                    Violation(
                        row=row, feature=name, problem=problem, got="null", expected=describe_rule(rule)
                    )
                )
            continue
        kind = _problem(rule, value)
        if kind is not None:
            broken.append(
                Violation(
                    row=row,
                    feature=name,
                    problem=kind,
                    got=describe_value(value),
                    expected=describe_rule(rule),
                )
            )
    return broken


def violates(rule: FeatureRule, value: Any) -> bool:
    """Whether a value that is not null breaks a rule."""
    return _problem(rule, value) is not None


def describe_rule(rule: FeatureRule) -> str:
    """A rule in words, for error messages: `int from 18 to 120`, `one of a, b`, `float or null`."""
    words: str = rule.type
    if rule.values is not None:
        shown = ", ".join(str(value) for value in rule.values[:8])
        words = f"one of {shown}{', …' if len(rule.values) > 8 else ''}"
    elif rule.min is not None and rule.max is not None:
        words += f" from {rule.min:g} to {rule.max:g}"
    elif rule.min is not None:
        words += f" of at least {rule.min:g}"
    elif rule.max is not None:
        words += f" of at most {rule.max:g}"
    return words + (" or null" if rule.nullable else "")


def describe_value(value: Any) -> str:
    """A value as error messages show it: its literal, at most 80 characters."""
    if isinstance(value, int) and value.bit_length() > 10_000:
        return "an integer of thousands of digits"  # repr refuses those
    return repr(value)[:80]


def _problem(rule: FeatureRule, value: Any) -> Literal["type", "range", "value", "not_finite"] | None:
    kind = rule.type
    if kind in ("int", "float"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "type"
        if isinstance(value, float):
            if not math.isfinite(value):
                return "not_finite"
            if kind == "int" and not value.is_integer():
                return "type"
        if (rule.min is not None and value < rule.min) or (rule.max is not None and value > rule.max):
            return "range"
    elif kind == "bool":
        if not isinstance(value, bool):
            return "type"
    elif not isinstance(value, str):
        return "type"
    elif kind == "datetime" and not _is_moment(value):
        return "type"
    if rule.values is not None and value not in rule.values:
        return "value"
    return None


def _is_moment(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
