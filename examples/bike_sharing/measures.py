"""What came of a replay: the errors of what was served, a version's own answers, and what the loop did."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from processes import Up
from replay import Row, Tally


def served_errors(tally: Tally, rows: list[Row]) -> np.ndarray:
    """Absolute error of each row's answer, shape (rows,); NaN where none came."""
    return np.array(
        [
            abs(tally.answers[i][0] - row.outcome) if i in tally.answers else np.nan
            for i, row in enumerate(rows)
        ]
    )


def version_errors(home: Path, version: str, rows: list[Row]) -> np.ndarray:
    """Absolute error of each row, shape (rows,), had this version (`model@number`) answered all of them."""
    os.environ["FLYBALL_HOME"] = str(home)
    import flyball as library

    answers = library.load(version).predict_rows([row.features for row in rows]).predictions
    errors: np.ndarray = np.abs(np.array(answers, dtype=float) - np.array([row.outcome for row in rows]))
    return errors


def loop_counts(up: Up, model: str) -> dict[str, Any]:
    """Signals, retrainings and promotions of a model so far. The first deployment is no promotion."""
    signals = up.items("signals", model)
    retrainings = up.items("retrainings", model)
    rollouts = up.items("rollouts", model)
    trained = [r for r in retrainings if r["state"] in ("ready", "refused", "running", "wanted")]
    return {
        "signals": len(signals),
        "retrainings": len(trained),
        "promotions": sum(rollout["state"] == "promoted" for rollout in rollouts),
        "aborted": sum(rollout["state"] in ("aborted", "undecided") for rollout in rollouts),
        "unnamed_retrainings": sum(r["signal_id"] is None for r in trained),
    }
