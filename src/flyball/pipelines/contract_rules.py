"""Rules of [contract.features]: limits and values that a column of that type can have."""

from __future__ import annotations

import math
from collections.abc import Iterator

from flyball.core.contract import FeatureRule
from flyball.core.project import Project
from flyball.pipelines.faults import fault
from flyball.pipelines.shape import Fault


def contract_rules(project: Project) -> Iterator[Fault]:
    """Every rule about a column that contradicts itself or the project."""
    for name, rule in project.contract.features.items():
        path = ("contract", "features", name)
        if name == project.model.target:
            yield fault("is the target", *path, expected="a feature: requests never carry the target")
        if project.data.features and name not in project.data.features:
            yield fault("is not among data.features", *path, expected="a rule for a feature")
        yield from _limits(rule, *path)
        yield from _values(rule, *path)


def _limits(rule: FeatureRule, *path: str) -> Iterator[Fault]:
    for key in ("min", "max"):
        limit = getattr(rule, key)
        if limit is None:
            continue
        if rule.type not in ("int", "float"):
            yield fault(f"is set for a {rule.type} column", *path, key, expected="a numeric column")
        if not math.isfinite(limit):
            yield fault(f"is {limit}", *path, key, expected="a finite number")
    if rule.min is not None and rule.max is not None and rule.min > rule.max:
        yield fault(f"is {rule.min:g}, above max = {rule.max:g}", *path, "min", expected="min up to max")


def _values(rule: FeatureRule, *path: str) -> Iterator[Fault]:
    if rule.values is None:
        return
    if not rule.values:
        yield fault("is empty", *path, "values", expected="the values that are allowed")
    kinds = {"string": str, "datetime": str, "bool": bool, "int": int, "float": int}
    for number, value in enumerate(rule.values):
        if type(value) is not kinds[rule.type]:
            yield fault(f"is {value!r}", *path, "values", number, expected=f"a {rule.type}")
