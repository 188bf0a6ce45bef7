"""The ML Test Score: each item is turned on by its fact and off without it; the weakest section is the score."""

from __future__ import annotations

from typing import Any

import pytest

from flyball.core.contract import FeatureRule
from flyball.core.project import (
    ContractSection,
    DataSection,
    GateSection,
    LogSection,
    ModelSection,
    ModelTestSection,
    Project,
    RetrainSection,
    RolloutSection,
    StepSection,
    TrainSection,
)
from flyball.operations.rubric.facts import Facts, Outcome, Place
from flyball.operations.rubric.items import SECTIONS
from flyball.operations.rubric.scoring import score_facts
from flyball.pipelines.rubric_rules import ITEMS


def _project(**sections: Any) -> Project:
    model = {"name": "shop", "task": "binary", "target": "y", **sections.pop("model", {})}
    data = {"source": "rows.csv", **sections.pop("data", {})}
    return Project(
        model=ModelSection(**model),
        data=DataSection(**data),
        train=TrainSection(entry="train:train"),
        **sections,
    )


def _facts(sections: dict[str, Any] | None = None, **known: Any) -> Facts:
    return Facts(project=_project(**(sections or {})), **known)


def _test(kind: str, outcome: str = "pass", **keys: Any) -> dict[str, Any]:
    """A model test in the file, and how it ended for the judged version."""
    section = ModelTestSection(kind=kind, **keys)
    name = f"{kind} {section.feature}" if section.feature else kind
    rule = {"kind": kind, "name": name}
    return {
        "sections": {"tests": [section]},
        "version": "shop@3",
        "tests": [Outcome(rule=rule, outcome=outcome, evidence="evd_1")],
    }


def _gate(
    metric: str, outcome: str = "pass", more: dict[str, Any] | None = None, **keys: Any
) -> dict[str, Any]:
    rule = {"metric": metric, **keys}
    return {
        "sections": {"gates": [GateSection(**rule)], **(more or {})},
        "version": "shop@3",
        "gates": [Outcome(rule=rule, outcome=outcome, evidence="evd_2")],
    }


RULES = {"contract": ContractSection(features={"x": FeatureRule(type="float")})}
CI = {"checks": [".github/workflows/model.yml:9"]}
SEX = {"data": {"protected": ["sex"]}}

