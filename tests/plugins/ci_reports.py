"""Reports of checks of a change: good, bad, without enough evidence, broken, and hostile."""

from __future__ import annotations

from typing import Any

import pytest

from flyball.core.values import Interval
from flyball.operations.ci.report import (
    Annotation,
    ChangedPrediction,
    CiReport,
    ColumnDifference,
    Compared,
    DataDifference,
    Difference,
    Importance,
    Label,
    Link,
    MetricLine,
    ModelTestResult,
    PackageChange,
    PackageFacts,
    Stage,
    StageOutcome,
)

COMMIT = "4f1c2a9be07d4c55a1b03be2f6d8c9e0a7b6c5d4"
MODEL = "credit-default"
# What people could write to become markup, a mention, a command or a drawing of its own.
TRAP = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>\"'</td></details>--> | a || b ` `` ``` **bold** _it_ ~~no~~ "
    "[x](javascript:alert(3)) ![i](https://evil.example/p.png) https://evil.example www.evil.example @everyone @a/b "
    "#1 !2 $3$ %4 ~bug &5 ^alert#6 GH-7 :tada: o/r#8 a@b.example {+x+} [-y-] [[w]] [^1]\n/close\n/merge\n# head\r\n"
    "| r |\n---\n- [ ] t\n\u202egnp.exe\u2066x\u200b\ufeff\u2028\x07\x1b[31m \x00 \ud800 \u05d0\u05d1 \u0627"
)


def difference(estimate: float, half: float, label: Label) -> Difference:
    return Difference(estimate=estimate, interval=Interval(estimate - half, estimate + half), label=label)


def metric(
    name: str, value: float, versus: Difference | None, base: Difference | None = None, **more: Any
) -> MetricLine:
    larger = name not in ("log_loss", "brier")
    interval = Interval(value - 0.009, value + 0.009)
    return MetricLine(
        metric=name,
        larger_is_better=larger,
        value=value,
        interval=interval,
        rows=more.pop("rows", 6000),
        versus_champion=versus,
        versus_base=base,
        **more,
    )


def stages(*outcomes: StageOutcome) -> list[Stage]:
    told = {
        "checks": "contract and data are sound",
        "tests": "37 functions of the project",
        "run": "trained in 41 s",
        "gates": "against the champion's version 3",
        "comparison": "6,000 rows that neither was trained on",
        "registration": "as candidate",
    }
    return [
        Stage(name=name, outcome=outcome, because=because, seconds=1.5 + place, cached=name == "checks")
        for place, ((name, because), outcome) in enumerate(zip(told.items(), outcomes, strict=True))
    ]


def common() -> dict[str, Any]:
    """What the samples share."""
    return {
        "model": MODEL,
        "commit": COMMIT,
        "branch": "more-depth",
        "champion": Compared(name="champion", number=3, digest="sha256:" + "a1" * 32, rows=6000),
        "base": Compared(name="main at 77c0ffee1234", number=4, digest="sha256:" + "b2" * 32, rows=6000),
        "run_id": "run_7c1d20f3",
        "digest": "sha256:" + "9e" * 32,
        "trained": True,
        "seconds": 63.4,
        "data": DataDifference(
            rows_before=30000,
            rows_after=30450,
            snapshot_before="snp_51ab",
            snapshot_after="snp_77d0",
            columns=[
                ColumnDifference(column="limit_bal", change="distribution", distance=0.08),
                ColumnDifference(column="education", change="type", before="int", after="string"),
                ColumnDifference(column="pay_7", change="added", after="int"),
            ],
        ),
        "importances": [
            Importance(feature="pay_0", now=0.082, before=0.079),
            Importance(feature="limit_bal", now=0.021, before=0.026),
            Importance(feature="age", now=0.006, before=0.005),
            Importance(feature="pay_7", now=0.004, before=None),
        ],
        "changed_predictions": [
            ChangedPrediction(
                row={"client_id": 20411, "pay_0": 2, "limit_bal": 50000.0, "age": 31},
                before=0.21,
                after=0.68,
                outcome=1,
            ),
            ChangedPrediction(
                row={"client_id": 1177, "pay_0": -1, "limit_bal": 240000.0, "age": 52},
                before=0.44,
                after=0.12,
                outcome=0,
            ),
        ],
        "package_now": PackageFacts(
            latency_p50_ms=0.31,
            latency_p99_ms=0.84,
            package_mb=1.9,
            memory_mb=118,
            fit_seconds=41.2,
            training_mb=640,
        ),
        "package_before": PackageFacts(
            latency_p50_ms=0.22,
            latency_p99_ms=0.61,
            package_mb=1.1,
            memory_mb=102,
            fit_seconds=24.0,
            training_mb=610,
        ),
        "environment": [PackageChange(package="scikit-learn", before="1.8.0", after="1.9.1")],
        "links": [Link(name="CI job", url="https://ci.example/jobs/7")],
    }


