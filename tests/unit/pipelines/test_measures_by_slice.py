"""Slices of held-out rows: rows of an entity are one piece of evidence there too."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest

from flyball.core.project import Project
from flyball.pipelines.children.answering import Held
from flyball.pipelines.children.gating import Evidence, judge_gates
from flyball.pipelines.children.measuring import measure_slices
from flyball.pipelines.children.package_measures import PackageMeasures

MEASURES = PackageMeasures(
    latency_p50_ms=1.0, latency_p99_ms=2.0, latency_interval=None, calls=10, package_mb=1.0, memory_mb=1.0
)


def project(entity: str | None) -> Project:
    gate = {"metric": "mae", "by": "region", "max_gap": 0.55}
    return msgspec.convert(
        {
            "model": {"name": "parcels", "task": "regression", "target": "minutes", "entity": entity},
            "data": {"source": "parcels.csv"},
            "train": {"entry": "train:train"},
            "gates": [gate],
        },
        Project,
    )


def held_rows(entities: int = 60, rows_each: int = 10) -> tuple[pl.DataFrame, Held]:
    """Rows of entities that live in one region each; the error of an entity's rows is nearly the same."""
    rng = np.random.default_rng(3)
    entity = np.repeat(np.arange(entities), rows_each)
    errors = rng.gamma(2.0, size=entities)[entity] + 0.05 * rng.normal(size=entity.size)
    frame = pl.DataFrame(
        {
            "customer": entity,
            "region": np.where(entity % 2 == 0, "north", "south"),
            "minutes": np.zeros(entity.size),
        }
    )
    return frame, Held([0.0] * entity.size, errors.tolist(), None, None, None)


def interval_of(entity: str | None) -> dict[str, float]:
    frame, held = held_rows()
    found = measure_slices(frame, held, project(entity), ["region"])
    return found["region"]["north"]["loss"]["interval"]


def test_a_slice_of_repeating_entities_has_the_wider_interval_of_entities():
    alone, together = interval_of(None), interval_of("customer")
    assert together["high"] - together["low"] > 2.5 * (alone["high"] - alone["low"])
    assert together["low"] >= 0


def test_a_slice_of_one_entity_has_no_interval():
    frame, held = held_rows()
    lonely = frame.with_columns(
        region=pl.when(pl.col("customer") == 0).then(pl.lit("isle")).otherwise("region")
    )
    lonely = pl.concat([lonely] * 4)
    many = Held(held.truth * 4, held.prediction * 4, None, None, None)
    found = measure_slices(lonely, many, project("customer"), ["region"])
    assert found["region"]["isle"]["row_count"] == 40
    assert found["region"]["isle"]["loss"]["interval"] is None


@pytest.mark.parametrize(("entity", "outcome"), [(None, "pass"), ("customer", "inconclusive")])
def test_a_gate_on_a_gap_knows_that_rows_of_an_entity_are_alike(entity: str | None, outcome: str):
    frame, held = held_rows()
    evidence = Evidence(
        project=project(entity),
        metrics={},
        measures=MEASURES,
        test=frame,
        held=held,
        comparison=None,
        pairing=None,
    )
    [verdict] = judge_gates(evidence, is_automatic=False)
    assert verdict["outcome"] == outcome, verdict["because"]
