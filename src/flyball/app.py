"""The local Flyball object: opens the backends that URLs choose and hands them to the rooms. It decides nothing."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyball.core.errors import BadInput, Conflict, NotFound, Refused
from flyball.core.refs import ModelRef, parse_ref
from flyball.core.settings import Settings, read_settings
from flyball.operations import overview, upkeep
from flyball.operations.opening import Backends, open_backends

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from flyball.governance.actors import Actor

ANONYMOUS = "FLYBALL_CONTROL_ANONYMOUS"


class Flyball:
    """The verbs of one home, in place. Use it as a context manager, or `close()` it."""

    def __init__(self, backends: Backends, serve_url: str | None = None) -> None:
        self.backends = backends
        self._serve_url = serve_url

    def __enter__(self) -> Flyball:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open."""
        self.backends.close()

    @property
    def settings(self) -> Settings:
        """Home and URLs."""
        return self.backends.settings

    @property
    def serve_url(self) -> str:
        """Address of the model server: as given, else that of the one running on this home. Raises NotFound."""
        if self._serve_url:
            return self._serve_url
        from flyball.operations.supervise import ask_socket

        status = ask_socket(self.settings.home / "serve.sock", {"command": "status"})
        if status is None:
            raise NotFound("no model server runs on this home; start `flyball up`, or name one with --url")
        return f"http://{status['host']}:{status['port']}"

    # Models and versions

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

        return describe_version(self.backends, self._resolve(ref))

    def history(self, model: str) -> list[Any]:
        """Every move of an alias of a model, oldest first."""
        from flyball.registry.aliases import list_history
        from flyball.registry.models import get_model

        with self.backends.database.read() as conn:
            get_model(conn, model)
            return list(list_history(conn, model))

    def why(self, model: str) -> dict[str, Any]:
        """How a model stands and why, in a paragraph."""
        return overview.why(self.backends, model)

    def lineage(self, target: str) -> list[dict[str, Any]]:
        """What a prediction (id) or a version (model@ref) came from, nearest first."""
        from flyball.core.ids import is_id
        from flyball.operations.tracing import trace_version

        if is_id(target, "prd"):
            return list(self.get_prediction(target)["lineage"])
        return trace_version(self.backends, self._resolve(target))

    def metric_series(self, model: str) -> dict[str, Any]:
        """Loss per window and the events to mark on it."""
        self.get_model(model)
        return overview.metric_series(self.backends, model)

    def drift_series(self, model: str) -> dict[str, Any]:
        """Drift score per feature and window."""
        self.get_model(model)
        return overview.drift_series(self.backends, model)

    # Runs

    def run(
        self,
        folder: Path,
        *,
        sets: Sequence[str] = (),
        why: str = "",
        actor: Actor | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Any:
        """Run the pipeline of a project folder to its end. Takes up abandoned runs of the home first."""
        from flyball.operations.running import run_project

        return run_project(self.backends, folder, sets=sets, why=why, actor=_person(actor), on_line=on_line)

    def list_runs(self, model: str | None = None, limit: int = 20) -> list[Any]:
        """Runs, newest first."""
        from flyball.pipelines.runs import list_runs

        with self.backends.database.read() as conn:
            return list(list_runs(conn, model=model, limit=limit))

    def get_run(self, run_id: str) -> dict[str, Any]:
        """A run and its steps. Raises RunNotFound."""
        from flyball.pipelines.runs import get_run, list_run_steps

        with self.backends.database.read() as conn:
            return {"run": get_run(conn, run_id), "steps": list_run_steps(conn, run_id)}

    def run_logs(self, run_id: str) -> list[str]:
        """What a run printed, line by line."""
        from flyball.pipelines.runs import get_run, run_logs

        with self.backends.database.read() as conn:
            get_run(conn, run_id)
        return list(run_logs(self.settings, run_id))

    # Delivery

    def deploy(
        self, ref: str, *, why: str = "", strategy: str | None = None, actor: Actor | None = None
    ) -> Any:
        """Start a rollout of a version; the newest registered one when the reference names none."""
        from flyball.operations.deploying import deploy

        return deploy(self.backends, parse_ref(ref), why=why, strategy=strategy, actor=_person(actor))

    def follow_rollout(self, started: Any, on_line: Callable[[str], None]) -> Any:
        """Wait for the end of a rollout; needs a controller (`flyball up`) at work."""
        from flyball.operations.deploying import follow_rollout

        return follow_rollout(self.backends, started, on_line)

    def rollout_status(self, model: str) -> Any:
        """The newest rollout of a model, or None."""
        found = self.list_rollouts(model, 1)
        return found[0] if found else None

    def list_rollouts(self, model: str | None, limit: int = 50) -> list[Any]:
        """Rollouts, newest first."""
        from flyball.delivery.rollouts import list_rollouts

        with self.backends.database.read() as conn:
            return list(list_rollouts(conn, model, limit=limit))

    def decide_rollout(self, model: str, decision: str, *, why: str, actor: Actor | None = None) -> Any:
        """Pause, resume, promote or abort the running rollout by a person's decision."""
        from flyball.delivery import control

        verbs = {
            "pause": control.pause,
            "resume": control.resume,
            "promote": control.promote,
            "abort": control.abort,
        }
        if decision not in verbs:
            raise BadInput(
                f"{decision!r} is no decision on a rollout; one of {', '.join(verbs)}", decision=decision
            )
        now = self.backends.clock.now()
        with self.backends.database.write() as conn:
            moment = self._model_time(conn, model)
            decided = verbs[decision](conn, model, actor=_person(actor), why=why, now=now, model_time=moment)
        self._publish()
        return decided

    def rollback(self, model: str, *, to: str | None, why: str, actor: Actor | None = None) -> dict[str, Any]:
        """Put the previous champion (or version `to`) back into service at once."""
        from flyball.delivery.rollback import rollback

        number = None if to is None else self._resolve(f"{model}@{to}").number
        now = self.backends.clock.now()
        with self.backends.database.write() as conn:
            moment = self._model_time(conn, model)
            done = rollback(conn, model, to=number, actor=_person(actor), why=why, now=now, model_time=moment)
        self._publish()
        return {
            "model": model,
            "champion": done.to_number,
            "was": done.from_number,
            "revision": done.revision,
        }

    # Predictions

    def predict(self, model: str, rows: str, *, url: str | None = None) -> dict[str, Any]:
        """Ask the model server; `rows` is JSON text, a file or `-`."""
        from flyball.operations.asking import predict

        return predict(url or self.serve_url, model, rows)

    def add_outcomes(self, model: str, file: Path, *, url: str | None = None) -> dict[str, Any]:
        """Send outcomes from a table to the model server."""
        from flyball.operations.asking import add_outcomes

        return add_outcomes(url or self.serve_url, model, file)

    def get_prediction(self, prediction_id: str) -> dict[str, Any]:
        """One prediction with input, answer, version, outcome and lineage. Raises PredictionNotFound."""
        from flyball.operations.tracing import trace_prediction

        return trace_prediction(self.backends, prediction_id)

    def recent_predictions(self, model: str, limit: int = 50) -> list[dict[str, Any]]:
        """The newest predictions of a model, in short."""
        from flyball.operations.tracing import recent_predictions

        return recent_predictions(self.backends, model, limit)

    def replay(self, prediction_id: str) -> dict[str, Any]:
        """The same input through the same version again, in a child process, compared with the logged answer."""
        from flyball.operations.replaying import replay

        return replay(self.backends, prediction_id)

    # Monitoring and retraining

    def monitor(self, model: str | None = None) -> list[dict[str, Any]]:
        """Analyse what is due (unless a controller does) and tell the state of every check."""
        from flyball.operations.monitoring import check_now

        return check_now(self.backends, model)

    def list_signals(self, model: str | None = None, limit: int = 100) -> list[Any]:
        """Alarms, newest first."""
        from flyball.monitoring.signals import list_signals

        with self.backends.database.read() as conn:
            return list(list_signals(conn, model, limit=limit))

    def list_incidents(self, model: str | None = None, limit: int = 100) -> list[Any]:
        """Incidents, newest first."""
        from flyball.monitoring.incidents import list_incidents

        with self.backends.database.read() as conn:
            return list(list_incidents(conn, model, limit=limit))

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

    def add_note(self, incident_id: str, text: str, *, actor: Actor | None = None) -> None:
        """Add a person's note to an incident's timeline."""
        from flyball.monitoring.incidents import add_note

        with self.backends.database.write() as conn:
            add_note(conn, incident_id, text, actor=_person(actor), now=self.backends.clock.now())

    def retrain(
        self,
        model: str,
        *,
        why: str,
        actor: Actor | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """Ask for a retraining on the rows known by now; the controller carries it out."""
        from flyball.retraining.manual import retrain_now

        now = self.backends.clock.now()
        with self.backends.database.write() as conn:
            moment = self._model_time(conn, model) or now
            asked = retrain_now(conn, model, actor=_person(actor), why=why, now=now, model_time=moment)
        if on_line is not None:
            on_line("asked; a running `flyball up` trains, gates and rolls out the candidate")
        return {"retraining": asked.id, "state": asked.state, "because": asked.because}

    def list_retrainings(self, model: str | None = None, limit: int = 100) -> list[Any]:
        """Retrainings, newest first."""
        from flyball.retraining.retrainings import list_retrainings

        with self.backends.database.read() as conn:
            return list(list_retrainings(conn, model, limit=limit))

    # Governance and upkeep

    def audit_log(self, model: str | None = None, limit: int = 50, before: int | None = None) -> list[Any]:
        """The newest audit entries, newest first."""
        from flyball.governance.journal import list_entries

        with self.backends.database.read() as conn:
            return list(list_entries(conn, model=model, before=before, limit=limit, newest_first=True))

    def audit_verify(self, head: str | None = None) -> Any:
        """Whether the chain of audit entries holds, up to a head noted earlier when one is given."""
        from flyball.governance.verify import parse_head, verify

        with self.backends.database.read() as conn:
            return verify(conn, parse_head(head) if head else None)

    def audit_export(self, path: str) -> int:
        """Write every audit entry to a file, one JSON document a line; returns their number."""
        from flyball.governance.journal import export_entries

        with self.backends.database.read() as conn, Path(path).open("wb") as file:
            count = 0
            for line in export_entries(conn):
                file.write(line)
                count += 1
        return count

    def list_events(self, after: int = 0, limit: int = 100) -> list[Any]:
        """Events in the order of their numbers."""
        from flyball.governance.events import list_events

        with self.backends.database.read() as conn:
            return list(list_events(conn, after=after, limit=limit))

    def once(self, key: str, fingerprint: str, work: Callable[[], dict[str, Any]]) -> Any:
        """The answer of a change asked for under a key, and whether it was given before; see governance."""
        from flyball.governance.request_keys import once

        return once(self.backends.database, self.backends.clock, key, fingerprint, work)

    def status(self) -> dict[str, Any]:
        """What runs, and where state lives."""
        return upkeep.status(self.backends)

    def doctor(self) -> list[dict[str, str]]:
        """Every check of this home's health."""
        return upkeep.doctor(self.backends)

    def _resolve(self, ref: str) -> Any:
        from flyball.registry.versions import resolve

        with self.backends.database.read() as conn:
            return resolve(conn, parse_ref(ref))

    def _model_time(self, conn: Any, model: str) -> datetime | None:
        from flyball.data.model_time import find_clock

        clock = find_clock(conn, model)
        return clock.now(self.backends.clock.now()) if clock else None

    def _publish(self) -> None:
        from flyball.registry.routes import publish_wanted

        publish_wanted(self.backends.database, self.backends.blobs, self.backends.clock.now())


class ControlApp(Flyball):
    """The Flyball object of the control plane's process: with workflow engine, heartbeat and controller."""

    def __init__(self, backends: Backends, serve_url: str | None) -> None:
        super().__init__(backends, serve_url)
        from flyball.operations.control import ControlPlane

        self.control = ControlPlane(backends)

    def start(self) -> None:
        """Launch the engine and begin to turn the loop."""
        self.control.start()

    def close(self) -> None:
        self.control.close()
        super().close()

    def progress(self, model: str) -> dict[str, Any]:
        """How far the loop has come with a model. Raises ModelNotFound."""
        self.get_model(model)
        return self.control.controller.progress(model)

    def get_prediction(self, prediction_id: str) -> dict[str, Any]:
        """As in place, but read by the analysis process: this one holds no table library."""
        answer: dict[str, Any] = self.control.controller.analysis.ask(
            {"command": "prediction", "id": prediction_id}
        )
        return answer

    def recent_predictions(self, model: str, limit: int = 50) -> list[dict[str, Any]]:
        """As in place, read by the analysis process."""
        request = {"command": "recent", "model": model, "limit": limit}
        answer: list[dict[str, Any]] = self.control.controller.analysis.ask(request)
        return answer

    def monitor(self, model: str | None = None) -> list[dict[str, Any]]:
        """The state of every check; the controller analyses by itself."""
        from flyball.operations.monitoring import describe_checks

        return describe_checks(self.backends, model)


@contextmanager
def open_app(folder: Path | None = None) -> Iterator[Flyball]:
    """The local Flyball object of a folder's home (the working folder's, without)."""
    backends = open_backends(read_settings(folder))
    try:
        yield Flyball(backends)
    finally:
        backends.close()


def open_control(settings: Settings, serve_url: str | None) -> ControlApp:
    """The control plane's Flyball object; call `start()` when its servers are ready."""
    return ControlApp(open_backends(settings), serve_url)


def check_bind(host: str, setting: str = ANONYMOUS) -> None:
    """Refuse to listen beyond this machine while there is no login. Raises Refused."""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback and os.environ.get(setting) != "1":
        raise Refused(
            f"{host} is reachable from other machines, and this release has no login: whoever reaches it may do "
            f"everything. Listen on 127.0.0.1, or set {setting}=1 to say that this is what you want",
            host=host,
        )


def serve(*, host: str, port: int, workers: int, models: list[str] | None) -> int:
    """Become the model server's supervisor in this process; returns its exit code."""
    import sys

    arguments = [sys.executable, "-m", "flyball.serving.supervisor", "--host", host, "--port", str(port)]
    os.execv(sys.executable, [*arguments, "--workers", str(workers), *(models or [])])  # noqa: S606 - no shell


def init_project(folder: Path, *, data: Path | None, target: str | None, name: str | None) -> Any:
    """Write a project that runs at once."""
    from flyball.pipelines.init import init_project as write_project

    return write_project(folder, data=data, target=target, name=name)


def check_project(folder: Path, *, explain: bool) -> dict[str, Any]:
    """What is wrong, doubtful or notable about a project, without training."""
    from flyball.operations.checking import check

    return check(folder, explain=explain)


def infer_contract(folder: Path) -> dict[str, Any]:
    """The contract that a project's data suggest, as struct and as TOML."""
    from flyball.operations.checking import infer

    return infer(folder)


def check_contract(folder: Path) -> list[Any]:
    """The violations of a project's contract among its source rows."""
    from flyball.operations.checking import check_rows

    return check_rows(folder)


def project_schema() -> str:
    """The JSON Schema of the project file."""
    import json

    from flyball.pipelines.project_schema import json_schema

    return json.dumps(json_schema(), indent=2)


def connect(url: str | None = None, token: str | None = None) -> Any:
    """A Flyball object: the remote one at `url` (or FLYBALL_URL), else the local one of the working folder."""
    url = url or os.environ.get("FLYBALL_URL")
    if url:
        from flyball.client import Client

        return Client(url, token or os.environ.get("FLYBALL_TOKEN"))
    return Flyball(open_backends(read_settings()))


def run(folder: str | Path = ".", **options: Any) -> Any:
    """Run a project folder's pipeline; see `Flyball.run`."""
    with open_app(Path(folder)) as app:
        return app.run(Path(folder), **options)


def load(ref: str) -> Any:
    """The predictor of a version: `load("credit-default@champion").predict_rows([...])`.

    Loads in this process, so only versions without code of their own; the others raise Refused.
    """
    from flyball.operations.replaying import load_predictor

    with open_app() as app:
        return load_predictor(app.backends, app._resolve(ref))


def _person(actor: Actor | None) -> Actor:
    """Who acts: the person who runs this process, unless a server names somebody it has recognised."""
    from flyball.governance.actors import local_actor

    return local_actor() if actor is None else actor


__all__ = [
    "Conflict",
    "ControlApp",
    "Flyball",
    "ModelRef",
    "connect",
    "load",
    "open_app",
    "open_control",
    "run",
]