def slices(label: Label, estimate: float) -> list[MetricLine]:
    return [
        metric("roc_auc", 0.79, difference(0.004, 0.006, "unclear"), slice="education = 2", rows=2805),
        metric(
            "true_positive_rate",
            0.41,
            difference(estimate, 0.012, label),
            slice="sex = female",
            is_protected=True,
            rows=3610,
        ),
        metric(
            "true_positive_rate",
            0.43,
            difference(0.002, 0.016, "unclear"),
            slice="sex = male",
            is_protected=True,
            rows=2390,
        ),
    ]


def good() -> CiReport:
    """A change that makes the model better."""
    return CiReport(
        **common(),
        outcome="pass",
        because=["roc_auc is better than the champion's by +0.006 (+0.002 to +0.010); every gate passed"],
        what_to_do="Merge it: version 5 is registered as candidate, and the merge rolls it out by the policy.",
        version=5,
        registered=True,
        stages=stages(*["pass"] * 6),
        gates=[
            {
                "metric": "roc_auc",
                "min": 0.72,
                "outcome": "pass",
                "because": "roc_auc 0.787 (0.778 to 0.796), at least 0.72 asked",
            },
            {
                "metric": "log_loss",
                "versus": "champion",
                "max_increase": 0.005,
                "outcome": "pass",
                "because": "at most +0.001, 0.005 is allowed",
            },
        ],
        tests=[
            ModelTestResult(
                kind="direction",
                name="pay_0 not lower",
                outcome="pass",
                because="3,000 rows, none lower",
                seconds=0.4,
            ),
            ModelTestResult(
                kind="invariance", name="sex", outcome="pass", because="at most 0.004 changed", seconds=0.3
            ),
        ],
        metrics=[
            metric("roc_auc", 0.787, difference(0.006, 0.004, "better"), difference(0.005, 0.004, "better")),
            metric(
                "log_loss", 0.431, difference(-0.004, 0.0035, "better"), difference(-0.001, 0.003, "unclear")
            ),
            metric("brier", 0.1342, difference(-0.0004, 0.0009, "unclear"), difference(0.0, 0.0, "same")),
            *slices("unclear", 0.003),
        ],
    )


def _moved(values: list[int], before: float, after: float) -> dict[str, Any]:
    """A row that shows a failure, as model tests give it, of more columns than are shown."""
    rest = {f"bill_{month}": 100 * month for month in range(1, 10)}
    row = {**rest, "age": 31, "pay_0": values[0], "limit_bal": 50000}
    return {"changed": {"pay_0": values}, "before": before, "after": after, "row": row}


def bad() -> CiReport:
    """A change that must not be merged: a gate and a model test failed."""
    report = common()
    report["data"] = None
    return CiReport(
        **report,
        outcome="fail",
        because=[
            "The gate on roc_auc failed: at least 0.012 worse than the champion, 0.005 is allowed",
            "The model test “pay_0 not lower” failed on 118 of 3,000 rows",
        ],
        what_to_do="Don't merge. Look at pay_0 first: more months of delay lower the predicted risk; version 6 is kept "
        "as refused, and `flyball diff credit-default@6 credit-default@champion` shows the rest.",
        version=6,
        registered=True,
        stages=stages("pass", "pass", "pass", "fail", "fail", "pass"),
        gates=[
            {
                "metric": "package_mb",
                "max": 5,
                "outcome": "pass",
                "because": "package_mb 1.9, at most 5 asked",
            },
            {
                "metric": "roc_auc",
                "versus": "champion",
                "max_decrease": 0.005,
                "outcome": "fail",
                "because": "roc_auc 0.763, champion 0.781 on the same 6000 rows: at least +0.012, 0.005 is allowed",
            },
        ],
        tests=[
            ModelTestResult(
                kind="function",
                name="tests/test_features.py::test_bins",
                outcome="pass",
                because="passed",
                file="tests/test_features.py",
                line=12,
                seconds=0.02,
            ),
            ModelTestResult(
                kind="direction",
                name="pay_0 not lower",
                outcome="fail",
                because="118 of 3,000 rows are answered lower by up to 0.21",
                rows=[
                    _moved([0, 2], 0.31, 0.10),
                    _moved([1, 3], 0.44, 0.29),
                ],
                file="flyball.toml",
                line=31,
                seconds=0.9,
            ),
        ],
        metrics=[
            metric("roc_auc", 0.763, difference(-0.018, 0.006, "worse"), difference(-0.017, 0.006, "worse")),
            metric("log_loss", 0.462, difference(0.027, 0.008, "worse"), difference(0.027, 0.008, "worse")),
            *slices("worse", -0.041),
        ],
        annotations=[
            Annotation(
                path="flyball.toml",
                line=24,
                level="error",
                rule="gate/roc_auc",
                message="roc_auc is at least 0.012 worse than the champion's; 0.005 is allowed",
            ),
            Annotation(
                path="flyball.toml",
                line=31,
                level="error",
                rule="test/direction",
                message="pay_0 not lower: 118 of 3,000 rows are answered lower by up to 0.21",
            ),
        ],
    )


