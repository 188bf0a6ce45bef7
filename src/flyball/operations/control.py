"""What the control plane's process runs beside its web server: heartbeat, workflow engine, controller."""

from __future__ import annotations

import threading

from flyball.backends.db.heartbeats import Heartbeat, new_executor_id
from flyball.backends.db.lease import open_lease
from flyball.backends.executors.local import end_children
from flyball.backends.scratch import sweep_scratch
from flyball.backends.workflows.engine import WorkflowEngine
from flyball.operations.controller import Controller
from flyball.operations.opening import Backends
from flyball.operations.turn import LEASE
from flyball.pipelines.workflow import Workshop, register_run
from flyball.retraining.workflow import register_retrain

# What a pass at work may take before its analysis is ended; the next controller repeats it.
PASS_SECONDS = 10.0


def open_workshop(backends: Backends, kind: str) -> tuple[Heartbeat, WorkflowEngine, Workshop]:
    """Heartbeat, engine with every workflow of this release registered, and workshop; nothing is launched yet.

    Temporary folders of processes that were killed are removed, and what they left half-written in the object store.
    """
    sweep_scratch()
    backends.blobs.sweep()
    executor_id = new_executor_id()
    heartbeat = Heartbeat(backends.database, executor_id, kind=kind, clock=backends.clock)
    engine = WorkflowEngine(backends.database.open_workflow_engine(), executor_id)
    workshop = Workshop(backends.database, backends.blobs, backends.settings, backends.clock, executor_id)
    register_run(engine, workshop)
    register_retrain(engine, workshop)
    return heartbeat, engine, workshop


class ControlPlane:
    """Engine and controller of one process; the controller stands by while another holds the home's lease."""

    def __init__(self, backends: Backends) -> None:
        self._heartbeat, self.engine, self.workshop = open_workshop(backends, "control")
        lease = open_lease(backends.database, backends.settings.home, LEASE)
        self.controller = Controller(backends, self.engine, self.workshop, lease)
        self._thread = threading.Thread(target=self.controller.run, name="controller", daemon=True)

    def start(self) -> None:
        """Beat, launch the engine, turn the loop."""
        self._heartbeat.start()
        self.engine.launch()
        self._thread.start()

    def close(self) -> None:
        """End the present pass, the engine and the heartbeat, in this order."""
        self.controller.stop()
        if self._thread.is_alive():
            self._thread.join(PASS_SECONDS)
        self.controller.analysis.close()
        if self._thread.is_alive():
            self._thread.join(PASS_SECONDS)
        self.engine.shutdown(end_children=end_children)
        self._heartbeat.stop()
