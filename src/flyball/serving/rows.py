"""One row against the contract, quickly: the common case is a few comparisons, the rest is core's own check."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any

from flyball.core.contract import Contract, FeatureRule, Violation, check_row

LONGEST_NAME = 64
MAX_UNKNOWN = 32
_NUMBER, _INT, _BOOL, _TEXT, _OTHER = range(5)
_NUMBERS = frozenset((float, int))
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
        # Plain numbers are most of most rows and are looked at together; itemgetter of one name gives no tuple.
        plain = [entry for entry in self._plan if entry[1] == _NUMBER]
        self._take = itemgetter(*(entry[0] for entry in plain)) if len(plain) > 1 else None
        self._lows, self._highs = [entry[2] for entry in plain], [entry[3] for entry in plain]
        self._rest = [entry for entry in self._plan if entry[1] != _NUMBER]

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
        if self._take is None:
            return self._is_fine_one_by_one(row, self._plan, 0)
        try:
            numbers = self._take(row)
        except KeyError:
            return self._is_fine_one_by_one(row, self._plan, 0)
        if not _NUMBERS.issuperset(map(type, numbers)):
            return self._is_fine_one_by_one(row, self._plan, 0)
        for value, low, high in zip(numbers, self._lows, self._highs, strict=True):
            if not low <= value <= high:
                return False
        return self._is_fine_one_by_one(row, self._rest, len(numbers))

    def _is_fine_one_by_one(self, row: Mapping[str, Any], plan: list[_Plan], found: int) -> bool:
        """found: how many of the row's fields were found fine before."""
        for name, kind, low, high, values, nullable in plan:
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
