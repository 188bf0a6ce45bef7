"""The verbs that read: what a home knows of models, runs, rollouts, predictions, incidents and its own health."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyball.core.errors import BadInput
from flyball.core.refs import ModelRef, parse_ref
from flyball.core.settings import Settings
from flyball.operations import overview, upkeep
from flyball.operations.opening import Backends

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flyball.pipelines.run_log import LogPage, RunLog


class Readings:
    """The reading verbs of one home."""

    def __init__(self, backends: Backends) -> None:
        self.backends = backends

    @property
    def settings(self) -> Settings:
        """Home and URLs."""
        return self.backends.settings

    def list_models(self) -> list[overview.ModelSummary]:
        """Every model in one line."""
        return overview.list_models(self.backends)

    def get_model(self, model: str) -> overview.ModelSummary:
        """One model in one line. Raises ModelNotFound."""
        return overview.get_model_summary(self.backends, model)

    def list_versions(self, model: str, limit: int = 200) -> list[overview.VersionSummary]:
        """Versions of a model, newest first."""
        return overview.list_versions(self.backends, model, limit)

    def show_version(self, ref: str) -> dict[str, Any]:
        """A version with aliases, evidence, gates, lineage, rollouts and the retraining it came of."""
        from flyball.operations.tracing import describe_version

        return describe_version(self.backends, self.resolve(parse_ref(ref)))

    def history(self, model: str) -> list[Any]:
        """Every move of an alias of a model, oldest first. Raises ModelNotFound."""
        from flyball.registry.aliases import list_history
        from flyball.registry.models import get_model

        with self.backends.database.read() as conn:
            get_model(conn, model)
            return list(list_history(conn, model))

    def why(self, model: str) -> dict[str, Any]:
        """How a model stands and why, in a paragraph."""
        return overview.why(self.backends, model)

    def lineage(self, target: str) -> list[dict[str, Any]]:
        """What a prediction (id) or a version (model@ref) came from, nearest first; what came of a digest.

        Raises PredictionNotFound, ModelNotFound, VersionNotFound, SnapshotNotFound.
        """
        from flyball.operations.tracing import trace_digest, trace_version

        if target.startswith("prd_"):
            return list(self.get_prediction(target)["lineage"])
        if target.startswith("sha256:"):
            return trace_digest(self.backends, target)
        return trace_version(self.backends, self.resolve(parse_ref(target)))

    def metric_series(self, model: str) -> dict[str, Any]:
        """Loss per window and the events to mark on it."""
        self.get_model(model)
        return overview.metric_series(self.backends, model)

    def drift_series(self, model: str) -> dict[str, Any]:
        """Drift score per feature and window."""
        self.get_model(model)
        return overview.drift_series(self.backends, model)

    def list_runs(self, model: str | None = None, limit: int = 20) -> list[Any]:
        """Runs, newest first."""
        from flyball.pipelines.runs import list_runs

        with self.backends.database.read() as conn:
            return self._known(model, list(list_runs(conn, model=model, limit=limit)))

    def get_run(self, run_id: str) -> dict[str, Any]:
        """A run and its steps. Raises RunNotFound."""
        from flyball.pipelines.runs import get_run, list_run_steps

        with self.backends.database.read() as conn:
            return {"run": get_run(conn, run_id), "steps": list_run_steps(conn, run_id)}

    def run_log(self, run_id: str, offset: int | None = None, limit: int = 200) -> LogPage:
        """What a run printed: at most `limit` lines from line `offset` on, the last ones without it."""
        return self._log_of(run_id).page(offset, limit)

    def run_logs(self, run_id: str, limit: int = 10_000) -> list[str]:
        """The last lines that a run printed, oldest first."""
        return self.run_log(run_id, limit=limit).lines

    def run_log_file(self, run_id: str) -> Iterator[bytes]:
        """All that is kept of what a run printed, in pieces."""
        return self._log_of(run_id).chunks()

    def _log_of(self, run_id: str) -> RunLog:
        from flyball.pipelines.runs import get_run, run_log

        with self.backends.database.read() as conn:
            get_run(conn, run_id)
        return run_log(self.settings, run_id)

    def rollout_status(self, model: str) -> Any:
        """The newest rollout of a model, or None."""
        found = self.list_rollouts(model, 1)
        return found[0] if found else None

    def rollback_target(self, model: str) -> int | None:
        """The version that a rollback would put into service; None when it would be refused."""
        from flyball.operations.deploying import rollback_target

        return rollback_target(self.backends, model)

    def list_rollouts(self, model: str | None, limit: int = 50) -> list[Any]:
        """Rollouts, newest first."""
        from flyball.delivery.rollouts import list_rollouts

        with self.backends.database.read() as conn:
            return self._known(model, list(list_rollouts(conn, model, limit=limit)))

    def get_prediction(self, prediction_id: str) -> dict[str, Any]:
        """One prediction with input, answer, version, outcome and lineage. Raises PredictionNotFound."""
        from flyball.operations.tracing import trace_prediction

        return trace_prediction(self.backends, prediction_id)

    def recent_predictions(self, model: str, limit: int = 50) -> list[dict[str, Any]]:
        """The newest predictions of a model, in short."""
        from flyball.operations.tracing import recent_predictions

        return recent_predictions(self.backends, model, limit)

    def list_signals(self, model: str | None = None, limit: int = 100) -> list[Any]:
        """Alarms, newest first."""
        from flyball.monitoring.signals import list_signals

        with self.backends.database.read() as conn:
            return self._known(model, list(list_signals(conn, model, limit=limit)))

    def list_incidents(self, model: str | None = None, limit: int = 100) -> list[Any]:
        """Incidents, newest first."""
        from flyball.monitoring.incidents import list_incidents

        with self.backends.database.read() as conn:
            return self._known(model, list(list_incidents(conn, model, limit=limit)))

    def get_incident(self, incident_id: str) -> dict[str, Any]:
        """An incident, its timeline and its signals. Raises IncidentNotFound."""
        from flyball.monitoring.incidents import get_incident, list_entries
        from flyball.monitoring.signals import list_signals

        with self.backends.database.read() as conn:
            return {
                "incident": get_incident(conn, incident_id),
                "entries": list_entries(conn, incident_id),
                "signals": list_signals(conn, incident_id=incident_id, limit=200),
            }

    def list_retrainings(self, model: str | None = None, limit: int = 100) -> list[Any]:
        """Retrainings, newest first."""
        from flyball.retraining.retrainings import list_retrainings

        with self.backends.database.read() as conn:
            return self._known(model, list(list_retrainings(conn, model, limit=limit)))

    def audit_log(self, model: str | None = None, limit: int = 50, before: int | None = None) -> list[Any]:
        """The newest audit entries, newest first."""
        from flyball.governance.journal import list_entries

        with self.backends.database.read() as conn:
            found = list(list_entries(conn, model=model, before=before, limit=limit, newest_first=True))
            return self._known(model, found)

    def audit_verify(self, head: str | None = None) -> Any:
        """Whether the chain of audit entries holds, up to a head noted earlier when one is given."""
        from flyball.operations.audit_trail import verify_trail

        return verify_trail(self.backends, head)

    def audit_export(self, path: str) -> int:
        """Write every audit entry to a new file, one JSON document a line; returns their number.

        Raises BadInput, with no file left behind, when it exists already or can't be written.
        """
        from flyball.governance.journal import export_entries

        target, count = Path(path), 0
        try:
            with target.open("xb") as file, self.backends.database.read() as conn:
                for line in export_entries(conn):
                    file.write(line)
                    count += 1
        except FileExistsError as error:
            raise BadInput(f"{path} exists already; nothing was written. Choose another name") from error
        except OSError as error:
            target.unlink(missing_ok=True)
            raise BadInput(f"{path} can't be written: {error.strerror}") from error
        return count

    def list_events(self, after: int = 0, limit: int = 100) -> list[Any]:
        """Events in the order of their numbers."""
        from flyball.governance.events import list_events

        with self.backends.database.read() as conn:
            return list(list_events(conn, after=after, limit=limit))

    def status(self) -> dict[str, Any]:
        """What runs, and where state lives."""
        return upkeep.status(self.backends)

    def server_problems(self) -> list[Any]:
        """What workers of the model servers say they can't do."""
        from flyball.operations.servers import look_at_servers

        return look_at_servers(self.backends).problems()

    def doctor(self) -> list[dict[str, str]]:
        """Every check of this home's health."""
        return upkeep.doctor(self.backends)

    def _known(self, model: str | None, found: list[Any]) -> list[Any]:
        """What was found; an empty list about a model that does not exist is told as that. Raises ModelNotFound."""
        if model is not None and not found:
            self.get_model(model)
        return found

    def resolve(self, ref: ModelRef) -> Any:
        """The version a reference points at. Raises ModelNotFound, VersionNotFound."""
        from flyball.registry.versions import resolve

        with self.backends.database.read() as conn:
            return resolve(conn, ref)
