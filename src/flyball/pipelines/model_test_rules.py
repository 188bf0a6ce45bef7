"""Rules of model tests: which kinds there are, which keys each has, and what the keys may say."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from flyball.core.project import ModelTestSection, Project
from flyball.pipelines.faults import at_least, confidence_fault, fault, repeated, share_fault
from flyball.pipelines.metric_names import METRICS
from flyball.pipelines.positions import dotted
from flyball.pipelines.shape import Fault, nearest

DIRECTIONS = ("not lower", "not higher")
BASELINES = {
    "regression": ("mean", "median", "last"),
    "binary": ("prior", "last"),
    "multiclass": ("prior", "last"),
}
_EFFECT = re.compile(r"^(same|(times|plus) -?\d+(\.\d+)?)$")


class KeysOfKind(msgspec.Struct, frozen=True):
    """Which keys a kind of test needs, of which it needs at least one, and which it may have."""

    needs: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    may: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key of the kind."""
        return ("kind", "name", *self.needs, *self.one_of, *self.may)


KINDS: dict[str, KeysOfKind] = {
    "answers": KeysOfKind(("rows",), ("expected", "min", "max"), ("max_change",)),
    "invariance": KeysOfKind(("feature", "max_change"), (), ("values", "max_share")),
    "direction": KeysOfKind(("feature", "effect"), (), ("values", "max_change", "max_share")),
    "noise": KeysOfKind((), ("max_change", "max_share"), ("features", "amount")),
    "missing": KeysOfKind((), (), ("features", "max_change", "max_share")),
    "borders": KeysOfKind((), (), ("features",)),
    "golden": KeysOfKind((), (), ("max_change",)),
    "baseline": KeysOfKind((), (), ("than", "metric", "confidence")),
    "calibration": KeysOfKind(("max_error",), (), ("confidence",)),
    "leak": KeysOfKind((), (), ("max_share",)),
    "parity": KeysOfKind((), (), ("max_change",)),
    "deterministic": KeysOfKind((), (), ("max_change",)),
    "seeds": KeysOfKind(("max_spread",), (), ("seeds", "metric")),
    "small-batch": KeysOfKind((), (), ("batch", "max_share")),
    "metamorphic": KeysOfKind(("effect",), ("scale", "shift", "swap"), ("max_change", "max_share")),
}  # fmt: skip

# These train again, in a process like the training's.
TRAINING_KINDS = ("deterministic", "seeds", "small-batch")


def name_of(test: ModelTestSection) -> str:
    """What a test is called: its name, or its kind and what it is about."""
    about = [test.feature, *test.features, *test.scale, *test.shift, *test.swap]
    words = ", ".join(dict.fromkeys(name for name in about if name))
    return test.name or (f"{test.kind} {words}" if words else test.kind)


def model_test_rules(project: Project) -> Iterator[Fault]:
    """Everything wrong with the project's model tests that can be told without data."""
    for number, test in enumerate(project.tests):
        path = ("tests", number)
        kind = KINDS.get(test.kind)
        if kind is None:
            yield Fault(
                path=(*path, "kind"),
                problem=f'is "{test.kind[:60]}"',
                expected=f"one of {', '.join(KINDS)}",
                nearest=nearest(test.kind, KINDS),
            )
            continue
        yield from _keys(test, kind, path)
        yield from _values(test, project, path)


def unknown_features(tests: Sequence[ModelTestSection], features: Sequence[str]) -> Iterator[Fault]:
    """Tests about features that the model does not have."""
    for number, test in enumerate(tests):
        for path, name in _named(test):
            if name not in features:
                yield Fault(
                    path=("tests", number, *path),
                    problem=f'is "{name}", which is no feature of the model',
                    expected=f"one of {', '.join(list(features)[:12])}{', …' if len(features) > 12 else ''}",
                    nearest=nearest(name, features),
                )