def inconclusive() -> CiReport:
    """A change of which too few rows can tell whether it is worse."""
    report = common()
    report["champion"] = Compared(
        name="champion",
        number=3,
        digest="sha256:" + "a1" * 32,
        rows=412,
        left_out=5588,
        because="the other rows were in its training",
    )
    report["base"] = None
    return CiReport(
        **report,
        outcome="inconclusive",
        because=[
            "The gate on roc_auc can't be decided on 412 rows: -0.021 to +0.019 spans the margin of 0.005"
        ],
        what_to_do="Compare on more rows: about 6,700 that neither model was trained on would decide it; a larger "
        "`test` share in `[data.split]` gives them.",
        stages=stages("pass", "pass", "pass", "inconclusive", "inconclusive", "skipped"),
        gates=[
            {
                "metric": "roc_auc",
                "versus": "champion",
                "max_decrease": 0.005,
                "outcome": "inconclusive",
                "because": "-0.021 to +0.019 spans 0.005",
            }
        ],
        metrics=[metric("roc_auc", 0.78, difference(-0.001, 0.02, "unclear"), rows=412)],
        warnings=["the champion was trained on 93 % of today's held-out rows"],
    )


def broken() -> CiReport:
    """A check that could not be carried out."""
    return CiReport(
        model=MODEL,
        outcome="broken",
        because=["train.py:41 raised ValueError: could not convert string to float: 'graduate'"],
        what_to_do="Mend train.py:41, or give the column education back its numbers; nothing was registered.",
        commit=COMMIT,
        branch="more-depth",
        stages=[
            Stage(name="checks", outcome="pass", because="contract and data are sound", seconds=0.4),
            Stage(
                name="run",
                outcome="broken",
                because="train.py:41 raised ValueError: could not convert string to float: 'graduate'",
                seconds=2.2,
            ),
            Stage(name="gates", outcome="skipped", because="nothing to judge"),
        ],
        annotations=[
            Annotation(
                path="train.py",
                line=41,
                level="error",
                rule="run/user-code",
                message="ValueError: could not convert string to float: 'graduate'",
            )
        ],
        seconds=2.9,
    )


def hostile(text: str, count: int) -> CiReport:
    """A report in which every text that users or data can fill is `text`, and every list has `count` entries."""
    row = {f"{place}{text}": text for place in range(30)}
    side = difference(0.1, 0.2, "worse")
    nan = float("nan")
    return CiReport(
        model=text,
        outcome="fail",
        because=[text] * count,
        what_to_do=text,
        commit=text,
        branch=text,
        champion=Compared(name=text, number=None, digest=text, rows=1, because=text),
        base=Compared(name=text, number=None, digest=text, because=text),
        run_id=text,
        digest=text,
        stages=[Stage(name=text, outcome="fail", because=text, seconds=nan)] * count,
        gates=[{"metric": text, "by": text, "versus": text, "outcome": text, "because": text, **row}] * count,
        tests=[
            ModelTestResult(
                kind=text,
                name=text,
                outcome="fail",
                because=text,
                rows=[row] * min(count, 50),
                file=text,
                line=-3,
            )
        ]
        * count,
        metrics=[
            MetricLine(
                metric=text,
                larger_is_better=True,
                value=nan,
                slice=text,
                versus_champion=side,
                versus_base=side,
            ),
            MetricLine(metric=text, larger_is_better=True, value=float("inf"), versus_champion=side),
        ]
        * count,
        data=DataDifference(
            rows_before=1,
            rows_after=2,
            snapshot_before=text,
            snapshot_after=text + "2",
            columns=[ColumnDifference(column=text, change="contract", before=text, after=text, distance=nan)]
            * count,
        ),
        importances=[Importance(feature=text, now=0.2, before=nan)] * count,
        changed_predictions=[ChangedPrediction(row=row, before=text, after={text: [text]}, outcome=text)]
        * count,
        environment=[PackageChange(package=text, before=text, after=text)] * count,
        warnings=[text] * count,
        annotations=[Annotation(path=text, line=0, level="error", rule=text, message=text)] * count,
        links=[Link(name=text, url=text), Link(name=text, url=f"https://x.example/{text}")],
    )


SAMPLES = {"good": good, "bad": bad, "inconclusive": inconclusive, "broken": broken}


@pytest.fixture(params=sorted(SAMPLES))
def ci_sample(request: pytest.FixtureRequest) -> CiReport:
    """Each of the four samples in turn."""
    return SAMPLES[request.param]()


@pytest.fixture
def ci_reports() -> Any:
    """This file: the samples by their names, and `hostile`."""
    import flyball_tests_ci_reports

    return flyball_tests_ci_reports
