"""The durable workflow `retrain`: rows → trial of windows → choice → snapshot → run. What the run gives, events tell.

Killed in any step, it goes on after its last finished one. What it decides is a function of the retraining's model
time: the rows known then, and nothing newer.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from flyball.backends.workflows.engine import WorkflowContext, WorkflowEngine
from flyball.core.errors import FlyballError, WorkflowCancelled
from flyball.core.ids import derived_id
from flyball.core.project import SplitSection
from flyball.pipelines.request import DataChoice, RunRequest
from flyball.pipelines.run import start_run
from flyball.pipelines.workshop import Workshop
from flyball.retraining import retrainings
from flyball.retraining.plan import RetrainPlan, choose_window, plain, plan_retraining, read_plan
from flyball.retraining.start import WORKFLOW
from flyball.retraining.trials import gather, keep_snapshot, try_windows
from flyball.retraining.triggers import POLICY, end


def register_retrain(engine: WorkflowEngine, shop: Workshop) -> None:
    """Let this process retrain, and take up retrainings of processes that died. Before `engine.launch`."""
    engine.register(WORKFLOW, partial(retrain_workflow, shop, engine))


def retrain_workflow(
    shop: Workshop, engine: WorkflowEngine, context: WorkflowContext, payload: dict[str, Any]
) -> dict[str, Any] | None:
    """The id of the run that trains, or None where no window of rows promised a better model."""
    identity = str(payload["retraining_id"])
    try:
        plan = read_plan(context.step("plan", _plan, shop, identity))
        gathered = context.step("rows", gather, shop, plan)
        tried = context.step("trial", try_windows, shop, plan)
        choice = context.step("choice", _choose, shop, plan, gathered, tried)
        if not choice["act"]:
            context.step("keep", _keep, shop, plan, choice["because"])
            return None
        kept = context.step("snapshot", keep_snapshot, shop, plan, choice["name"])
        run_id: str = context.step("run", _run, shop, engine, plan, choice, kept)
        return {"run_id": run_id}
    except WorkflowCancelled:
        raise
    except FlyballError as error:
        context.step("fail", _fail, shop, identity, error.message)
        raise


def _plan(shop: Workshop, identity: str) -> dict[str, Any]:
    with shop.database.read() as conn:
        plan = plan_retraining(conn, shop.blobs, identity)
    with shop.database.write() as conn:
        # A process that was paused here may come back when another one has ended the retraining.
        if retrainings.get_retraining(conn, identity).state in retrainings.UNFINISHED:
            retrainings.change(conn, identity, state="running", root_snapshot=plan.root_snapshot)
    return plain(plan)


def _choose(
    shop: Workshop, plan: RetrainPlan, gathered: dict[str, Any], tried: dict[str, Any]
) -> dict[str, Any]:
    """The choice, written down with everything that led to it."""
    choice = choose_window(plan, tried, gathered["loss"])
    chosen = plain(choice)
    facts = {"rows": gathered, "tried": tried, "choice": chosen, "folds": plain(plan)["folds"]}
    with shop.database.write() as conn:
        retrainings.change(conn, plan.retraining_id, data_choice=facts)
    shop.bench(plan.retraining_id).write_line(choice.because)
    return chosen


def _keep(shop: Workshop, plan: RetrainPlan, because: str) -> None:
    with shop.database.write() as conn:
        present = retrainings.get_retraining(conn, plan.retraining_id)
        if present.state in retrainings.UNFINISHED:
            end(conn, present, "kept", because, shop.clock.now())
    shop.bench(plan.retraining_id).clear()


def _run(
    shop: Workshop, engine: WorkflowEngine, plan: RetrainPlan, choice: dict[str, Any], kept: dict[str, Any]
) -> str:
    """Start the run on the chosen rows, with the champion's own files."""
    run_id = derived_id("run", plan.retraining_id)
    with shop.database.write() as conn:
        retrainings.change(conn, plan.retraining_id, run_id=run_id, snapshot=kept["snapshot"])
    request = RunRequest(
        model=plan.project.model.name,
        project=plan.project,
        folder=plan.folder,
        tree=plan.tree,
        data=DataChoice(kind="snapshot", digest=kept["snapshot"]),
        split=_split(plan, kept),
        champion=plan.champion,
        actor=POLICY,
        why=f"{plan.because}; {choice['because']}",
        signal_id=plan.signal_id,
        incident_id=plan.incident_id,
        decided_at=plan.decided_at,
        progressive=choice["loss"],
        run_id=run_id,
    )
    started = start_run(engine, shop, request)
    if started != run_id:  # an equal run was under way already
        with shop.database.write() as conn:
            retrainings.change(conn, plan.retraining_id, run_id=started)
    shop.bench(plan.retraining_id).clear()
    return started


def _split(plan: RetrainPlan, kept: dict[str, Any]) -> SplitSection | None:
    """The newest windows are held out for the gates, where rows have times; else as the project says."""
    own = plan.project.data.split
    if plan.project.model.time is None or own.by in ("random", "group"):
        return None
    share = kept["test_rows"] / kept["rows"]
    if not 0.0 < share < 1.0 - own.validation:
        return None
    return SplitSection(by="time", test=share, validation=own.validation, gap=own.gap, horizon=own.horizon)


def _fail(shop: Workshop, identity: str, message: str) -> None:
    with shop.database.write() as conn:
        present = retrainings.get_retraining(conn, identity)
        if present.state in retrainings.UNFINISHED:
            end(conn, present, "failed", message, shop.clock.now())
    shop.bench(identity).clear()