def feature_problems(
    tests: Sequence[ModelTestSection], features: Sequence[str], file: str, lines: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Tests about features that the data don't have, as facts of a ProjectError. lines: of each key, dotted."""
    problems = []
    for found in unknown_features(tests, features):
        key = dotted(found.path)
        line = lines.get(key) or lines.get(dotted(found.path[:3])) or lines.get(dotted(found.path[:2]), 1)
        advice = f"did you mean {found.nearest}?" if found.nearest else f"expected {found.expected}"
        problems.append(
            {
                "file": file, "line": line, "key": key, "problem": found.problem, "expected": found.expected,
                "nearest": found.nearest, "message": f"{file}:{line}: {key} {found.problem}; {advice}",
            }
        )  # fmt: skip
    return problems


def _named(test: ModelTestSection) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every place of a test that names a feature."""
    if test.feature is not None:
        yield ("feature",), test.feature
    for key in ("features", "swap"):
        for number, name in enumerate(getattr(test, key)):
            yield (key, number), name
    for key in ("scale", "shift"):
        for name in getattr(test, key):
            yield (key, name), name
    for number, row in enumerate(test.rows):
        for name in row:
            yield ("rows", number, name), name


def _keys(test: ModelTestSection, kind: KeysOfKind, path: tuple[str | int, ...]) -> Iterator[Fault]:
    given = set(msgspec.to_builtins(test))
    for key in kind.needs:
        if key not in given:
            yield fault("is missing", *path, key, expected=f"{key} for a test of kind {test.kind}")
    if kind.one_of and not given.intersection(kind.one_of):
        yield fault("asks for nothing", *path, expected=f"one of {', '.join(kind.one_of)}")
    for key in sorted(given.difference(kind.keys)):
        yield Fault(
            path=(*path, key),
            problem=f"is no key of the kind {test.kind}",
            expected=f"one of {', '.join(kind.keys)}",
            nearest=nearest(key, kind.keys),
        )


def _values(test: ModelTestSection, project: Project, path: tuple[str | int, ...]) -> Iterator[Fault]:
    task = project.model.task
    known = project.data.features
    if known and not any(step.at == "train" for step in project.steps):
        for problem in unknown_features([test], known):
            yield msgspec.structs.replace(problem, path=(*path, *problem.path[2:]))
    yield from at_least(test.seeds, 2, *path, "seeds")
    yield from at_least(test.batch, 10, *path, "batch")
    for key in ("max_change", "max_error", "max_spread"):
        yield from at_least(getattr(test, key), 0, *path, key)
    if test.max_share is not None:
        yield from share_fault(test.max_share, *path, "max_share", zero=True)
    if test.amount is not None and not (test.amount > 0 and math.isfinite(test.amount)):
        yield fault(f"is {test.amount:g}", *path, "amount", expected="a share of the spread, such as 0.01")
    for name in ("features", "swap"):
        yield from repeated(getattr(test, name), *path, name)
    if len(test.swap) == 1:
        yield fault("has one feature", *path, "swap", expected="two features or more")
    yield from confidence_fault(test.confidence, *path, "confidence")
    yield from _effect(test, task, path)
    yield from _expectation(test, task, path)
    if test.kind == "calibration" and task != "binary":
        yield fault(f"is for binary models; this is a {task} model", *path, "kind")
    if test.than is not None and test.than not in BASELINES[task]:
        yield fault(f'is "{test.than}"', *path, "than", expected=f"one of {', '.join(BASELINES[task])}")
    if test.than == "last" and project.model.time is None:
        yield fault(
            'is "last" but [model].time is not set', *path, "than", expected="model.time, or another one"
        )
    if test.metric is not None:
        yield from _metric(test.metric, task, path)


def _effect(test: ModelTestSection, task: str, path: tuple[str | int, ...]) -> Iterator[Fault]:
    if test.effect is None:
        return
    if test.effect not in DIRECTIONS and not (test.kind == "metamorphic" and _EFFECT.match(test.effect)):
        expected = '"not lower" or "not higher"'
        if test.kind == "metamorphic":
            expected = '"not lower", "not higher", "same", "times 2" or "plus 10"'
        near = nearest(test.effect, DIRECTIONS)
        yield Fault(path=(*path, "effect"), problem=f'is "{test.effect}"', expected=expected, nearest=near)
    elif task == "multiclass" and test.effect != "same":
        yield fault(
            "has no meaning for several classes", *path, "effect", expected="a number, or two classes"
        )


def _expectation(test: ModelTestSection, task: str, path: tuple[str | int, ...]) -> Iterator[Fault]:
    if test.expected is not None and (test.min, test.max) != (None, None):
        yield fault("stands beside min or max", *path, "expected", expected="one of them")
    is_number = isinstance(test.expected, int | float) and not isinstance(test.expected, bool)
    if test.expected is not None and task == "regression" and not is_number:
        yield fault(f"is {test.expected!r}", *path, "expected", expected="a number")
    if task == "multiclass" and (test.min, test.max) != (None, None):
        yield fault("has no meaning for several classes", *path, "min", expected="expected = a class")
    if test.min is not None and test.max is not None and test.min > test.max:
        yield fault(f"is {test.min:g}, above max = {test.max:g}", *path, "min", expected="min up to max")


def _metric(name: str, task: str, path: tuple[str | int, ...]) -> Iterator[Fault]:
    allowed = [
        known
        for known, metric in METRICS.items()
        if task in metric.tasks and "gate" in metric.places and known != "loss"
    ]
    if name not in allowed:
        yield Fault(
            path=(*path, "metric"),
            problem=f'is "{name}", no metric of a {task} model',
            expected=f"one of {', '.join(allowed)}",
            nearest=nearest(name, allowed),
        )