# Item, the facts that give points, how many.
ON: list[tuple[str, dict[str, Any], float]] = [
    ("data-1", {"version": "shop@3", "features": ["x"]}, 0.5),
    ("data-1", {"sections": RULES, "version": "shop@3", "features": ["x", "z"]}, 0.5),
    ("data-1", {"sections": RULES, "version": "shop@3", "features": ["x"]}, 1.0),
    ("data-3", _gate("latency_p99_ms", max=5.0), 0.5),
    ("data-4", {"sections": {"data": {"exclude": ["id"]}}}, 0.5),
    ("data-4", {"sections": {"data": {"features": ["x"], "protected": ["sex"]}}}, 1.0),
    ("data-5", {"sections": {"log": LogSection(hash=["name"])}}, 0.5),
    ("data-7", {"tested": {"train": ["tests/test_train.py"]}}, 0.5),
    ("data-7", {"tested": {"train": ["tests/test_train.py"]}, **CI}, 1.0),
    ("model-1", {"is_tracked": True}, 0.5),
    ("model-1", {"is_tracked": True, "sections": {"rollout": RolloutSection(approvals=1)}}, 1.0),
    ("model-4", {"sections": {"model": {"time": "at"}}, "version": "shop@3", "evaluation": "evd_3"}, 0.5),
    ("model-4", {"with_outcomes": 3}, 1.0),
    ("model-5", _test("baseline"), 1.0),
    ("model-6", {"version": "shop@3", "slices": ["c"], "evaluation": "evd_3"}, 0.5),
    ("model-6", _gate("f1", by="c", max_gap=0.1), 1.0),
    ("model-7", {"sections": SEX, "version": "shop@3", "slices": ["sex"], "evaluation": "evd_3"}, 0.5),
    ("model-7", _gate("f1", by="sex", max_gap=0.1, more=SEX), 1.0),
    ("infrastructure-1", {"version": "shop@3"}, 0.5),
    ("infrastructure-1", _test("deterministic"), 1.0),
    ("infrastructure-2", {"tested": {"train": ["tests/test_train.py"]}}, 0.5),
    ("infrastructure-2", _test("small-batch"), 1.0),
    ("infrastructure-3", {"version": "shop@3"}, 0.5),
    ("infrastructure-3", CI, 1.0),
    ("infrastructure-4", _gate("f1", min=0.5), 1.0),
    ("infrastructure-4", _gate("f1", "fail", min=0.5), 1.0),  # it was validated, and held back
    ("infrastructure-5", {"champion": 1}, 0.5),
    ("infrastructure-6", {"champion": 1}, 0.5),
    ("infrastructure-6", {"champion": 2, "carried": "rol_1"}, 1.0),
    ("infrastructure-7", {"champion": 2, "previous": 1, "sections": {"rollout": RolloutSection(watch="0s")}}, 0.5),
    ("infrastructure-7", {"champion": 2, "previous": 1, "sections": {"rollout": RolloutSection(watch="0.5d")}}, 1.0),
    ("infrastructure-7", {"champion": 2, "previous": 1}, 1.0),
    ("monitoring-1", CI, 0.5),
    ("monitoring-1", {"updates": ["renovate.json"]}, 1.0),
    ("monitoring-2", {"sections": RULES}, 0.5),
    ("monitoring-2", {"sections": RULES, "windows": 2}, 1.0),
    ("monitoring-3", {"windows": 2}, 0.5),
    ("monitoring-3", _test("parity"), 1.0),
    ("monitoring-4", {"sections": {"retrain": RetrainSection(on=["drift"])}}, 0.5),
    ("monitoring-4", {"sections": {"retrain": RetrainSection(on=["drift"])}, "windows": 2}, 1.0),
    ("monitoring-4", {"sections": {"retrain": RetrainSection(on=["drift"])}, "schedules": ["a.yml:3"]}, 1.0),
    ("monitoring-5", {"version": "shop@3", "evaluation": "evd_3"}, 0.5),
    ("monitoring-5", _test("borders"), 1.0),
    ("monitoring-6", {"version": "shop@3", "evaluation": "evd_3"}, 0.5),
    ("monitoring-6", _gate("memory_mb", max=50.0), 1.0),
    ("monitoring-7", _gate("log_loss", versus="champion", max_increase=0.1), 0.5),
    ("monitoring-7", {"with_outcomes": 1}, 1.0),
]  # fmt: skip


def _item(facts: Facts, item: str) -> Any:
    sections = score_facts(facts).sections
    return next(one for section in sections for one in section.items if one.id == item)


@pytest.mark.parametrize(("item", "known", "points"), ON)
def test_an_item_gets_its_points_from_its_fact_and_says_where_that_stands(
    item: str, known: dict[str, Any], points: float
):
    known = dict(known)
    found = _item(_facts(known.pop("sections", None), **known), item)
    assert found.points == points, found.fact
    assert found.fact
    assert (found.next is None) is (points >= found.most)


def test_an_empty_project_scores_nothing_and_is_told_what_to_write_for_every_item():
    score = score_facts(_facts())
    assert (score.score, [section.points for section in score.sections]) == (0.0, [0.0] * 4)
    items = [item for section in score.sections for item in section.items]
    assert [item.id for item in items] == list(ITEMS)
    assert all(item.next for item in items)
    assert "research project" in score.reading


def test_every_item_can_reach_the_most_it_may_have_or_is_left_to_documents():
    reached = {item: max(points for one, _, points in ON if one == item) for item, _, _ in ON}
    documents = {"data-2", "data-6", "model-2", "model-3"}
    for section in SECTIONS.values():
        for item in section:
            assert item.id in documents or reached[item.id] == item.most, item.id


