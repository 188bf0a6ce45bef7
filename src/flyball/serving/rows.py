"""One row against the contract, quickly: the common case is a few comparisons, the rest is core's own check."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from flyball.core.contract import Contract, FeatureRule, Violation, check_row

LONGEST_NAME = 64
MAX_UNKNOWN = 32
_NUMBER, _INT, _BOOL, _TEXT, _OTHER = range(5)
_Plan = tuple[str, int, float, float, frozenset[Any] | None, bool]


class RowChecker:
    """What of a row breaks the contract, and which of its fields nobody knows.

    known: fields that are no features and yet expected (entity, time). Agrees with core's `check_row` on every row;
    a field that is neither a feature nor known adds the problem `unknown`.
    """

    def __init__(self, contract: Contract, known: Iterable[str] = ()) -> None:
        self._contract = contract
        self._plan = [_plan(name, rule) for name, rule in contract.features.items()]
        self._others = frozenset(known) - contract.features.keys()

    def check(self, row: Mapping[str, Any], index: int = 0) -> list[Violation]:
        """Every broken rule of a row; empty when it keeps the contract."""
        if self._is_fine(row):
            return []
        return check_row(self._contract, row, index) + self._unknown(row, index)

    def features_of(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row without what is no feature of the contract: what may be asked and logged."""
        features = self._contract.features
        if len(row) <= len(features) and row.keys() <= features.keys():
            return row
        return {name: value for name, value in row.items() if name in features}

    def _is_fine(self, row: Mapping[str, Any]) -> bool:
        found = 0
        for name, kind, low, high, values, nullable in self._plan:
            value = row.get(name)
            if value is None:
                if not nullable:
                    return False
                found += name in row
                continue
            # Exact types: a bool is an int to isinstance and no number to the contract.
            is_type = type(value)
            if kind == _NUMBER:
                if (is_type is not float and is_type is not int) or not low <= value <= high:
                    return False
            elif kind == _INT:
                if is_type is not int or not low <= value <= high:
                    return False
            elif kind == _TEXT:
                if is_type is not str or (values is not None and value not in values):
                    return False
            elif kind == _BOOL:
                if is_type is not bool:
                    return False
            else:
                return False
            found += 1
        return found == len(row) or found + sum(name in row for name in self._others) == len(row)

    def _unknown(self, row: Mapping[str, Any], index: int) -> list[Violation]:
        names = [name for name in row if name not in self._contract.features and name not in self._others]
        return [
            Violation(
                row=index,
                feature=name[:LONGEST_NAME],
                problem="unknown",
                got=repr(row[name])[:80],
                expected="no such field",
            )
            for name in names[:MAX_UNKNOWN]
        ]


def flag(violation: Violation) -> str:
    """A violation as a flag of an answer and of its record: `range:age`."""
    return f"{violation.problem}:{violation.feature}"


def _plan(name: str, rule: FeatureRule) -> _Plan:
    # Not infinities: what is not finite must fail the comparison.
    low = rule.min if rule.min is not None else -sys.float_info.max
    high = rule.max if rule.max is not None else sys.float_info.max
    kind = {"float": _NUMBER, "int": _INT, "bool": _BOOL, "string": _TEXT}.get(rule.type, _OTHER)
    if rule.values is not None and kind != _TEXT:
        kind = _OTHER
    values = frozenset(rule.values) if rule.values is not None and kind == _TEXT else None
    return name, kind, low, high, values, rule.nullable
