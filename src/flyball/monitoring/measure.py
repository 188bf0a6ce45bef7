"""A window of the log reduced to what is kept of it: counts, losses, and how the answers were served."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from flyball.data.log_schema import PREFIX
from flyball.data.profiles import columns_of
from flyball.judge.causes.residuals import ResidualSummary
from flyball.judge.drift.profile import Summary
from flyball.monitoring.answers import measure_rows, outcomes_of, predictions_of, row_harms, watched_answers
from flyball.monitoring.reference import Standard

if TYPE_CHECKING:
    import polars as pl

    from flyball.judge.drift.profile import Kind

SERVED = ("champion", "candidate")
LATENCIES = {"latency_p50_ms": 0.5, "latency_p95_ms": 0.95, "latency_p99_ms": 0.99}


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """How a window's requests were served. Shares are 0 to 1, latencies milliseconds (None without answers)."""

    request_count: int = 0
    error_rate: float = 0.0
    fallback_share: float = 0.0
    contract_violations: float = 0.0
    violations: dict[str, int] = {}
    latencies: dict[str, float] = {}

    def find(self, metric: str) -> float | None:
        """The value of a service objective's metric, None where the window does not tell it."""
        if not self.request_count:
            return None
        if metric in self.latencies:
            return self.latencies[metric]
        known = {"error_rate": self.error_rate, "contract_violations": self.contract_violations}
        return known.get(metric)


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """A window as numbers. `version` answered last in it; loss and metrics are of its answers only.

    inputs counts all requests, predictions the version's answers. expected_loss: what the inputs alone let one
    expect. Outcomes are those known at the moment of the judgement.
    """

    version: int | None
    row_count: int
    version_rows: int
    labelled_count: int
    served: Served
    inputs: Summary | None = None
    predictions: Summary | None = None
    loss: float | None = None
    metrics: dict[str, float] = {}
    residuals: ResidualSummary | None = None
    expected_loss: float | None = None


def champion_of(frame: pl.DataFrame) -> int | None:
    """The version that answered last as champion, None where nobody did."""
    import polars as pl

    answered = frame.filter((pl.col("role") == "champion") & pl.col("answered").is_not_null())
    return None if answered.height == 0 else int(answered["answered"][-1])


def measure_window(frame: pl.DataFrame, version: int | None, standard: Standard | None) -> Measure:
    """The numbers of one window. frame: its served rows in event order, outcomes joined where they are known."""
    import polars as pl

    served = _measure_served(frame)
    if version is None or standard is None:
        return Measure(
            version=version, row_count=frame.height, version_rows=0, labelled_count=0, served=served
        )
    own = frame.filter((pl.col("answered") == version) & pl.col("prediction").is_not_null())
    labelled = own.filter(pl.col("outcome").is_not_null()) if "outcome" in own.columns else own.head(0)
    inputs, predictions = _count(frame, own, standard)
    measure = Measure(
        version=version,
        row_count=frame.height,
        version_rows=own.height,
        labelled_count=labelled.height,
        served=served,
        inputs=inputs,
        predictions=predictions,
    )
    harms = row_harms(labelled, standard.shape) if labelled.height else None
    if harms is None:
        return measure
    residuals, expected = _residuals(labelled, standard)
    return msgspec.structs.replace(
        measure,
        loss=float(harms.mean()),
        metrics=measure_rows(labelled, standard.shape),
        residuals=residuals,
        expected_loss=expected,
    )


def _count(
    frame: pl.DataFrame, own: pl.DataFrame, standard: Standard
) -> tuple[Summary | None, Summary | None]:
    from flyball.judge.drift.profile import NumericBins, summarise

    reference = standard.reference
    if reference is None or frame.height == 0:
        return None, None
    kinds: dict[str, Kind] = {
        name: "numeric" if isinstance(bins, NumericBins) else "category"
        for name, bins in reference.inputs.features.items()
    }
    inputs = columns_of(frame, kinds, prefix=PREFIX)
    if not inputs:  # nothing of the inputs is logged: nothing can be said of them
        return None, summarise(reference.predictions, {"prediction": watched_answers(own, standard.shape)})
    return summarise(reference.inputs, inputs), summarise(
        reference.predictions, {"prediction": watched_answers(own, standard.shape)}
    )


def _residuals(labelled: pl.DataFrame, standard: Standard) -> tuple[ResidualSummary | None, float | None]:
    """Outcome minus answer by segment; None for more than two classes."""
    import numpy as np

    from flyball.judge.causes.residuals import expected_loss, summarise_residuals
    from flyball.monitoring.answers import scores_of

    shape = standard.shape
    if shape.task == "regression":
        outcomes, answers = outcomes_of(labelled, shape), predictions_of(labelled, shape)
    elif shape.task == "binary" and (scores := scores_of(labelled, shape)) is not None:
        outcomes = np.array(
            [text == shape.positive for text in outcomes_of(labelled, shape)], dtype=np.float64
        )
        answers = scores
    else:
        return None, None
    seconds = labelled["at"].dt.epoch("us").to_numpy() / 1e6
    kinds: dict[str, Kind] = {
        name: "numeric" if rule.type in ("int", "float") else "category"
        for name, rule in standard.contract.features.items()
    }
    found = summarise_residuals(outcomes, answers, seconds, columns_of(labelled, kinds, prefix=PREFIX))
    reference = standard.reference
    if reference is None or reference.expected is None or shape.loss != "mae":
        return found, None
    return found, expected_loss(reference.expected, answers)


def _measure_served(frame: pl.DataFrame) -> Served:
    import polars as pl

    count = frame.height
    if count == 0:
        return Served()
    failed = frame["error"].is_not_null()
    unanswered = int(frame["answered"].is_null().sum())
    flagged = frame["flags"].list.len().fill_null(0) > 0
    named = Counter(str(flag) for row in frame["flags"].to_list() for flag in row or ())
    answered = frame.filter(pl.col("answered").is_not_null())["latency_us"] / 1000.0
    latencies = {
        name: float(value)
        for name, share in LATENCIES.items()
        if (value := answered.quantile(share, "nearest")) is not None
    }
    return Served(
        request_count=count,
        error_rate=int(failed.sum()) / count,
        fallback_share=(int(failed.sum()) - unanswered) / count if failed.sum() > unanswered else 0.0,
        contract_violations=int(flagged.sum()) / count,
        violations=dict(named.most_common(20)),
        latencies=latencies,
    )
