"""The local Flyball object: opens the backends that URLs choose and hands them to the rooms. It decides nothing."""

from __future__ import annotations

import ipaddress
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyball.core.errors import Refused, told_of
from flyball.core.refs import parse_ref
from flyball.core.settings import Settings, read_settings
from flyball.operations.changes import Changes
from flyball.operations.opening import Backends, open_backends

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from flyball.operations.ci.merged import Tested
    from flyball.operations.ci.report import CiReport, ModelTestResult
    from flyball.operations.ci.workflows.files import Workflows
    from flyball.operations.ci.workflows.local import LocalRun
    from flyball.operations.environments.deploying import Deployed
    from flyball.operations.environments.places import Environment
    from flyball.operations.rubric.scoring import Score

ANONYMOUS = "FLYBALL_CONTROL_ANONYMOUS"
ANSWER_SECONDS = 60.0
PATIENCE_SECONDS = 5.0
# How long a request waits for windows to be judged, before its caller is told to ask again.
ASKED_SECONDS = 20.0


class Flyball(Changes):
    """The verbs of one home, in place. Use it as a context manager, or `close()` it."""

    def __enter__(self) -> Flyball:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open."""
        self.backends.close()


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
        return self.control.controller.progress(model)

    def get_prediction(self, prediction_id: str) -> dict[str, Any]:
        """As in place, but read by the analysis process: this one holds no table library."""
        answer: dict[str, Any] = self._ask_analysis({"command": "prediction", "id": prediction_id})
        return answer

    def recent_predictions(self, model: str, limit: int = 50) -> list[dict[str, Any]]:
        """As in place, read by the analysis process."""
        request = {"command": "recent", "model": model, "limit": limit}
        answer: list[dict[str, Any]] = self._ask_analysis(request)
        return answer

    def _ask_analysis(self, request: dict[str, Any]) -> Any:
        # Somebody waits at a page; a turn over many records may take minutes.
        return self.control.controller.analysis.ask(request, ANSWER_SECONDS, PATIENCE_SECONDS)

    def monitor(self, model: str | None = None) -> list[dict[str, Any]]:
        """The state of every check; the controller analyses by itself."""
        from flyball.operations.monitoring import describe_checks

        return describe_checks(self.backends, model)

    def missing_objects(self, digests: Sequence[str]) -> list[str]:
        """Those of the digests of which no object is stored. Raises Refused where versions are not taken."""
        from flyball.operations.environments.receiving import check_taking, list_missing

        check_taking()
        return list_missing(self.backends.blobs, digests)

    def has_object(self, digest: str, size_bytes: int) -> bool:
        """Whether an object of that size is stored under a digest. Raises BadInput, Refused."""
        from flyball.operations.environments.receiving import check_taking, read_digest

        check_taking()
        key = self.backends.blobs.object_key(read_digest(digest))
        return self.backends.blobs.find_size(key) == size_bytes

    def scratch_folder(self) -> AbstractContextManager[Path]:
        """An empty folder of its own until the end of the `with`, or of this process."""
        from flyball.backends.scratch import ScratchFolder

        return ScratchFolder("object")

    def put_object(self, digest: str, path: Path) -> None:
        """Store a file that came under a digest. Raises BadInput when its bytes have another one, Refused."""
        from flyball.operations.environments.receiving import check_taking, take_object

        check_taking()
        take_object(self.backends.blobs, digest, path)

    def take_version(self, model: str, record: str, verdicts: list[dict[str, Any]]) -> dict[str, Any]:
        """Register a version whose objects and record were sent; a repeat changes nothing."""
        from flyball.governance.actors import local_actor
        from flyball.operations.environments.receiving import check_taking, take_version

        check_taking()
        taken = take_version(self.backends, model, record, verdicts, local_actor())
        version = taken.version
        return {
            "model": version.model,
            "version": version.number,
            "digest": version.digest,
            "was_known": taken.was_known,
        }

    def deploy_under(self, ref: str, *, why: str, settings: dict[str, Any]) -> Any:
        """Start the rollout of a version under settings that were sent, or tell how it stands."""
        from flyball.governance.actors import local_actor
        from flyball.operations.environments.receiving import check_taking, deploy_under

        check_taking()
        return deploy_under(self.backends, parse_ref(ref), settings, why=why, actor=local_actor())

    def check_and_wait(
        self, model: str | None = None, *, key: str | None = None, timeout_seconds: float = ASKED_SECONDS
    ) -> list[dict[str, Any]]:
        """As in place, but judged by the controller: this process holds no table library."""
        from flyball.governance.actors import local_actor
        from flyball.operations.monitoring import check_and_wait

        return check_and_wait(
            self.backends,
            model,
            actor=local_actor(),
            key=key,
            timeout_seconds=timeout_seconds,
            may_turn=False,
        )


@contextmanager
def open_app(folder: Path | None = None) -> Iterator[Flyball]:
    """The local Flyball object of a folder's home (the working folder's, without)."""
    backends = open_backends(read_settings(folder))
    try:
        yield Flyball(backends)
    finally:
        backends.close()


@contextmanager
def open_environment(environment: Environment) -> Iterator[Flyball]:
    """The local Flyball object of an environment in place. Raises NotFound where nothing was deployed to it."""
    from flyball.operations.environments.places import open_environment as open_stores

    with open_stores(environment) as backends, told_of(environment.name):
        yield Flyball(backends)


def deploy_to(ref: str, environment: Environment, *, why: str, strategy: str | None) -> Deployed:
    """Take a version to an environment of the working folder's project and start its rollout there."""
    from flyball.governance.actors import local_actor
    from flyball.operations.environments.deploying import deploy_to as deploy
    from flyball.pipelines.project_file import read_project

    file = read_project(Path.cwd(), environment=os.environ)
    return deploy(
        file, parse_ref(ref), environment, os.environ, why=why, strategy=strategy, actor=local_actor()
    )


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


