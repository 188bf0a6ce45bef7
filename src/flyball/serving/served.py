"""What a worker serves of one model: its route table with every version loaded. Exchanged as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from flyball.core.contract import Contract
from flyball.core.durations import parse_duration
from flyball.core.errors import ModelNotFound
from flyball.core.records import PredictionRecord
from flyball.data.spool import LogRules
from flyball.registry.route_table import RouteTable
from flyball.serving.bundles import BundleFacts, LocalModel
from flyball.serving.isolation import ModelProcess
from flyball.serving.journal import LogPolicy
from flyball.serving.metrics import Histogram, Value, WorkerMetrics
from flyball.serving.protocol import Rejected, not_ready
from flyball.serving.rows import RowChecker
from flyball.serving.shadow import ShadowQueue


class Version:
    """One loaded version: in this process (`local`) or in one of its own (`process`)."""

    def __init__(
        self,
        number: int,
        facts: BundleFacts,
        *,
        local: LocalModel | None = None,
        process: ModelProcess | None = None,
    ) -> None:
        self.number = number
        self.facts = facts
        self.local = local
        self.process = process

    @property
    def is_ready(self) -> bool:
        """Whether it can answer now."""
        return self.local is not None or (self.process is not None and self.process.is_ready)


class Served:
    """One revision of one model, ready to answer."""

    def __init__(
        self,
        table: RouteTable,
        *,
        champion: Version | None,
        candidate: Version | None,
        shadow: ShadowQueue | None,
        hash_key: bytes,
        metrics: WorkerMetrics,
    ) -> None:
        self.table = table
        self.model = table.model
        self.champion = champion
        self.candidate = candidate
        self.previous: Version | None = None
        self.shadow = shadow
        known = [name for name in (table.entity, table.time) if name is not None]
        self.contract = in_order(table.contract, champion.facts.features if champion is not None else ())
        self.checker = RowChecker(self.contract, known)
        self.policy = LogPolicy(
            table.model,
            LogRules(table.log, hash_key, table.entity),
            table.log.durability,
            table.log.when_full == "refuse",
            metrics,
        )
        self.body_limit_bytes = int(table.serve.max_body_mb * 2**20)
        self.deadline_seconds = parse_duration(table.serve.deadline).total_seconds()
        self._metrics = metrics
        self._counts: dict[tuple[str, int], Value] = {}
        self._seconds: dict[str, Histogram] = {}
        self._violations: dict[str, Value] = {}
        self.outcomes = metrics.value("flyball_outcomes_total", model=table.model)

    @property
    def answers_as_routed(self) -> bool:
        """Whether the champion is loaded, where the routes name one."""
        return self.champion is not None or self.table.champion is None

    @property
    def routes_canary(self) -> bool:
        """Whether a share of the requests is asked of the candidate."""
        return self.candidate is not None and self.table.candidate_role == "canary" and self.table.share > 0

    def versions(self) -> list[Version]:
        """Every loaded version: champion, candidate, previous."""
        return [version for version in (self.champion, self.candidate, self.previous) if version is not None]

    def count(self, role: str, number: int, rows: int, seconds: float) -> None:
        """Count answered rows and how long they took."""
        value = self._counts.get((role, number))
        if value is None:
            labels = {"model": self.model, "version": str(number), "role": role}
            value = self._counts[(role, number)] = self._metrics.value("flyball_predictions_total", **labels)
            self._seconds[role] = self._metrics.histogram(
                "flyball_prediction_seconds", model=self.model, role=role
            )
        value.add(rows)
        self._seconds[role].observe(seconds)

    def count_violation(self, problem: str) -> None:
        """Count one broken rule."""
        value = self._violations.get(problem)
        if value is None:
            value = self._metrics.value(
                "flyball_contract_violations_total", model=self.model, problem=problem
            )
            self._violations[problem] = value
        value.add()


class ServedModels(dict[str, Served]):
    """What a worker serves, by model, and why it does not serve the rest.

    `unserved`: by model, why a routed one has no version that answers. `unread`: why it is not known yet which models
    are routed; None once it is.
    """

    def __init__(self, served: Mapping[str, Served] | None = None, unread: str | None = None) -> None:
        super().__init__(served or {})
        self.unserved: dict[str, str] = {}
        self.unread = unread

    def find_served(self, name: str) -> Served:
        """What is served under a name. Raises Rejected: 404, or 503 where it may well be routed."""
        served = self.get(name)
        if served is not None:
            return served
        if name in self.unserved or self.unread is not None:
            raise self.not_ready(name)
        raise Rejected(404, "model_not_found", ModelNotFound(name[:80]).message)

    def not_ready(self, name: str) -> Rejected:
        """The refusal of a request for a model without a version that answers."""
        because = self.unserved.get(name) or self.unread
        return not_ready(name[:80], "has no version in service" + (f": {because}" if because else ""))


def in_order(contract: Contract, names: Sequence[str]) -> Contract:
    """The contract with its features in the order of `names`, others after: a published table sorts them."""
    first = {name: contract.features[name] for name in names if name in contract.features}
    return msgspec.structs.replace(contract, features={**first, **contract.features})


def decide(
    table: RouteTable, facts: BundleFacts, predictions: list[Any], scores: list[list[float]] | None
) -> list[Any]:
    """The predictions after the deployment's decision threshold.

    With a threshold, a row is of the positive class when that class's score is at least the threshold; without one,
    for other tasks, and without scores the model's own predictions stand.
    """
    if table.threshold is None or scores is None or table.task != "binary" or facts.classes is None:
        return predictions
    positive = table.positive if table.positive is not None else facts.classes[-1]
    if positive not in facts.classes or len(facts.classes) != 2:
        return predictions
    index = facts.classes.index(positive)
    yes, no = facts.classes[index], facts.classes[1 - index]
    return [yes if row[index] >= table.threshold else no for row in scores]


def shadow_of(record: PredictionRecord, number: int) -> PredictionRecord:
    """The record a shadow's answer to the same row begins with."""
    return PredictionRecord(
        format=record.format,
        id=record.id,
        model=record.model,
        at=record.at,
        received_at=record.received_at,
        role="shadow",
        asked=number,
        revision=record.revision,
        request_id=record.request_id,
        entity=record.entity,
        input=record.input,
        flags=record.flags,
        trace=record.trace,
    )
