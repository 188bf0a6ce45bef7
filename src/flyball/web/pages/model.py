"""A model's page: how it does over time, what drifts, its versions, rollouts and retrainings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from litestar import Response

from flyball.core.clock import parse_moment
from flyball.web.api.parameters import App, InPath
from flyball.web.names import read_model
from flyball.web.pages.charts import NARROW, WIDE, Mark, Sample, heat_strip, metric_chart
from flyball.web.pages.overview import health
from flyball.web.pages.rendering import plain, respond
from flyball.web.pages.scales import short_number

VERSIONS_SHOWN = 20
EVENTS_SHOWN = 200
FEATURES_SHOWN = 16


def model_page(flyball: App, model: InPath) -> Response[str]:
    """One model. Raises ModelNotFound."""
    name = read_model(model)
    summary = flyball.get_model(name)
    series = flyball.metric_series(name)
    metric = series["metric"] or "loss"
    samples = from_first_value([read_sample(window) for window in series["windows"]])
    marks = [read_mark(event) for event in series["events"]]
    incidents = [plain(found) for found in flyball.list_incidents(name, 50)]
    state, sentence, command = health(summary, series["windows"], series["metric"])
    rollouts = [plain(found) for found in flyball.list_rollouts(name, 20)]
    return respond(
        "model.html",
        place="/",
        here=f"/models/{name}",
        model=plain(summary),
        state=state,
        sentence=sentence,
        command=command,
        why=flyball.why(name)["text"],
        metric=metric,
        samples=samples,
        charts=[metric_chart(samples, marks, metric, size) for size in (WIDE, NARROW)],
        marks=sorted(marks, key=lambda mark: mark.at, reverse=True)[:EVENTS_SHOWN],
        drift=drift_rows(flyball.drift_series(name), plain(flyball.list_signals(name, 500))),
        open_incidents=[found for found in incidents if found["state"] == "open"],
        incidents=incidents[:10],
        rollouts=rollouts,
        running=next(
            (found for found in rollouts if found["state"] in ("waiting", "running", "paused")), None
        ),
        rollback_target=flyball.rollback_target(name),
        retrainings=[plain(found) for found in flyball.list_retrainings(name, 20)],
        versions=[plain(found) for found in flyball.list_versions(name, VERSIONS_SHOWN)],
    )


def read_sample(window: dict[str, Any]) -> Sample:
    """A judged window as a point of the chart."""
    return Sample(
        start=parse_moment(window["start"]),
        end=parse_moment(window["end"]),
        value=window["loss"],
        reference=window["reference"],
        version=window["version"],
        healthy=window["healthy"],
        rows=window["rows"],
    )


def from_first_value(samples: list[Sample]) -> list[Sample]:
    """The samples from the first whose value is known; all of them while none is."""
    first = next((index for index, sample in enumerate(samples) if sample.value is not None), 0)
    return samples[first:]


def read_mark(event: dict[str, Any]) -> Mark:
    """An event as a mark of the chart."""
    return Mark(
        at=parse_moment(event["at"]), kind=event["kind"], text=event["text"], link=event["link"] or ""
    )


def drift_rows(drift: dict[str, Any], signals: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Each feature's strip, in two sizes, with the figures in words; the features that drifted most first."""
    starts = [parse_moment(start) for start in drift["windows"]]
    alarmed = {
        (signal["feature"], parse_moment(signal["window_start"])) for signal in signals if signal["feature"]
    }
    rows = [
        _drift_row(feature["name"], feature["scores"], starts, alarmed)
        for feature in drift["features"][:FEATURES_SHOWN]
    ]
    return {
        "rows": rows,
        "hidden": max(0, len(drift["features"]) - FEATURES_SHOWN),
        "first": f"{starts[0]:%Y-%m-%d}" if starts else "",
        "last": f"{starts[-1]:%Y-%m-%d}" if starts else "",
    }


def _drift_row(
    name: str, scores: Sequence[float | None], starts: Sequence[datetime], alarmed: set[tuple[str, datetime]]
) -> dict[str, Any]:
    known = [(score, start) for score, start in zip(scores, starts, strict=True) if score is not None]
    alarms = [(name, start) in alarmed for start in starts]
    largest, at = max(known, default=(0.0, None))
    last = known[-1][0] if known else None
    # The scale is that of a distance, 0 to 1; scores on another scale are compared with their own largest.
    scale = max(1.0, largest)
    scaled = [None if score is None else score / scale for score in scores]
    label = f"{name}: last {short_number(last or 0.0)}, largest {short_number(largest)}, {sum(alarms)} alarms"
    return {
        "name": name,
        "strip": heat_strip(scaled, alarms, label),
        "last": last,
        "largest": largest,
        "at": at,
        "alarms": sum(alarms),
    }
