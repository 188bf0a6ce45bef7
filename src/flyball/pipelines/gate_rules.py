"""Rules of gates, rollout guards and service objectives: each is exactly one kind of question, about a known metric."""

from __future__ import annotations

import re
from collections.abc import Iterator

from flyball.core.project import GateSection, GuardSection, Project
from flyball.pipelines.faults import at_least, confidence_fault, duration_fault, fault
from flyball.pipelines.metric_names import METRICS, MetricName
from flyball.pipelines.shape import Fault, nearest

_REPLAY = re.compile(r"^replay\s+(.+)$")


def gate_rules(project: Project) -> Iterator[Fault]:
    """Every gate, guard or objective that asks nothing, two things, or about an unknown metric."""
    for number, gate in enumerate(project.gates):
        yield from _gate(gate, project, "gates", number)
    for name, section in project.environments.items():
        for number, gate in enumerate(section.gates or []):
            yield from _gate(gate, project, "environments", name, "gates", number)
    for number, guard in enumerate(project.rollout.guards):
        yield from _guard(guard, project, "rollout", "guards", number)
    for number, objective in enumerate(project.monitor.slo):
        path: tuple[str | int, ...] = ("monitor", "slo", number)
        yield from _metric(objective.metric, "slo", project, *path)
        if (objective.min is None) == (objective.max is None):
            yield fault("needs one limit", *path, expected="either min or max")


def _gate(gate: GateSection, project: Project, *path: str | int) -> Iterator[Fault]:
    yield from _metric(gate.metric, "gate", project, *path)
    yield from confidence_fault(gate.confidence, *path, "confidence")
    kinds = {
        "min or max": gate.by is None and gate.versus is None and (gate.min, gate.max) != (None, None),
        'versus = "champion"': gate.versus is not None,
        "by with max_gap": gate.by is not None and gate.max_gap is not None,
    }
    asked = [kind for kind, is_asked in kinds.items() if is_asked]
    if len(asked) != 1 or (gate.by is None) != (gate.max_gap is None):
        yield fault(
            "asks " + (" and ".join(asked) if len(asked) > 1 else "nothing that can be answered"), *path,
            expected='exactly one of: min or max; versus = "champion" with a margin; by with max_gap',
        )  # fmt: skip
    if gate.versus is not None:
        if (gate.min, gate.max) != (None, None):
            yield fault(
                "has min or max beside versus", *path, expected="a margin: max_increase or max_decrease"
            )
        yield from _margin(gate, *path)
    elif (gate.max_increase, gate.max_decrease) != (None, None):
        yield fault("has a margin against nothing", *path, expected='versus = "champion" beside it')
    if gate.min is not None and gate.max is not None and gate.min > gate.max:
        yield fault(f"is {gate.min:g}, above max = {gate.max:g}", *path, "min", expected="min up to max")
    yield from at_least(gate.max_gap, 0, *path, "max_gap")
    if gate.over is not None:
        replay = _REPLAY.match(gate.over)
        if replay is None:
            yield fault(f'is "{gate.over}"', *path, "over", expected='"replay 7d"')
        else:
            yield from duration_fault(replay[1], *path, "over")


def _guard(guard: GuardSection, project: Project, *path: str | int) -> Iterator[Fault]:
    yield from _metric(guard.metric, "guard", project, *path)
    yield from _margin(guard, *path)


def _margin(section: GateSection | GuardSection, *path: str | int) -> Iterator[Fault]:
    if (section.max_increase is None) == (section.max_decrease is None):
        yield fault("needs one margin", *path, expected="either max_increase or max_decrease")
        return
    key = "max_increase" if section.max_increase is not None else "max_decrease"
    yield from at_least(getattr(section, key), 0, *path, key)
    metric = METRICS.get(section.metric)
    right = "max_decrease" if metric is not None and metric.better == "higher" else "max_increase"
    if metric is not None and key != right:
        yield fault(
            f"bounds the wrong side: {section.metric} is better when {metric.better}",
            *path,
            key,
            expected=right,
        )


def _metric(name: str, place: str, project: Project, *path: str | int) -> Iterator[Fault]:
    task = project.model.task
    allowed = [known for known, metric in METRICS.items() if _fits(metric, place, task)]
    if name in allowed:
        return
    if name in METRICS and METRICS[name].tasks and task not in METRICS[name].tasks:
        problem = f'is "{name}", which is not defined for {task} models'
    elif name in METRICS:
        problem = f'is "{name}", which can\'t stand here'
    else:
        problem = f'is "{name}", an unknown metric'
    yield Fault(
        path=(*path, "metric"),
        problem=problem,
        expected=f"one of {', '.join(allowed)}",
        nearest=nearest(name, allowed),
    )


def _fits(metric: MetricName, place: str, task: str) -> bool:
    return place in metric.places and (not metric.tasks or task in metric.tasks)
