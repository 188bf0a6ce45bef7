"""The project file's content as typed values. Reading and checking the file itself is done in `pipelines`.

Durations, rates and thresholds stay the text people wrote (validated when read); `parse_duration` turns them into
timedeltas where they are used. Field names are the keys of `flyball.toml`; `from` and `as` get a trailing underscore.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from flyball.core.contract import FeatureRule

Task = Literal["binary", "multiclass", "regression"]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=False):
    """Base of all sections: immutable, keyword-only, unknown keys refused."""


class ModelSection(Section, frozen=True, kw_only=True):
    """[model]: what is predicted, about whom, by whom."""

    name: str
    task: Task
    target: str
    positive: str | int | bool | None = None
    entity: str | None = None
    time: str | None = None
    owner: str | None = None
    description: str | None = None


class JoinSection(Section, frozen=True, kw_only=True):
    """[[data.join]]: a backward as-of join on time."""

    source: str
    on: str | list[str]
    available_at: str
    query: str | None = None


class SplitSection(Section, frozen=True, kw_only=True):
    """[data.split]: how rows are divided; the default is by time where [model].time is set, else random."""

    by: Literal["time", "random", "group"] | None = None
    test: float = 0.2
    validation: float = 0.1
    column: str | None = None
    gap: str | None = None
    horizon: str | None = None
    folds: int | None = None


class DataSection(Section, frozen=True, kw_only=True):
    """[data]: where rows come from and which columns are features."""

    source: str
    query: str | None = None
    features: list[str] = []
    exclude: list[str] = []
    protected: list[str] = []
    outcome_delay: str = "0s"
    join: list[JoinSection] = []
    split: SplitSection = msgspec.field(default_factory=SplitSection)


class ContractSection(Section, frozen=True, kw_only=True):
    """[contract]: rules per feature, and what serving does with a row that breaks them."""

    on_violation: Literal["flag", "reject"] = "flag"
    features: dict[str, FeatureRule] = {}


class StepSection(Section, frozen=True, kw_only=True):
    """[[steps]]: a plain function before training, wired by parameter names."""

    name: str
    entry: str
    at: Literal["train", "both"] = "train"


class TrainSection(Section, frozen=True, kw_only=True):
    """[train]: the training entry `module:function`, what it receives, its seed and its limits.

    `refit`: once metrics and gates are settled on held-out rows, train again on all rows and package that model.
    """

    entry: str
    frames: Literal["polars", "pandas", "numpy"] = "polars"
    params: dict[str, Any] = {}
    seed: int = 7
    timeout: str = "1h"
    threads: int = 1
    memory_mb: int | None = None
    refit: bool = False


class CostSection(Section, frozen=True, kw_only=True):
    """[decision].cost: what each kind of error costs, in one unit."""

    false_positive: float
    false_negative: float


class DecisionSection(Section, frozen=True, kw_only=True):
    """[decision]: how a probability becomes a class."""

    threshold: float | None = None
    cost: CostSection | None = None


class TuneSection(Section, frozen=True, kw_only=True):
    """[tune]: search instead of fixed params."""

    trials: int = 20
    timeout: str = "10m"
    metric: str | None = None
    space: dict[str, str] = {}


class GateSection(Section, frozen=True, kw_only=True):
    """[[gates]]: a rule over evidence that a version must pass."""

    metric: str
    min: float | None = None
    max: float | None = None
    versus: Literal["champion"] | None = None
    max_increase: float | None = None
    max_decrease: float | None = None
    confidence: float = 0.95
    by: str | None = None
    max_gap: float | None = None
    over: str | None = None


class ModelTestSection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """[[tests]]: a model test; which keys go with which kind is told in `pipelines/model_test_rules.py`."""

    kind: str
    name: str | None = None
    feature: str | None = None
    features: list[str] = []
    effect: str | None = None
    values: list[str | int | float | bool] = []
    rows: list[dict[str, Any]] = []
    expected: str | int | float | bool | None = None
    min: float | None = None
    max: float | None = None
    max_change: float | None = None
    max_share: float | None = None
    max_error: float | None = None
    amount: float | None = None
    scale: dict[str, float] = {}
    shift: dict[str, float] = {}
    swap: list[str] = []
    metric: str | None = None
    than: str | None = None
    max_spread: float | None = None
    seeds: int | None = None
    batch: int | None = None
    confidence: float = 0.95


class GuardSection(Section, frozen=True, kw_only=True):
    """[[rollout.guards]]: a harm that ends a rollout; `max_increase` is the margin in the metric's unit."""

    metric: str
    max_increase: float | None = None
    max_decrease: float | None = None
    required: bool = True


