"""The controller: one per home, turns the loop (ARCHITECTURE.md, 'Drift to promotion') and takes up abandoned work.

It holds the lease, runs the workflow engine and asks the analysis process for what needs tables. Each pass is
idempotent, so a controller killed at any moment is replaced by simply starting another. One that was paused and
replaced is fenced: what its passes and its analysis write is checked against the lease in the same transaction.
Steps of workflows are not: see decision 0002.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from dataclasses import replace
from typing import Any

from flyball.core.clock import isoformat, parse_moment
from flyball.core.errors import FlyballError, LeaseLost
from flyball.operations.analysis_process import AnalysisProcess
from flyball.operations.opening import Backends
from flyball.operations.servers import worker_states

PASS_SECONDS = 0.1
# While segments keep coming, somebody waits for what is made of them.
BUSY_PASS_SECONDS = 0.02
BUSY_FOR_SECONDS = 1.0
REAP_SECONDS = 2.0
ROLLING_SECONDS = 1.0
LEASE_SECONDS = 2.0
STANDBY_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Controller:
    """Runs in a thread of the control plane's process. `engine` is launched by the time `run` begins."""

    def __init__(self, backends: Backends, engine: Any, workshop: Any, lease: Any) -> None:
        self._backends = backends
        self._acting = backends.fenced(lease.assert_held)
        self._engine = engine
        self._workshop = workshop
        self._lease = lease
        folder = backends.settings.log_folder
        folder.mkdir(parents=True, exist_ok=True)
        self.analysis = AnalysisProcess(
            backends.settings.home, folder / "analysis.log", _environment(backends)
        )
        self._stop = threading.Event()
        self._standings: dict[str, dict[str, Any]] = {}
        self._next_turn = 0.0
        self._last_segment = -BUSY_FOR_SECONDS
        self._next_reap = 0.0
        self._next_renewal = 0.0
        self.failures: Counter[str] = Counter()
        self._in_a_row: Counter[str] = Counter()

    def run(self) -> None:
        """Turn the loop until `stop`; stands by while another controller holds the lease."""
        while not self._stop.is_set():
            if not self._guarded("lease", self._hold_lease):
                self._stop.wait(STANDBY_SECONDS)
                continue
            busy = self._guarded("pass", self._pass)
            self._stop.wait(0.005 if busy else self._pause_between_passes())
        self.analysis.close()
        self._guarded("release", self._lease.release)

    def stop(self) -> None:
        """End after the present pass."""
        self._stop.set()

    @property
    def is_leading(self) -> bool:
        """Whether this controller holds the lease now."""
        return bool(self._lease.is_held)

    def progress(self, model: str) -> dict[str, Any]:
        """How far the loop has come with a model: for clients that replay history, and for people who wait.

        Raises ModelNotFound. Asked many times a second by a replay, so it reads little.
        """
        from flyball.data.model_time import find_model_time
        from flyball.registry.models import get_model
        from flyball.registry.routes import current

        # Before the database is read: what this turn decided is then seen there, as an event or as what came of it.
        standing = self._standings.get(model, {})
        with self._backends.database.read() as conn:
            get_model(conn, model)
            model_time = find_model_time(conn, model, self._backends.clock.now())
            deployment = current(conn, model)
            busy = self._is_busy(conn, model)
        revision = deployment.revision if deployment else 0
        adopted = self._adopted(model)
        return {
            "model": model,
            "model_time": isoformat(model_time) if model_time else None,
            # From the same turn as the moments below: whoever waits for both must not see one without the other.
            "predictions": standing.get("predictions", 0),
            "outcomes": standing.get("outcomes", 0),
            "pending_outcomes": standing.get("pending_outcomes", 0),
            "decided_through": standing.get("decided_through"),
            "next_decision_at": standing.get("next_decision_at"),
            "busy": busy or (adopted is not None and adopted < revision),
            "revision": revision,
            "adopted": adopted,
        }

    def _hold_lease(self) -> bool:
        now = time.monotonic()
        if self._lease.is_held and now < self._next_renewal:
            return True
        held = self._lease.renew() if self._lease.is_held else self._lease.try_acquire()
        self._next_renewal = now + LEASE_SECONDS
        return bool(held)

    def _pass(self) -> bool:
        """One pass; True when something happened, so that the next follows at once."""
        happened = False
        now = time.monotonic()
        if now >= self._next_reap:
            self._next_reap = now + REAP_SECONDS
            self._reap()
        if self._turn_is_due():
            happened |= self._turn()
        happened |= self._consume()
        return happened

    def _reap(self) -> None:
        from flyball.pipelines.run import resume_abandoned

        acting = replace(self._workshop, database=self._acting.database)
        for workflow_id in resume_abandoned(self._engine, acting, self._lease.assert_held):
            _log.info("took over %s, which a process that died had begun or recorded", workflow_id)

    def _turn_is_due(self) -> bool:
        if self._backends.blobs.list("segments", limit=1):
            self._last_segment = time.monotonic()
            return True
        return time.monotonic() >= self._next_turn or self._is_asked()

    def _is_asked(self) -> bool:
        from flyball.monitoring.asked import list_waiting_asks

        with self._backends.database.read() as conn:
            return bool(list_waiting_asks(conn).models)

    def _pause_between_passes(self) -> float:
        is_busy = time.monotonic() - self._last_segment < BUSY_FOR_SECONDS
        return BUSY_PASS_SECONDS if is_busy else PASS_SECONDS

    def _turn(self) -> bool:
        wall = self._backends.clock.now()
        report = self.analysis.ask(
            {"command": "turn", "wall": isoformat(wall), "token": self._lease.fencing_token}
        )
        self._standings = report["models"]
        self._next_turn = time.monotonic() + self._pause()
        return bool(report["signals"] or report["transitions"])

    def _pause(self) -> float:
        """Seconds until a turn is due although no new segment arrives: time alone also makes things due."""
        pause = 60.0
        for standing in self._standings.values():
            if standing["rolling"]:
                pause = min(pause, ROLLING_SECONDS)
            if standing["next_decision_at"] and standing["decided_through"]:
                # decided_through runs with the wall clock, so the difference is wall time too.
                left = parse_moment(standing["next_decision_at"]) - parse_moment(standing["decided_through"])
                pause = min(pause, max(0.2, left.total_seconds()))
        return pause

    def _consume(self) -> bool:
        from flyball.delivery import candidates
        from flyball.registry.routes import publish_wanted
        from flyball.retraining import start, triggers

        database, clock = self._acting.database, self._acting.clock
        count = triggers.consume(database, clock)
        count += len(start.start_wanted(database, self._engine, clock))
        count += candidates.consume(database, self._backends.blobs, clock)
        published = publish_wanted(database, self._acting.blobs, clock.now())
        if count or published:
            # A rollout just begun changes what is due next: ask at once.
            self._next_turn = 0.0
        return bool(count or published)

    def _is_busy(self, conn: Any, model: str) -> bool:
        from flyball.delivery import candidates
        from flyball.retraining import due, triggers

        return (
            due.busy(conn, model)
            or triggers.has_pending(conn)
            or candidates.has_pending(conn)
            or self._next_turn == 0.0
        )

    def _adopted(self, model: str) -> int | None:
        """The oldest revision that a live worker of the model server still answers with; None without a worker."""
        revisions = []
        for status in worker_states(self._backends):
            if model in status.get("revisions", {}):
                revisions.append(int(status["revisions"][model]))
        return min(revisions, default=None)

    def _guarded(self, what: str, work: Any) -> bool:
        try:
            done = bool(work())
            self._in_a_row[what] = 0
            return done
        except FlyballError as error:
            if error.code == LeaseLost.code:
                # Ask at once who leads: a clock that stood still with us may say it is us.
                self._next_renewal = 0.0
            self.failures[what] += 1
            _log.error("%s failed: %s (%s)", what, error.message, error.code)
        except Exception:  # noqa: BLE001 - the loop's edge, see below
            # The loop's edge: a pass that fails is logged, counted, and tried again; serving does not depend on it.
            self.failures[what] += 1
            _log.exception("%s failed", what)
        self._in_a_row[what] += 1
        self._stop.wait(min(LONGEST_PAUSE_SECONDS, 0.2 * self._in_a_row[what]))
        return False


def _environment(backends: Backends) -> dict[str, str]:
    """This process's own, with the stores that it has open, however it came to them."""
    settings = backends.settings
    stores = {"FLYBALL_DATABASE": settings.database_url, "FLYBALL_OBJECTS": settings.objects_url}
    return {**os.environ, "FLYBALL_HOME": str(settings.home), **stores}
