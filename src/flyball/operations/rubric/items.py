"""The 28 tests of the ML Test Score, each with what of a project's facts gives points for it, and what for the next.

Source: Breck, Cai, Nielsen, Salib, Sculley (2017), "The ML Test Score: A Rubric for ML Production Readiness and
Technical Debt Reduction", IEEE International Conference on Big Data: half a point for what is done by hand and
documented, a full one for what is automated and repeated. What a program can't know gets its half point by a document.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from flyball.core.durations import parse_duration
from flyball.operations.rubric.facts import Facts
from flyball.operations.rubric.judging import (
    CHECKS,
    Said,
    code_is_tested,
    gate_setting,
    gated,
    judged,
    passed_test,
    test_setting,
)
from flyball.pipelines.metric_names import PACKAGE_METRICS

_ENOUGH_WINDOWS = 3
_RUN = "flyball run"
_SERVE = "deploy the model and keep `flyball up` running: it analyses each window of the traffic"
_OUTCOMES = "send the outcomes of predictions (`flyball outcomes add`)"


class Item(NamedTuple):
    """A test of the rubric. `most`: the points that facts can give; where it is less than 1, no program can tell."""

    id: str
    title: str
    judge: Callable[[Facts], Said]
    most: float = 1.0


def _schema(facts: Facts) -> Said:
    rules, at = facts.project.contract.features, facts.at("contract.features")
    missing = [name for name in facts.features if name not in rules]
    if rules and not missing:
        return Said(1.0, f"{at}: rules for {len(rules)} features, held in each run and each request")
    advice = "flyball contract infer >> flyball.toml   # and correct what people know better"
    if rules:
        return Said(0.5, f"{at}: rules for {len(rules)} features; none for {', '.join(missing[:5])}", advice)
    if facts.version is not None:
        return Said(
            0.5, f"{facts.version} keeps rules that its training rows suggest; nobody wrote them down", advice
        )
    return Said(0.0, "no rules for features", advice)


def _unknown(what: str) -> Callable[[Facts], Said]:
    return lambda facts: Said(0.0, f"no program can tell {what}")


def _feature_cost(facts: Facts) -> Said:
    found = judged(facts, lambda gate: gate.metric in PACKAGE_METRICS)
    if found.points:
        return Said(0.5, f"{found.fact}: the cost of all features together has a bound")
    return Said(0.0, found.fact, found.next or gate_setting("latency_p99_ms", "max = 20"))


def _requirements(facts: Facts) -> Said:
    data = facts.project.data
    taken = [name for name in data.protected if name in (data.features or facts.features)]
    if taken:
        return Said(0.0, f"{', '.join(taken)} is protected and a feature", "leave it out of [data].features")
    if data.features:
        return Said(1.0, f"{facts.at('data.features')}: no column but those named can become a feature")
    setting = "[data]\nfeatures = [...]   # all that may be used"
    for key in ("exclude", "protected"):
        if getattr(data, key):
            return Said(0.5, f"{facts.at(f'data.{key}')}: what is known to be unfit is left out", setting)
    return Said(0.0, "any column becomes a feature", setting)


def _privacy(facts: Facts) -> Said:
    for key in ("drop", "hash"):
        if getattr(facts.project.log, key):
            where = facts.at(f"log.{key}")
            return Said(0.5, f"{where}: not readable in the log of predictions and in reports")
    return Said(0.0, "the log of predictions keeps every field", '[log]\nhash = ["a_column_about_people"]')


def _feature_code(facts: Facts) -> Said:
    steps = [step.entry for step in facts.project.steps] or [facts.project.train.entry]
    return code_is_tested(facts, steps, "what makes features")


def _reviewed(facts: Facts) -> Said:
    approvals, at = facts.project.rollout.approvals, facts.at("rollout.approvals")
    if not facts.is_tracked:
        return Said(0.0, "flyball.toml is not in Git", "git add flyball.toml && git commit")
    if approvals > 0:
        return Said(
            1.0, f"{at}: {approvals} others approve before a version takes traffic; the files are in Git"
        )
    return Said(0.5, "flyball.toml is in Git; nothing asks for a second person", "[rollout]\napprovals = 1")


def _tuned(facts: Facts) -> Said:
    return Said(0.0, "this release makes no search; [train].params are as they were written")


def _staleness(facts: Facts) -> Said:
    if facts.with_outcomes >= _ENOUGH_WINDOWS:
        return Said(1.0, f"the loss in {facts.with_outcomes} windows of production, as the champion ages")
    time, split = facts.project.model.time, facts.project.data.split.by
    if facts.evaluation and time is not None and split in (None, "time"):
        fact = f"{facts.at('model.time')}: each version is measured on rows later than its own"
        return Said(0.5, f"{fact} ({facts.evaluation})", _OUTCOMES)
    if time is None:
        return Said(0.0, "rows have no time", '[model]\ntime = "a_column"')
    return Said(0.0, "no version was measured on later rows", _RUN)


def _simpler(facts: Facts) -> Said:
    return passed_test(facts, ("baseline",), setting=test_setting("baseline"))


def _slices(facts: Facts) -> Said:
    found = gated(facts, lambda gate: gate.by is not None)
    setting = gate_setting("true_positive_rate", 'by = "a_column"', "max_gap = 0.1")
    return _or_measured(facts, found, facts.slices, setting)


def _inclusion(facts: Facts) -> Said:
    protected = facts.project.data.protected
    if not protected:
        return Said(0.0, "no column is named as protected", '[data]\nprotected = ["a_column"]')
    found = gated(facts, lambda gate: gate.by in protected)
    if not found.points:
        other = passed_test(facts, ("invariance",), about=lambda test: test.feature in protected)
        found = other if other.points else found
    setting = gate_setting("true_positive_rate", f'by = "{protected[0]}"', "max_gap = 0.1")
    return _or_measured(facts, found, [name for name in facts.slices if name in protected], setting)


def _or_measured(facts: Facts, found: Said, slices: list[str], setting: str) -> Said:
    if found.points or not slices:
        return found if found.points or found.next else Said(0.0, found.fact, setting)
    shown = ", ".join(slices[:5])
    return Said(
        0.5,
        f"measured by {shown} ({facts.evaluation}), for people to look at; {found.fact}",
        found.next or setting,
    )


def _reproducible(facts: Facts) -> Said:
    found = passed_test(facts, ("deterministic",), setting=test_setting("deterministic"))
    if found.points or facts.version is None:
        return found
    fact = f"{facts.version} names its rows, files, packages and seed; {found.fact}"
    return Said(0.5, fact, found.next)


def _spec_tests(facts: Facts) -> Said:
    found = passed_test(facts, ("small-batch",), setting=test_setting("small-batch"))
    if found.points:
        return found
    tested = code_is_tested(facts, [facts.project.train.entry], "the training")
    return Said(tested.points, f"{found.fact}; {tested.fact}", found.next) if tested.points else found


def _integration(facts: Facts) -> Said:
    if facts.checks:
        return Said(1.0, f"{facts.checks[0]}: each change runs through the whole pipeline")
    if facts.version is not None:
        return Said(0.5, f"{facts.version} was made by the whole pipeline, by hand", CHECKS)
    return Said(0.0, "the pipeline was never run", _RUN)


def _validated(facts: Facts) -> Said:
    found = judged(facts, lambda gate: gate.metric not in PACKAGE_METRICS)
    if found.points:
        return Said(1.0, f"{found.fact}; what does not pass can't be deployed")
    return found if found.next else Said(0.0, found.fact, gate_setting("log_loss", 'versus = "champion"'))


def _debuggable(facts: Facts) -> Said:
    log = facts.project.log
    if log.durability == "none":
        return Said(
            0.0, f"{facts.at('log.durability')}: no prediction is kept", '[log]\ndurability = "process"'
        )
    if facts.champion is None:
        return Said(0.0, "nothing is in service, so no prediction is kept", "flyball deploy")
    return Said(
        0.5, "each prediction is kept with its inputs and version; `flyball replay ID` makes it again"
    )


def _canary(facts: Facts) -> Said:
    strategy, at = facts.project.rollout.strategy, facts.at("rollout.strategy")
    if strategy not in ("canary", "shadow"):
        return Said(0.0, f"{at}: {strategy}", '[rollout]\nstrategy = "canary"')
    if facts.carried is not None:
        return Said(1.0, f"a candidate was promoted by its {strategy} beside the champion ({facts.carried})")
    if facts.champion is None:
        return Said(0.0, "nothing is in service to hold a candidate against", "flyball deploy")
    return Said(
        0.5, f"{at}: {strategy}, which no candidate has passed yet", "flyball deploy the next version"
    )


def _rollback(facts: Facts) -> Said:
    if facts.champion is None:
        return Said(0.0, "nothing is in service", "flyball deploy")
    if facts.previous is None:
        return Said(0.0, "the champion has none before it to go back to", "flyball deploy the next version")
    watch, at = facts.project.rollout.watch, facts.at("rollout.watch")
    back = f"version {facts.previous} is kept; `flyball rollback` takes it back at once"
    if not parse_duration(watch):
        return Said(0.5, f"{back}; nothing tells when to ({at})", '[rollout]\nwatch = "7d"')
    return Said(1.0, f"{back}, and an alarm within {watch} of a promotion says so")


def _dependencies(facts: Facts) -> Said:
    if facts.updates:
        return Said(1.0, f"{facts.updates[0]}: new releases of packages are told")
    setting = ".github/dependabot.yml or renovate.json"
    if facts.checks:
        return Said(0.5, f"{facts.checks[0]}: the report of a change names packages that are others", setting)
    return Said(0.0, "nothing tells of new releases of packages", setting)


def _invariants(facts: Facts) -> Said:
    rules, at = facts.project.contract.features, facts.at("contract.features")
    if not rules:
        return Said(0.0, "no rules for features", "flyball contract infer >> flyball.toml")
    if facts.windows:
        return Said(1.0, f"{at}: held in training and serving; {facts.windows} windows were looked at")
    return Said(0.5, f"{at}: held in training and serving, for people to look at", _SERVE)


def _skew(facts: Facts) -> Said:
    found = passed_test(facts, ("parity",), setting=test_setting("parity"))
    if found.points or not facts.windows:
        return found
    fact = f"{facts.windows} windows of requests were held against the training's rows; {found.fact}"
    return Said(0.5, fact, found.next)


def _not_stale(facts: Facts) -> Said:
    retrain = facts.project.retrain
    if not retrain.on:
        return Said(0.0, "nothing retrains the model", '[retrain]\non = ["performance", "drift"]')
    at = f"{facts.at('retrain.on')}: retrains on {', '.join(retrain.on)}"
    if facts.windows:
        return Said(1.0, f"{at}; {facts.windows} windows were looked at")
    if facts.schedules:
        return Said(1.0, f"{at}; {facts.schedules[0]} looks by the clock")
    return Said(0.5, f"{at}; nothing has looked yet", _SERVE)


def _stable(facts: Facts) -> Said:
    found = passed_test(facts, ("borders",), setting=test_setting("borders"))
    if found.points or facts.evaluation is None:
        return found
    fact = f"no answer on held-out rows was infinite or no number ({facts.evaluation}); {found.fact}"
    return Said(0.5, fact, found.next)


def _speed(facts: Facts) -> Said:
    found = judged(facts, lambda gate: gate.metric in PACKAGE_METRICS)
    if found.points:
        return found
    setting = found.next or gate_setting("latency_p99_ms", "max = 20")
    if facts.evaluation is None:
        return Said(0.0, found.fact, setting)
    return Said(0.5, f"time and memory are measured ({facts.evaluation}), for people to look at", setting)


def _quality(facts: Facts) -> Said:
    if facts.with_outcomes:
        return Said(1.0, f"the loss in {facts.with_outcomes} windows of production, by their outcomes")
    found = judged(facts, lambda gate: gate.versus is not None)
    if found.points:
        return Said(0.5, f"{found.fact}; nothing is known of production", _OUTCOMES)
    return Said(0.0, "no window of production has outcomes", _OUTCOMES)


SECTIONS: dict[str, tuple[Item, ...]] = {
    "data": (
        Item("data-1", "Feature expectations are captured in a schema", _schema),
        Item("data-2", "All features are beneficial", _unknown("whether each feature is worth having"), 0.5),
        Item("data-3", "No feature's cost is too much", _feature_cost, 0.5),
        Item("data-4", "Features adhere to meta-level requirements", _requirements),
        Item("data-5", "The data pipeline has appropriate privacy controls", _privacy, 0.5),
        Item("data-6", "New features can be added quickly", _unknown("how long a new feature takes"), 0.5),
        Item("data-7", "All input feature code is tested", _feature_code),
    ),
    "model": (
        Item("model-1", "Model specs are reviewed and submitted", _reviewed),
        Item(
            "model-2",
            "Offline and online metrics correlate",
            _unknown("what the metric is worth to the business"),
            0.5,
        ),
        Item("model-3", "All hyperparameters have been tuned", _tuned, 0.5),
        Item("model-4", "The impact of model staleness is known", _staleness),
        Item("model-5", "A simpler model is not better", _simpler),
        Item("model-6", "Model quality is sufficient on important data slices", _slices),
        Item("model-7", "The model is tested for considerations of inclusion", _inclusion),
    ),
    "infrastructure": (
        Item("infrastructure-1", "Training is reproducible", _reproducible),
        Item("infrastructure-2", "Model specs are unit tested", _spec_tests),
        Item("infrastructure-3", "The ML pipeline is integration tested", _integration),
        Item("infrastructure-4", "Model quality is validated before serving", _validated),
        Item("infrastructure-5", "The model is debuggable", _debuggable, 0.5),
        Item("infrastructure-6", "Models are canaried before serving", _canary),
        Item("infrastructure-7", "Serving models can be rolled back", _rollback),
    ),
    "monitoring": (
        Item("monitoring-1", "Dependency changes result in notification", _dependencies),
        Item("monitoring-2", "Data invariants hold for inputs", _invariants),
        Item("monitoring-3", "Training and serving are not skewed", _skew),
        Item("monitoring-4", "Models are not too stale", _not_stale),
        Item("monitoring-5", "Models are numerically stable", _stable),
        Item("monitoring-6", "Computing performance has not regressed", _speed),
        Item("monitoring-7", "Prediction quality has not regressed", _quality),
    ),
}
