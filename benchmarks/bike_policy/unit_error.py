"""Each week of the stream with a wrong unit in one feature, and each week as it was.

A wrong unit must be called broken data, name the feature, and train nothing; a natural week must not, though
weeks here differ by a KS distance of up to 1 from the months before.

Run: python benchmarks/bike_policy/unit_error.py
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from stream import DAY, FEATURES, STREAM_START, Stream, Values, read_project, read_rows

from flyball.judge.causes.diagnose import Findings, diagnose
from flyball.judge.drift import facts, profile
from flyball.judge.drift.statistics import compare

FAULTS: dict[str, tuple[str, Callable[[Values], Values]]] = {
    "temp x 10": ("temp", lambda v: v * 10),
    "temp in Fahrenheit": ("temp", lambda v: (v * 47 - 8) * 1.8 + 32),
    "temp scaled value taken for Celsius": ("temp", lambda v: v * 1.8 + 32),
    "atemp x 10": ("atemp", lambda v: v * 10),
    "hum in percent": ("hum", lambda v: v * 100),
    "windspeed in km/h": ("windspeed", lambda v: v * 67),
    "windspeed x 10": ("windspeed", lambda v: v * 10),
    "hr in minutes": ("hr", lambda v: v * 60),
    "temp missing": ("temp", lambda v: np.full_like(v, np.nan)),
    "temp stuck at 0.5": ("temp", lambda v: np.full_like(v, 0.5)),
}


def main() -> None:
    """Print how many weeks each fault was found in, and how many natural weeks were called broken."""
    stream = Stream(read_rows(), read_project())
    first = stream.at < STREAM_START
    reference = profile.fit_reference(stream.columns(first), dict.fromkeys(FEATURES, "numeric"))
    healthy = [reference.summary]
    weeks, natural, farthest = 0, 0, 0.0
    found = dict.fromkeys(FAULTS, 0)
    named = dict.fromkeys(FAULTS, 0)
    changes = dict.fromkeys(FAULTS, 0)
    sentences: dict[str, str] = {}
    start = float(np.ceil(STREAM_START / (7 * DAY)) * 7 * DAY)
    while start + 7 * DAY <= stream.at[-1] + DAY:
        rows = stream.between(start, start + 7 * DAY)
        if rows.sum() < 100:
            start += 7 * DAY
            continue
        weeks += 1
        columns = stream.columns(rows)
        summary = profile.summarise(reference, columns)
        natural += bool(facts.find_broken(reference.features, healthy, summary))
        farthest = max(farthest, *(drift.ks for drift in compare(reference, summary).values()))
        for name, (feature, spoil) in FAULTS.items():
            bad = profile.summarise(reference, columns | {feature: spoil(columns[feature])})
            broken = facts.find_broken(reference.features, healthy, bad)
            diagnosis = diagnose(
                Findings(
                    window_from_seconds=start,
                    window_until_seconds=start + 7 * DAY,
                    row_count=int(rows.sum()),
                    broken=broken,
                )
            )
            found[name] += diagnosis.cause == "broken-data" and not diagnosis.may_retrain
            changes[name] += bool(broken) and broken[0].change is not None
            named[name] += diagnosis.features[:1] == [feature]
            sentences[name] = diagnosis.sentence
        healthy.append(summary)
        start += 7 * DAY
    print(
        f"natural weeks called broken: {natural} of {weeks} (largest KS distance of a column: {farthest:.2f})"
    )
    for name in FAULTS:
        print(
            f"{name:38s} found in {found[name]:2d} of {weeks} weeks, feature named in {named[name]:2d}, "
            f"a change of unit in {changes[name]:2d}"
        )
        print(f"    {sentences[name]}")


if __name__ == "__main__":
    main()
