"""What the model server imports stays small, and a LightGBM model is served without its Python package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightgbm as lgb
import pytest

HEAVY = (
    "sqlalchemy",
    "sklearn",
    "skops",
    "lightgbm",
    "xgboost",
    "onnxruntime",
    "onnx",
    "skl2onnx",
    "onnxmltools",
    "polars",
    "pandas",
    "scipy",
    "dbos",
    "flyball.governance",
    "flyball.data",
)


def loaded_after(code: str, *arguments: str) -> set[str]:
    """The heavy modules in a fresh process after it ran some code."""
    program = f"{code}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    names = set(json.loads(done.stdout.strip().split("\n")[-1]))
    return {heavy for heavy in HEAVY if heavy in names}


@pytest.mark.parametrize(
    "module",
    ["bundle", "route_table", "formats.loading", "formats.golden", "formats.answers", "formats.saving"],
)
def test_importing_what_servers_use_loads_nothing_heavy(module: str) -> None:
    assert loaded_after(f"import flyball.registry.{module}") == set()


def test_a_lightgbm_model_answers_without_its_package(tmp_path: Path) -> None:
    import numpy as np
    import polars as pl

    from flyball.core.contract import Contract, FeatureRule
    from flyball.registry.formats.package import package
    from flyball.registry.formats.signatures import signature_for

    rows = pl.DataFrame({"a": np.arange(300.0), "b": np.arange(300.0) % 7})
    model = lgb.LGBMRegressor(n_estimators=3, verbose=-1).fit(rows, rows["b"].to_numpy())
    contract = Contract(features={"a": FeatureRule(type="float"), "b": FeatureRule(type="float")})
    values: dict[str, Any] = {"model": "bike", "task": "regression", "contract": contract}
    package(model, tmp_path / "bundle", signature=signature_for(contract, target="y"), rows=rows, **values)
    code = (
        "import sys; from pathlib import Path\n"
        "from flyball.registry.formats.loading import load_predictor\n"
        "from flyball.registry.formats.golden import check_golden\n"
        "from flyball.registry.bundle import read_folder_manifest\n"
        "folder = Path(sys.argv[1]); predictor = load_predictor(folder)\n"
        "check_golden(predictor, folder, read_folder_manifest(folder))\n"
        "assert predictor.predict_rows([{'a': 1.0, 'b': 2.0}]).predictions\n"
    )
    assert loaded_after(code, str(tmp_path / "bundle")) == set()