@pytest.mark.parametrize("kind", ["baseline", "deterministic", "small-batch", "parity", "borders"])
@pytest.mark.parametrize("outcome", ["fail", "inconclusive", "broken"])
def test_a_model_test_that_did_not_pass_gives_no_full_point(kind: str, outcome: str):
    items = {"baseline": "model-5", "deterministic": "infrastructure-1", "small-batch": "infrastructure-2"}
    items |= {"parity": "monitoring-3", "borders": "monitoring-5"}
    known = _test(kind, outcome)
    found = _item(_facts(known.pop("sections"), **known), items[kind])
    assert found.points < 1.0 and outcome in found.fact
    assert "make it pass" in found.next


def test_a_model_test_that_no_version_was_held_to_gives_nothing():
    known = _test("parity")
    found = _item(_facts(known["sections"], lines={"tests[0]": 12}), "monitoring-3")
    assert (found.points, found.next) == (0.0, "flyball run")
    assert found.fact == "flyball.toml:12: no version was held to it yet"
    later = _item(_facts(known["sections"], lines={"tests[0]": 12}, version="shop@3"), "monitoring-3")
    assert later.fact == "flyball.toml:12: shop@3 was not held to it yet"


def test_a_model_test_that_the_file_asks_no_more_gives_nothing_though_a_version_passed_it():
    known = _test("parity")
    known.pop("sections")
    assert _item(_facts(**known), "monitoring-3").points == 0.0


def test_a_fact_names_line_and_evidence():
    known = _gate("f1", by="c", max_gap=0.1)
    found = _item(_facts(known.pop("sections"), lines={"gates[0]": 31}, **known), "model-6")
    assert found.fact == "flyball.toml:31: pass for shop@3 (evd_2)"


def test_a_protected_column_that_is_a_feature_breaks_the_requirements_on_features():
    found = _item(_facts({"data": {"features": ["x", "sex"], "protected": ["sex"]}}), "data-4")
    assert found.points == 0.0 and "sex" in found.fact


def test_invariance_of_a_protected_feature_counts_as_inclusion_and_of_another_does_not():
    for feature, points in (("sex", 1.0), ("age", 0.0)):
        known = _test("invariance", feature=feature, max_change=0.01)
        sections = {**known.pop("sections"), **SEX}
        assert _item(_facts(sections, **known), "model-7").points == points


def test_code_that_tests_lead_to_only_in_part_is_tested_in_part():
    steps = {"steps": [StepSection(name=name, entry=f"{name}:build") for name in ("first", "second")]}
    found = _item(_facts(steps, tested={"first": ["tests/test_first.py"]}, **CI), "data-7")
    assert found.points == 0.5 and "none leads to second" in found.fact


@pytest.mark.parametrize("item", ITEMS)
def test_a_document_gives_half_a_point_and_never_more(item: str):
    at = {"lines": {f"rubric.{item}": 40}}
    there = _item(_facts(documented={item: Place(where="docs/x.md", exists=True)}, **at), item)
    assert there.points == 0.5 and there.fact.startswith("flyball.toml:40: by hand, as docs/x.md says")
    gone = _item(_facts(documented={item: Place(where="docs/x.md", exists=False)}, **at), item)
    assert gone.points == 0.0 and "docs/x.md, which is not in the repository" in gone.fact


def test_a_document_adds_nothing_to_what_is_automated():
    known = _test("baseline")
    documented = {"model-5": Place(where="docs/x.md", exists=True)}
    found = _item(_facts(known.pop("sections"), documented=documented, **known), "model-5")
    assert found.points == 1.0 and "docs/x.md" not in found.fact


def test_the_score_is_that_of_the_weakest_section():
    everything = {item: Place(where="docs/x.md", exists=True) for item in ITEMS if item != "monitoring-2"}
    score = score_facts(_facts(documented=everything))
    assert [section.points for section in score.sections] == [3.5, 3.5, 3.5, 3.0]
    assert score.score == 3.0 and score.reading.startswith("reasonably tested")
