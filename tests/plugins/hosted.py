"""Code hosts that run the workflows in a repository: real Git, a clone and an empty home per job, bash as it stands.

What a host does with a file is kept small here: which jobs run, what their few expressions mean, and which files go
from job to job. The lines of the steps run as they stand, but for the installation, in whose place the environment of
the tests is put on PATH. An expression that the tables do not know fails the test.
"""

from __future__ import annotations

import json
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PROJECT = """
[[gates]]
metric = "mae"
max = 1.0
[environments.staging]
[environments.staging.rollout]
strategy = "immediate"
"""


def git(folder: Path, *arguments: str) -> str:
    """As the fixtures of repositories do; by name, because this file is loaded before theirs."""
    return str(sys.modules["flyball_tests_repositories"].git(folder, *arguments))


class Done:
    """How a job ended: its exit code (that of the first step that failed), what it printed, the reports it left."""

    def __init__(self, name: str) -> None:
        self.name, self.code, self.printed = name, 0, ""
        self.environment, self.given_secrets = "", False
        self.kept: Path | None = None
        self.reports: list[dict[str, Any]] = []

    def keep(self, folder: Path) -> None:
        self.reports += [json.loads(path.read_text()) for path in sorted(folder.rglob("report.json"))]


class Hosted(ABC):
    """A repository on a host of one kind, with a store that all jobs share and an environment to deploy to."""

    def __init__(self, kind: str, folder: Path, comments: Any) -> None:
        self.kind, self.folder, self.comments = kind, folder, comments
        self.remote, self.work = folder / "remote.git", folder / "author"
        self.project = self.work / "models" / "a line"
        self.number = 0
        self.variables = {
            "FLYBALL_OBJECTS": f"file://{folder / 'store'}",
            "FLYBALL_STAGING_OBJECTS": f"file://{folder / 'staging' / 'objects'}",
        }
        self.secrets = {"FLYBALL_STAGING_DATABASE": f"sqlite:///{folder / 'staging' / 'flyball.db'}"}
        (folder / "staging").mkdir()
        git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(self.remote))
        git(folder, "clone", "--quiet", str(self.remote), str(self.work))
        git(self.work, "checkout", "--quiet", "-B", "main")

    def flyball(self, *arguments: str, cwd: Path | None = None, **variables: str) -> Any:
        """What a command answers in JSON, in the author's clone."""
        done = subprocess.run(
            [Path(sys.executable).parent / "flyball", *arguments, "--json"],
            cwd=cwd or self.project, check=False, capture_output=True, text=True, timeout=120,
            env=self.environment(self.folder / "author-home", **variables),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def staging(self, *arguments: str) -> Any:
        """What a command about the environment `staging` answers."""
        home = self.folder / "asking"
        return self.flyball(
            *arguments, "--env", "staging", FLYBALL_HOME=str(home), **self.secrets, **self.variables
        )

    def champion(self) -> str:
        """The digest that is in service in staging; read in this process, for it is asked often."""
        from flyball.core.refs import ModelRef
        from flyball.registry.versions import resolve

        with self._staging() as backends, backends.database.read() as conn:
            return str(resolve(conn, ModelRef("line", alias="champion")).digest)

    def reasons(self) -> list[str]:
        """Why what is in service in staging came there, oldest first."""
        from flyball.registry.aliases import list_history

        with self._staging() as backends, backends.database.read() as conn:
            return [entry.why for entry in list_history(conn, "line")]

    @contextmanager
    def _staging(self) -> Iterator[Any]:
        from flyball.core.settings import settings_at
        from flyball.operations.opening import open_backends

        database = self.secrets["FLYBALL_STAGING_DATABASE"]
        objects = self.variables["FLYBALL_STAGING_OBJECTS"]
        backends = open_backends(settings_at(self.folder / "asking", database, objects))
        try:
            yield backends
        finally:
            backends.close()

    def commit(self, why: str) -> str:
        git(self.work, "add", "--all")
        git(self.work, "commit", "--quiet", "--message", why)
        return git(self.work, "rev-parse", "HEAD")

    def branch(self, name: str) -> None:
        git(self.work, "checkout", "--quiet", "-B", name, "origin/main")

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """What a fresh runner has: no variable of the tests, an empty home."""
        home.mkdir(parents=True, exist_ok=True)
        path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        return {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "CI": "true", **more}

    def propose(self, *, fork: bool = False) -> dict[str, Done]:
        """Push the author's branch as a change of main; its jobs by name."""
        self.number += 1
        branch = git(self.work, "branch", "--show-current")
        git(self.work, "push", "--quiet", "--force", "origin", branch)
        return self._run_change(branch, fork)

    def merge(self) -> dict[str, Done]:
        """Push the author's branch to main; its jobs by name."""
        git(self.work, "fetch", "--quiet", "origin")
        before = self._tip("main")
        git(self.work, "push", "--quiet", "origin", "HEAD:main")
        git(self.work, "fetch", "--quiet", "origin")
        return self._run_merge(before)

    def push(self) -> None:
        """Push the author's branch to main, and run nothing."""
        git(self.work, "push", "--quiet", "--force", "origin", "HEAD:main")
        git(self.work, "fetch", "--quiet", "origin")

    def by_hand(self, action: str, why: str) -> dict[str, Done]:
        """Ask for something about the model in staging; its jobs by name."""
        asked = {"action": action, "model": "line", "environment": "staging", "why": why}
        return self._run_by_hand(asked)

    def watch(self) -> dict[str, Done]:
        """The night's schedule; its jobs by name."""
        return self._run_schedule()

    def _tip(self, branch: str) -> str:
        found = git(self.remote, "for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")
        return found or "0" * 40

    @abstractmethod
    def _run_change(self, branch: str, fork: bool) -> dict[str, Done]:
        """Run what the host runs for a pull or merge request; its jobs by name."""

    @abstractmethod
    def _run_merge(self, before: str) -> dict[str, Done]:
        """Run what the host runs for a push to the default branch; its jobs by name."""

    @abstractmethod
    def _run_by_hand(self, asked: dict[str, str]) -> dict[str, Done]:
        """Run what the host runs when a person asks; its jobs by name."""

    @abstractmethod
    def _run_schedule(self) -> dict[str, Done]:
        """Run what the host runs by its clock; its jobs by name."""

    def run_bash(self, done: Done, run: str, folder: Path, environment: dict[str, str]) -> int:
        """One step: its exit code; what it prints is kept."""
        ended = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", run],
            cwd=folder, env=environment, check=False, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        done.printed += ended.stdout + ended.stderr
        return ended.returncode


def _begin(hosted: Hosted) -> dict[str, Done]:
    """A project, its lock and the host's workflows, pushed to main: the first deployment."""
    runs = sys.modules["flyball_tests_runs"]
    hosted.project.mkdir(parents=True)
    (hosted.project / "train.py").write_text(runs.LINE)
    (hosted.project / "rows.csv").write_text(runs.make_rows())
    (hosted.project / "flyball.toml").write_text(runs.TOML.format(name="line", more=PROJECT))
    (hosted.work / "requirements.lock").write_text("flyball==0.1 --hash=sha256:00\n")
    hosted.flyball("ci", "init", hosted.kind)
    hosted.commit("the first model")
    return hosted.merge()


@pytest.fixture(scope="module")
def hosted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    """Each host with workflows, with a repository whose first model is deployed; `first`: the jobs that did it."""
    folder = tmp_path_factory.mktemp(request.param)
    comments = sys.modules["flyball_tests_code_hosts"].CodeHost(request.param, folder)
    kind = {"github": "GitHub", "gitlab": "GitLab"}[request.param]  # by name: it is loaded after this file
    made = getattr(sys.modules[f"flyball_tests_hosted_{request.param}"], kind)(
        request.param, folder, comments
    )
    made.first = _begin(made)
    yield made
    comments.close()
