"""What a retraining will do, fixed before it begins: whose files, which rows, which windows are tried on what."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection

from flyball.backends.blobs.store import BlobStore
from flyball.core.contract import Contract
from flyball.core.errors import BadInput
from flyball.core.project import Project
from flyball.core.records import label_text
from flyball.judge.choosing import (
    TRAINING_WINDOWS,
    Choice,
    Fold,
    FoldLosses,
    choose,
    progressive_folds,
)
from flyball.monitoring.plan import plan_of, window_start
from flyball.monitoring.windows import list_held
from flyball.pipelines.runs import find_run
from flyball.registry.bundle import read_manifest
from flyball.registry.routes import current, project_of
from flyball.registry.versions import ModelVersion, get_version
from flyball.retraining import retrainings
from flyball.retraining.retrainings import Retraining

FOLDS = 4


class RetrainPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A retraining in full. `project`: the champion's own way to train under the deployment's present rules.

    folds: what the windows of rows (`names`) are tried on. held: windows of broken data. is_forced: a person asked, so
    that an expected gain is told and not required.
    """

    retraining_id: str
    champion: int
    bundle: str
    tree: str
    root_snapshot: str
    folder: str | None
    project: Project
    contract: Contract
    classes: list[Any] | None
    positive: Any
    features: list[str]
    decided_at: datetime
    rows_until: datetime
    names: list[str]
    folds: list[Fold]
    held: list[tuple[datetime, datetime]]
    is_forced: bool
    because: str
    signal_id: str | None
    incident_id: str | None


def plan_retraining(conn: Connection, blobs: BlobStore, identity: str) -> RetrainPlan:
    """The plan of a decided retraining. Raises RetrainingNotFound, BadInput if the champion can't be trained again."""
    retraining = retrainings.get_retraining(conn, identity)
    version = get_version(conn, retraining.model, retraining.champion)
    if version.source_tree is None or version.snapshot is None:
        raise BadInput(
            f"{version.model}@{version.number} was not made by a run: how it was trained is unknown, so it can't be "
            "trained again",
            model=version.model,
            version=version.number,
        )
    deployment = current(conn, retraining.model)
    own = msgspec.convert(version.project, Project)
    project = own if deployment is None else _combine(own, project_of(deployment))
    signature = read_manifest(version.digest, blobs).signature
    run = find_run(conn, version.run_id) if version.run_id is not None else None
    origin: dict[str, Any] = version.lineage.get("origin") or {}  # of a version that was carried over
    has_train_steps = any(step.at == "train" for step in project.steps)
    return RetrainPlan(
        retraining_id=identity,
        champion=version.number,
        bundle=version.digest,
        tree=version.source_tree,
        root_snapshot=_root_snapshot(conn, version),
        folder=origin.get("folder") if run is None else run.request.get("folder"),
        project=project,
        contract=version.contract,
        classes=None if signature.classes is None else list(signature.classes),
        positive=signature.positive,
        features=[feature.name for feature in signature.features],
        decided_at=retraining.decided_at,
        rows_until=retraining.rows_until,
        # Steps before training may make other rows of the rows, which no logged answer belongs to.
        names=["expanding"] if has_train_steps else window_names(project.retrain.data),
        folds=[] if has_train_steps else _folds(retraining, project),
        held=list_held(conn, retraining.model),
        is_forced=retraining.signal_id is None,
        because=retraining.because,
        signal_id=retraining.signal_id,
        incident_id=retraining.incident_id,
    )


def choose_window(plan: RetrainPlan, tried: dict[str, Any], loss_name: str) -> Choice:
    """The window of rows to train on, and whether to train at all; what a person asked for is done in any case."""
    if not plan.folds:
        because = (
            "steps before training make the rows, so no window of them can be tried: trained on all rows"
        )
        return Choice(act=True, name=plan.names[0], because=because)
    # All are compared on the same rows: those of the folds that the champion answered, if it answered any.
    places = [place for place, loss in enumerate(tried["champion"]) if loss is not None]
    places = places or list(range(len(tried["champion"])))
    counts = _pick(tried["row_counts"], places)
    own = _pick(tried["champion"], places)
    champion = FoldLosses(name="champion", losses=own, row_counts=counts)
    losses = [
        FoldLosses(name=name, losses=_pick(tried["losses"][name], places), row_counts=counts)
        for name in plan.names
    ]
    choice = choose(losses, champion, least_gain=_least_gain(plan.project, loss_name))
    if choice.act or not plan.is_forced:
        return choice
    name = choice.name or plan.names[0]
    return msgspec.structs.replace(
        choice, act=True, name=name, because=f"{choice.because}; trained all the same, as it was asked for"
    )


def plain(value: Any) -> dict[str, Any]:
    """A struct as JSON values."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return found


def read_plan(value: dict[str, Any]) -> RetrainPlan:
    """The plan that `plain` wrote."""
    return msgspec.convert(value, RetrainPlan)


def _combine(own: Project, deployed: Project) -> Project:
    """How the champion was trained, under the rules that are in force now."""
    return msgspec.structs.replace(
        deployed,
        model=own.model,
        data=own.data,
        contract=own.contract,
        steps=own.steps,
        train=own.train,
        tune=own.tune,
        tests=own.tests,
    )


def _root_snapshot(conn: Connection, version: ModelVersion) -> str:
    """The rows that the first version of this line was trained on, however many retrainings lie between."""
    earlier = retrainings.find_by_version(conn, version.model, version.number)
    if earlier is not None and earlier.root_snapshot is not None:
        return earlier.root_snapshot
    if version.snapshot is None:
        raise BadInput(f"{version.model}@{version.number} has no snapshot of what it was trained on")
    return version.snapshot


def window_names(data: str) -> list[str]:
    """The windows of rows that [retrain].data lets one try; `since-change`: recent outcomes say how far back."""
    words = data.strip()
    if words == "since-change":
        return list(TRAINING_WINDOWS)
    return [words.removeprefix("sliding ").strip()]


def _folds(retraining: Retraining, project: Project) -> list[Fold]:
    """The newest windows whose outcomes were all due when the retraining was decided."""
    plan = plan_of(project)
    due = window_start(retraining.decided_at - plan.outcome_delay, plan.window)
    return progressive_folds(
        min(due, retraining.rows_until).timestamp(),
        window_seconds=plan.window.total_seconds(),
        outcome_delay_seconds=plan.outcome_delay.total_seconds(),
        count=FOLDS,
    )


def _least_gain(project: Project, loss_name: str) -> float:
    """The margin of the rollout's guard on the loss, since a smaller gain could not be told afterwards.

    0.0 without such a guard: `choose` asks for a share of the champion's loss in any case.
    """
    for guard in project.rollout.guards:
        if label_text(guard.metric) in ("loss", loss_name) and guard.max_increase is not None:
            return guard.max_increase
    return 0.0


def _pick(values: list[Any], places: list[int]) -> list[Any]:
    return [values[place] for place in places]