def init_project(
    folder: Path, *, data: Path | None, target: str | None, name: str | None, template: str | None = None
) -> Any:
    """Write a project that runs at once."""
    from flyball.pipelines.init import init_project as write_project

    return write_project(folder, data=data, target=target, name=name, template=template)


def own_tests(folder: Path) -> list[ModelTestResult]:
    """A result per test in the project's folder `tests`; see `flyball test`."""
    from flyball.operations.ci.own_tests import own_tests as run_them

    return run_them(folder)


def score_project(folder: Path) -> Score:
    """The ML Test Score of a project, from its files and its home; nothing is run. See `flyball test --rubric`."""
    from flyball.operations.rubric.scoring import score_project as score
    from flyball.pipelines.project_file import find_project_file, read_project

    file = read_project(find_project_file(folder), environment=os.environ)
    with open_app(file.folder) as app:
        return score(app.backends, file)


def check_project(folder: Path, *, explain: bool) -> dict[str, Any]:
    """What is wrong, doubtful or notable about a project, without training."""
    from flyball.operations.checking import check

    return check(folder, explain=explain)


def check_change(
    folder: Path, *, base: str | None = None, on_line: Callable[[str], None] | None = None
) -> CiReport:
    """What is to be said about a change before it is merged; see `flyball ci`."""
    from flyball.operations.ci.check import check_change as check

    return check(folder, base=base, on_line=on_line)


def check_report_place(path: Path) -> None:
    """Refuse a place that no form of a report fits. Raises BadInput."""
    from flyball.operations.ci.writing import check_place

    check_place(path)


def write_ci_report(report: CiReport, path: Path) -> list[Path]:
    """Write a report: in the form that a file's ending says or, into a folder, in every form. Raises BadInput."""
    from flyball.operations.ci.writing import write_at

    return write_at(report, path)


def post_ci_report(report: CiReport) -> str:
    """Write a report on the change that this CI job runs for; a sentence that tells where, or why not. Never raises."""
    from flyball.operations.ci.posting import post_report, told_of

    return told_of(post_report(report, os.environ))


def post_received_reports(place: Path) -> list[dict[str, str]]:
    """The same for reports that an earlier job wrote to a file or folder: a sentence for each. Never raises."""
    from flyball.operations.ci.posting import post_received

    return post_received(place, os.environ)


def write_workflows(folder: Path, host: str, *, force: bool, only_print: bool) -> Workflows:
    """Write a code host's workflows into a folder's repository; see `flyball ci init`."""
    from flyball.operations.ci.workflows.files import write_workflows as write

    return write(folder, host, os.environ, force=force, only_print=only_print)


def check_locally(
    folder: Path, *, report: Path | None, base: str | None, on_line: Callable[[str], None]
) -> LocalRun:
    """Run the steps of a pull request's jobs in a clean clone and environment; see `flyball ci --local`."""
    from flyball.operations.ci.workflows.local import run_locally

    return run_locally(folder, os.environ, base=base, report=report, on_line=on_line)


def find_tested(folder: Path, report: Path) -> Tested:
    """The version that a check's report is about, and where a merge deploys it; see `flyball ci deploy`."""
    from flyball.operations.ci.merged import find_tested as find

    return find(folder, report, os.environ)


def read_named(files: Sequence[Path]) -> list[Any]:
    """What deployments files ask for, without opening a home; see `flyball plan --offline`."""
    from flyball.operations.planning.offline import read_named as read

    return list(read(files))


def infer_contract(folder: Path) -> dict[str, Any]:
    """The contract that a project's data suggest, as struct and as TOML."""
    from flyball.operations.checking import infer

    return infer(folder)


def check_contract(folder: Path) -> list[Any]:
    """The violations of a project's contract among its source rows."""
    from flyball.operations.checking import check_rows

    return check_rows(folder)


def project_schema() -> dict[str, Any]:
    """The JSON Schema of the project file."""
    from flyball.pipelines.project_schema import json_schema

    return json_schema()


def open_here() -> Flyball:
    """The local Flyball object of the working folder; close it when done."""
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
        return load_predictor(app.backends, app.resolve(parse_ref(ref)))
