"""Decided retrainings become workflows; one whose workflow ended without a word is ended here."""

from __future__ import annotations

from flyball.backends.db.database import Database
from flyball.backends.workflows.engine import WorkflowEngine
from flyball.core.clock import Clock
from flyball.retraining import retrainings
from flyball.retraining.triggers import end

WORKFLOW = "retrain"


def start_wanted(database: Database, engine: WorkflowEngine, clock: Clock) -> list[str]:
    """Start the workflow of every wanted retraining; ids of those whose state changed. Safe to repeat after a crash."""
    with database.read() as conn:
        waiting = retrainings.list_retrainings(conn, states=retrainings.UNFINISHED)
    changed = []
    for retraining in waiting:
        if retraining.state == "wanted":
            # The id of the workflow is the retraining's: started twice is started once.
            engine.start(WORKFLOW, {"retraining_id": retraining.id}, retraining.id)
            with database.write() as conn:
                if retrainings.get_retraining(conn, retraining.id).state == "wanted":
                    retrainings.change(conn, retraining.id, state="running")
            changed.append(retraining.id)
        elif retraining.run_id is None and _ended_badly(engine, retraining.id):
            result = engine.wait(retraining.id, 1.0)
            message = result.error.message if result.error is not None else f"its workflow was {result.state}"
            with database.write() as conn:
                present = retrainings.get_retraining(conn, retraining.id)
                if present.state in retrainings.UNFINISHED:
                    end(conn, present, "failed", message, clock.now())
            changed.append(retraining.id)
    return changed


def _ended_badly(engine: WorkflowEngine, workflow_id: str) -> bool:
    status = engine.status(workflow_id)
    return status is not None and status.state in ("failed", "cancelled")
