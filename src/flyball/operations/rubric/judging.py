"""What items of the rubric have in common: a model test that passed, a gate that was asked, code that tests lead to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from flyball.core.project import GateSection, ModelTestSection
from flyball.operations.rubric.facts import Facts, Outcome
from flyball.pipelines.model_test_rules import name_of

CHECKS = "flyball ci init github   # or gitlab, azure, jenkins: a workflow that checks each change"


class Said(NamedTuple):
    """Points (0, 0.5 or 1), the fact they rest on with where it stands, and what to write for more."""

    points: float
    fact: str
    next: str | None = None


def test_setting(kind: str) -> str:
    """A model test, as it is written."""
    return f'[[tests]]\nkind = "{kind}"'


def gate_setting(metric: str, *keys: str) -> str:
    """A gate, as it is written."""
    return "\n".join(["[[gates]]", f'metric = "{metric}"', *keys])


def passed_test(
    facts: Facts,
    kinds: Sequence[str],
    *,
    about: Callable[[ModelTestSection], bool] | None = None,
    setting: str | None = None,
) -> Said:
    """A point where the judged version passed a model test of these kinds that the project file still asks for."""
    found = [
        _asked(facts, facts.at(f"tests[{number}]"), _outcome(facts, test), "flyball test")
        for number, test in enumerate(facts.project.tests)
        if test.kind in kinds and (about is None or about(test))
    ]
    nothing = Said(0.0, f"no model test of the kind {' or '.join(kinds)}", setting)
    return max(found, key=lambda said: said.points, default=nothing)


def gated(facts: Facts, about: Callable[[GateSection], bool]) -> Said:
    """A point where the judged version passed a gate that the project file still asks for."""
    found = [_asked(facts, at, outcome, "flyball run") for at, outcome in _gates(facts, about)]
    return max(found, key=lambda said: said.points, default=Said(0.0, "no gate looks at it"))


def judged(facts: Facts, about: Callable[[GateSection], bool]) -> Said:
    """A point where the judged version was held to such a gate, whatever the verdict."""
    for at, outcome in _gates(facts, about):
        if outcome is None:
            return _asked(facts, at, None, "flyball run")
        verdict = f"{outcome.outcome} for {facts.version} ({outcome.evidence})"
        return Said(1.0, f"{at}: gate on {outcome.rule['metric']}, {verdict}")
    return Said(0.0, "no gate looks at it")


def code_is_tested(facts: Facts, entries: Sequence[str], what: str) -> Said:
    """A point where the project's own tests lead to the code of all entries and run on each change; half by hand."""
    modules = list(dict.fromkeys(entry.partition(":")[0] for entry in entries if ":" in entry))
    untested = [module for module in modules if not facts.tested.get(module)]
    setting = f"tests/test_{(untested or modules or ['train'])[0].replace('.', '_')}.py, for pytest"
    if not modules or untested == modules:
        return Said(0.0, f"no test in tests leads to {what}", setting)
    shown = ", ".join(
        f"{facts.tested[module][0]} leads to {module}" for module in modules if facts.tested.get(module)
    )
    if untested:
        return Said(0.5, f"{shown}; none leads to {', '.join(untested)}", setting)
    if facts.checks:
        return Said(1.0, f"{shown}; {facts.checks[0]} runs it on each change")
    return Said(0.5, f"{shown}; run by hand, by `flyball test`", CHECKS)


def _gates(facts: Facts, about: Callable[[GateSection], bool]) -> Iterator[tuple[str, Outcome | None]]:
    for number, gate in enumerate(facts.project.gates):
        if about(gate):
            rule = {"metric": gate.metric, "by": gate.by, "versus": gate.versus}
            kept = [
                outcome for outcome in facts.gates if {key: outcome.rule.get(key) for key in rule} == rule
            ]
            yield facts.at(f"gates[{number}]"), kept[-1] if kept else None


def _outcome(facts: Facts, test: ModelTestSection) -> Outcome | None:
    rule = {"kind": test.kind, "name": name_of(test)}
    return next((outcome for outcome in facts.tests if outcome.rule == rule), None)


def _asked(facts: Facts, at: str, outcome: Outcome | None, command: str) -> Said:
    if outcome is None:
        who = "no version was" if facts.version is None else f"{facts.version} was not"
        return Said(0.0, f"{at}: {who} held to it yet", "flyball run")
    said = f"{at}: {outcome.outcome} for {facts.version} ({outcome.evidence})"
    if outcome.outcome == "pass":
        return Said(1.0, said)
    return Said(0.0, said, f"make it pass; `{command}` says why it does not")