class RolloutSection(Section, frozen=True, kw_only=True):
    """[rollout]: how a candidate becomes champion.

    `min_outcome_days` and `max_outcome_days` count days of model time whose outcomes are known (shadow).
    """

    strategy: Literal["canary", "shadow", "blue-green", "immediate"] = "canary"
    steps: list[float] = msgspec.field(default_factory=lambda: [0.05, 0.25, 1.0])
    min_requests: int = 200
    bake: str = "10m"
    max_duration: str = "14d"
    on_undecided: Literal["abort", "hold"] = "abort"
    confidence: float = 0.95
    approvals: int = 0
    watch: str = "7d"
    min_outcome_days: int = 7
    guards: list[GuardSection] = []


class SloSection(Section, frozen=True, kw_only=True):
    """[[monitor.slo]]: a service objective; breaking it is a fact outside the alarm budget."""

    metric: str
    max: float | None = None
    min: float | None = None


class MonitorSection(Section, frozen=True, kw_only=True):
    """[monitor]: window, alarm budget, least rows."""

    window: str = "1d"
    false_alarms: str = "1 per 30d"
    min_rows: int = 200
    slo: list[SloSection] = []


class EnvironmentSection(Section, frozen=True, kw_only=True):
    """[environments.NAME]: where else a version is deployed, with its own rollout, gates and approvals.

    `after`: the environment whose champion this one takes, and nothing else but what its own retrainings give.
    `deliver`: what becomes of those, where that is not as [retrain] says.
    """

    url: str | None = None
    after: str | None = None
    approvals: int | None = None
    rollout: RolloutSection | None = None
    gates: list[GateSection] | None = None
    deliver: Literal["rollout", "pull-request"] | None = None


class LogSection(Section, frozen=True, kw_only=True):
    """[log]: of predictions; `drop` and `hash` act before the first byte is written."""

    durability: Literal["process", "disk", "none"] = "process"
    sample: float = 1.0
    drop: list[str] = []
    hash: list[str] = []
    keep: str = "400d"
    when_full: Literal["answer", "refuse"] = "answer"


class RetrainSection(Section, frozen=True, kw_only=True):
    """[retrain]: which signals retrain, on which rows, how often at most."""

    on: list[str] = []
    schedule: str | None = None
    from_: Literal["source", "log", "both"] = msgspec.field(name="from", default="both")
    data: str = "since-change"
    cooldown: str = "7d"
    max_per_month: int = 4
    approvals: int = 0
    deliver: Literal["rollout", "pull-request"] = "rollout"


class ServeSection(Section, frozen=True, kw_only=True):
    """[serve]: limits and size of the model server."""

    workers: int = 1
    max_body_mb: float = 10.0
    max_rows: int = 10_000
    deadline: str = "10s"
    memory_mb: int = 2048


class AlertSection(Section, frozen=True, kw_only=True):
    """[alerts]: where notices go (acted on in a later release)."""

    routes: list[str] = []
    quiet_hours: str | None = None


class PolicySection(Section, frozen=True, kw_only=True):
    """[policy]: what a champion needs (acted on in a later release)."""

    requires: list[str] = []


class Project(Section, frozen=True, kw_only=True):
    """The whole project file. Fields not given have the defaults above."""

    schedules: Literal["internal", "external"] = "internal"
    model: ModelSection
    data: DataSection
    train: TrainSection
    contract: ContractSection = msgspec.field(default_factory=ContractSection)
    decision: DecisionSection = msgspec.field(default_factory=DecisionSection)
    tune: TuneSection | None = None
    steps: list[StepSection] = []
    gates: list[GateSection] = []
    tests: list[ModelTestSection] = []
    rollout: RolloutSection = msgspec.field(default_factory=RolloutSection)
    monitor: MonitorSection = msgspec.field(default_factory=MonitorSection)
    environments: dict[str, EnvironmentSection] = {}
    log: LogSection = msgspec.field(default_factory=LogSection)
    retrain: RetrainSection = msgspec.field(default_factory=RetrainSection)
    serve: ServeSection = msgspec.field(default_factory=ServeSection)
    alerts: AlertSection = msgspec.field(default_factory=AlertSection)
    policy: PolicySection = msgspec.field(default_factory=PolicySection)
    rubric: dict[str, str] = {}
