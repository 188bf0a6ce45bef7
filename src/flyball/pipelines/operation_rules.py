"""Rules of the sections that run a model: rollout, monitor, environments, log, retrain, serve."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from flyball.core.durations import find_confirmation, parse_rate
from flyball.core.project import Project
from flyball.pipelines.faults import (
    at_least,
    confidence_fault,
    duration_fault,
    fault,
    repeated,
    share_fault,
)
from flyball.pipelines.shape import Fault, nearest

_CRON_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_OUTCOMES = re.compile(r"^outcomes [1-9]\d*$")
_CAUSES = ("performance", "drift", "prediction", "schedule")
_SLIDING = re.compile(r"^sliding\s+(.+)$")
# It becomes part of a variable's name and of a path.
ENVIRONMENT_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9-]{0,39}\Z")


def operation_rules(project: Project) -> Iterator[Fault]:
    """Every broken rule about serving, rolling out, watching and retraining."""
    for rules in (_rollout, _monitor, _environments, _log, _retrain, _serve):
        yield from rules(project)


def _rollout(project: Project) -> Iterator[Fault]:
    rollout = project.rollout
    if not rollout.steps:
        yield fault("is empty", "rollout", "steps", expected="shares of traffic, such as [0.05, 0.25, 1.0]")
    for number, share in enumerate(rollout.steps):
        yield from share_fault(share, "rollout", "steps", number, one=True)
        if number and share <= rollout.steps[number - 1]:
            yield fault(
                f"is {share:g}, not above the step before",
                "rollout",
                "steps",
                number,
                expected="rising shares",
            )
    if rollout.steps and rollout.steps[-1] != 1.0:
        yield fault(f"ends at {rollout.steps[-1]:g}", "rollout", "steps", expected="a last step of 1.0")
    for key in ("bake", "max_duration", "watch"):
        yield from duration_fault(getattr(rollout, key), "rollout", key)
    yield from confidence_fault(rollout.confidence, "rollout", "confidence")
    yield from at_least(rollout.min_requests, 1, "rollout", "min_requests")
    yield from at_least(rollout.min_outcome_days, 1, "rollout", "min_outcome_days")
    yield from at_least(rollout.approvals, 0, "rollout", "approvals")


def _monitor(project: Project) -> Iterator[Fault]:
    monitor = project.monitor
    yield from duration_fault(monitor.window, "monitor", "window", least=timedelta(minutes=1))
    yield from at_least(monitor.min_rows, 1, "monitor", "min_rows")
    try:
        parse_rate(monitor.false_alarms)
    except ValueError:
        yield fault(
            f'is "{monitor.false_alarms}"', "monitor", "false_alarms", expected='a rate such as "1 per 30d"'
        )


def _environments(project: Project) -> Iterator[Fault]:
    variables: dict[str, str] = {}
    for name, section in project.environments.items():
        if not ENVIRONMENT_NAME.match(name):
            yield fault(
                "is no name of an environment", "environments", name,
                expected="up to 40 letters, digits and -, beginning with a letter",
            )  # fmt: skip
        if (other := variables.setdefault(name.upper(), name)) != name:
            yield fault(
                f'and "{other}" have the same variables', "environments", name, expected="another name"
            )
        yield from _after(project, name)
        yield from at_least(section.approvals, 0, "environments", name, "approvals")
        if section.url is not None and not section.url.startswith(("http://", "https://")):
            yield fault(
                f'is "{section.url[:80]}"', "environments", name, "url", expected="an http(s) address"
            )


def _after(project: Project, name: str) -> Iterator[Fault]:
    """What is wrong with the environment that another is named to come after."""
    environments = project.environments
    before, path = environments[name].after, ("environments", name, "after")
    if before is None:
        return
    others = [other for other in environments if other != name]
    if before not in environments or before == name:
        problem = (
            "names itself" if before == name else f'is "{before[:80]}", which is no environment of this file'
        )
        expected = f"one of {', '.join(others)}" if others else "a further section [environments.…]"
        yield Fault(path=path, problem=problem, expected=expected, nearest=nearest(before, others))
        return
    seen = [name]
    while before is not None and before in environments and before not in seen:
        seen.append(before)
        before = environments[before].after
    if before == name:
        yield fault(
            f"goes round in a circle: {' after '.join([*seen, name])}", *path, expected="a first environment"
        )


def _log(project: Project) -> Iterator[Fault]:
    log, model = project.log, project.model
    yield from share_fault(log.sample, "log", "sample", one=True)
    yield from duration_fault(log.keep, "log", "keep", least=timedelta(days=1))
    for number, name in enumerate(log.hash):
        if name in log.drop:
            yield fault(
                f'is "{name}", which log.drop leaves out', "log", "hash", number, expected="one of the two"
            )
    for key in ("drop", "hash"):
        yield from repeated(getattr(log, key), "log", key)
        if model.time is not None and model.time in getattr(log, key):
            yield fault(
                f'has the time column "{model.time}"', "log", key, expected="columns other than the time"
            )


def _retrain(project: Project) -> Iterator[Fault]:
    retrain = project.retrain
    for number, trigger in enumerate(retrain.on):
        if trigger not in _CAUSES and not _OUTCOMES.match(trigger) and find_confirmation(trigger) is None:
            yield fault(
                f'is "{trigger}"', "retrain", "on", number,
                expected='performance, drift, prediction, schedule, "outcomes 5000" or "2 of 3 windows"',
            )  # fmt: skip
    if "schedule" in retrain.on and retrain.schedule is None:
        yield fault("is missing", "retrain", "schedule", expected='five cron fields, such as "0 3 * * 1"')
    if retrain.schedule is not None and not is_cron(retrain.schedule):
        yield fault(
            f'is "{retrain.schedule}"',
            "retrain",
            "schedule",
            expected='five cron fields, such as "0 3 * * 1"',
        )
    if retrain.data not in ("expanding", "since-change"):
        sliding = _SLIDING.match(retrain.data)
        if sliding is None:
            yield fault(
                f'is "{retrain.data}"',
                "retrain",
                "data",
                expected='"expanding", "since-change" or "sliding 90d"',
            )
        else:
            yield from duration_fault(sliding[1], "retrain", "data", least=timedelta(minutes=1))
    yield from duration_fault(retrain.cooldown, "retrain", "cooldown")
    yield from at_least(retrain.max_per_month, 0, "retrain", "max_per_month")
    yield from at_least(retrain.approvals, 0, "retrain", "approvals")
    wants_log = bool(retrain.on) and retrain.from_ in ("log", "both")
    if wants_log and project.log.sample < 1 and retrain.from_ == "log":
        yield fault(
            f'is "log" but log.sample is {project.log.sample:g}', "retrain", "from",
            expected='sample = 1.0, or from = "source"',
        )  # fmt: skip


def is_cron(text: str) -> bool:
    """Whether text is a schedule of five fields: minute, hour, day, month, weekday."""
    fields = text.split()
    return len(fields) == 5 and all(map(_is_cron_field, fields, _CRON_RANGES))


def _is_cron_field(field: str, allowed: tuple[int, int]) -> bool:
    for part in field.split(","):
        match = re.match(r"^(\*|\d+)(?:-(\d+))?(?:/([1-9]\d*))?$", part)
        if match is None:
            return False
        numbers = [int(number) for number in match.groups()[:2] if number and number != "*"]
        if not all(allowed[0] <= number <= allowed[1] for number in numbers) or numbers != sorted(numbers):
            return False
    return True


def _serve(project: Project) -> Iterator[Fault]:
    serve = project.serve
    for key, least in (("workers", 1), ("max_rows", 1), ("memory_mb", 64), ("max_body_mb", 0.001)):
        yield from at_least(getattr(serve, key), least, "serve", key)
    yield from duration_fault(serve.deadline, "serve", "deadline", least=timedelta(milliseconds=1))
