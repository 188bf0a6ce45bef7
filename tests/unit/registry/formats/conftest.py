"""Rows, contracts and one-line packaging for the tests of formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from flyball.core.contract import Contract, FeatureRule
from flyball.registry.bundle import BundleManifest

CITIES = ("Bonn", "Köln", "Ulm")


def numeric_contract() -> Contract:
    return Contract(
        features={
            "hour": FeatureRule(type="int", min=0, max=23),
            "temp": FeatureRule(type="float", nullable=True),
            "wind": FeatureRule(type="float"),
            "holiday": FeatureRule(type="bool"),
        }
    )


def numeric_rows(count: int = 1200, seed: int = 1) -> pl.DataFrame:
    """Hours, temperatures with gaps, wind and holidays, and targets of each task."""
    random = np.random.default_rng(seed)
    temp = np.round(random.normal(12, 8, count), 2)
    frame = pl.DataFrame(
        {
            "hour": random.integers(0, 24, count),
            "temp": pl.Series(temp).set(pl.Series(random.random(count) < 0.05), None),
            "wind": random.random(count) * 30,
            "holiday": random.random(count) < 0.1,
        }
    )
    signal = 5 * np.sin(frame["hour"].to_numpy() / 4) + temp - 0.3 * frame["wind"].to_numpy()
    noisy = signal + random.normal(0, 1, count)
    return frame.with_columns(
        rentals=pl.Series(noisy),
        late=pl.Series(np.where(noisy > np.median(noisy), "yes", "no")),
        band=pl.Series(np.digitize(noisy, np.quantile(noisy, [0.3, 0.7]))),
    )


def text_contract() -> Contract:
    features = dict(numeric_contract().features)
    return Contract(features={**features, "city": FeatureRule(type="string", values=CITIES, nullable=True)})


def text_rows(count: int = 1200, seed: int = 1) -> pl.DataFrame:
    """As `numeric_rows`, with cities, some of them missing."""
    random = np.random.default_rng(seed + 100)
    cities = [None if random.random() < 0.05 else CITIES[random.integers(0, 3)] for _ in range(count)]
    return numeric_rows(count, seed).with_columns(city=pl.Series(cities, dtype=pl.String))


@pytest.fixture
def pack_up(tmp_path: Path) -> Callable[..., tuple[Path, BundleManifest]]:
    """Packages an estimator; its folder and manifest."""
    from flyball.registry.formats.package import package
    from flyball.registry.formats.signatures import signature_for

    made = iter(range(1000))

    def pack(estimator: Any, rows: pl.DataFrame, **options: Any) -> tuple[Path, BundleManifest]:
        contract = options.pop("contract", numeric_contract())
        classes = options.pop("classes", None)
        positive = options.pop("positive", None)
        values: dict[str, Any] = {"model": "bike", "task": "regression", **options}
        folder = tmp_path / f"bundle-{next(made)}"
        signature = signature_for(contract, target="target", classes=classes, positive=positive)
        names = list(contract.features)
        manifest = package(
            estimator, folder, signature=signature, contract=contract, rows=rows.select(names), **values
        )
        return folder, manifest

    return pack


@pytest.fixture
def data() -> Any:
    """The generators above, for tests that need several."""
    import types

    return types.SimpleNamespace(
        numeric_contract=numeric_contract,
        numeric_rows=numeric_rows,
        text_contract=text_contract,
        text_rows=text_rows,
        features=list(numeric_contract().features),
        cities=CITIES,
    )
