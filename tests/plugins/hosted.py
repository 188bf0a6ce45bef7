"""Code hosts that run the workflows in a repository: real Git, a clone and an empty home per job, bash as it stands.

What a host does with a file is kept small here: which jobs run, what their few expressions mean, and which files go
from job to job. The lines of the steps run as they stand, but for the installation, in whose place the environment of
the tests is put on PATH. An expression that the tables do not know fails the test.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

SAME = "github.event.pull_request.head.repo.full_name == github.repository"
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


class GitHub(Hosted):
    """Runs the workflows in `.github/workflows`."""

    def _run_change(self, branch: str, fork: bool) -> dict[str, Done]:
        # What is checked is the change merged into its base, which GitHub makes for each pull request.
        place = self.folder / f"merge-{self.number}"
        git(self.folder, "clone", "--quiet", str(self.remote), str(place))
        base = git(place, "rev-parse", "origin/main")
        git(place, "checkout", "--quiet", "--detach", "origin/main")
        git(place, "merge", "--quiet", "--no-ff", "-m", "merged", f"origin/{branch}")
        git(place, "push", "--quiet", "origin", f"HEAD:refs/pull/{self.number}/merge")
        event = {"pull_request": {"number": 7}}
        known = {
            "github.event.pull_request.base.sha": base,
            f"{SAME} && vars.FLYBALL_OBJECTS || vars.PUBLIC_OBJECTS": ""
            if fork
            else self.variables["FLYBALL_OBJECTS"],
            f"{SAME} && 'read-write' || 'read'": "read" if fork else "read-write",
        }
        more = {"GITHUB_BASE_REF": "main", "GITHUB_HEAD_REF": branch}
        known[f"{SAME.replace('==', '!=')} && '1' || ''"] = "1" if fork else ""
        known[f"{SAME} && vars.FLYBALL_OBJECTS || ''"] = "" if fork else self.variables["FLYBALL_OBJECTS"]
        return self._run("flyball.yml", f"refs/pull/{self.number}/merge", event, known, more, fork=fork)

    def _run_merge(self, before: str) -> dict[str, Done]:
        known = {"github.event.before": before}
        return self._run("flyball-merge.yml", "refs/heads/main", {}, known, {})

    def _run_by_hand(self, asked: dict[str, str]) -> dict[str, Done]:
        known = {f"inputs.{name}": value for name, value in asked.items()} | {"github.actor": "ann"}
        return self._run("flyball-by-hand.yml", "refs/heads/main", {}, known, {})

    def _run_schedule(self) -> dict[str, Done]:
        known = {"github.run_id": str(self.number)}
        return self._run("flyball-schedule.yml", "refs/heads/main", {}, known, {})

    def _run(
        self, file: str, ref: str, event: Any, known: dict[str, str], more: dict[str, str], fork: bool = False
    ) -> dict[str, Done]:
        text = git(self.remote, "show", f"{ref}:.github/workflows/{file}")
        self.place = self.folder / f"run-{len(list(self.folder.glob('run-*')))}"
        self.place.mkdir()
        (self.place / "event.json").write_text(json.dumps(event))
        comments = self.comments.environment()
        self.runner = {
            **more,
            **{name: comments[name] for name in ("GITHUB_ACTIONS", "GITHUB_API_URL", "GITHUB_REPOSITORY")},
            "GITHUB_EVENT_PATH": str(self.place / "event.json"),
            "GITHUB_REF": ref,
            "GITHUB_RUN_ID": str(self.number + 1000),
            "GITHUB_SERVER_URL": "https://code.example",
            "FLYBALL_EGRESS": comments["FLYBALL_EGRESS"],
        }
        self.known = {
            **known,
            "github.ref": ref,
            "github.sha": git(self.remote, "rev-parse", ref),
            "github.token": "" if fork else comments["GITHUB_TOKEN"],
            "secrets.PROPOSALS_TOKEN || github.token": comments["GITHUB_TOKEN"],
        }
        self.ref, self.fork, self.outputs, self.results = ref, fork, {}, {}
        ended: dict[str, Done] = {}
        for name, job in yaml.safe_load(text)["jobs"].items():
            if not self._is_wanted(job.get("if")):
                self.results[name] = "skipped"
                continue
            rows = (
                json.loads(self._filled(job["strategy"]["matrix"]["include"])) if "strategy" in job else [{}]
            )
            codes = []
            for index, row in enumerate(rows):
                done = self._job(name, job, row, index)
                ended[" ".join([name, *(row[key] for key in ("model", "environment") if key in row)])] = done
                codes.append(done.code)
            self.results[name] = "failure" if any(codes) else "success"
        return ended

    def _is_wanted(self, condition: str | None) -> bool:
        if condition is None:
            return True
        posts = f"!cancelled() && needs.check.result != 'skipped' && {SAME}"
        found = self.outputs.get("affected", {})
        works = self.results.get("affected") == "success"
        late = (
            "!cancelled() && needs.affected.result == 'success' && needs.affected.outputs.deployments != '[]'"
        )
        meaning = {
            "needs.affected.outputs.models != '[]'": lambda: works and found["models"] != "[]",
            "needs.affected.outputs.deployments != '[]'": lambda: works and found["deployments"] != "[]",
            late: lambda: works and found["deployments"] != "[]",
            posts: lambda: self.results["check"] != "skipped" and not self.fork,
            "vars.FLYBALL_OBJECTS == ''": lambda: not self.variables["FLYBALL_OBJECTS"],
        }
        return bool(meaning[condition.removeprefix("${{ ").removesuffix(" }}")]())

    def _value(self, expression: str, row: dict[str, str], index: int, temp: Path) -> str:
        kind, _, name = expression.partition(".")
        if expression in self.known:
            return self.known[expression]
        if kind == "vars":
            return self.variables.get(name, "")
        if kind == "secrets":
            return "" if self.fork else self.secrets.get(name, "")
        return {
            "runner.temp": str(temp),
            "strategy.job-index": str(index),
            "fromJSON(needs.affected.outputs.models)": self.outputs.get("affected", {}).get("models", ""),
            "fromJSON(needs.affected.outputs.deployments)": self.outputs.get("affected", {}).get(
                "deployments", ""
            ),
            "matrix.environment": row.get("environment", ""),
            "matrix.folder": row.get("folder", ""),
            "matrix.model": row.get("model", ""),
        }[expression]

    def _filled(self, text: Any, row: Any = (), index: int = 0, temp: Path = Path()) -> str:
        def fill(found: re.Match[str]) -> str:
            return self._value(found[1], dict(row), index, temp)

        return re.sub(r"\$\{\{ (.*?) \}\}", fill, str(text))

    def _job(self, name: str, job: Any, row: dict[str, str], index: int) -> Done:
        done, place = Done(name), self.place / f"{name}-{index}"
        done.environment = self._filled(job.get("environment", ""), row)
        temp, checkout = place / "temp", place / "checkout"
        temp.mkdir(parents=True)
        for step in job["steps"]:
            is_always = step.get("if") == "always()"
            if (done.code and not is_always) or (not is_always and not self._is_wanted(step.get("if"))):
                continue
            given = {
                key: self._filled(value, row, index, temp) for key, value in step.get("with", {}).items()
            }
            if "uses" in step:
                self._use(step["uses"], given, checkout)
                continue
            if step["name"] == "Install what the lock names":
                (temp / "flyball").mkdir(exist_ok=True)
                continue
            assert step["shell"] == "bash" and "${{" not in step["run"]
            output = temp / "output"
            environment = self.environment(
                place / "home",
                **self.runner,
                GITHUB_OUTPUT=str(output),
                GITHUB_STEP_SUMMARY=str(place / "summary.md"),
                **{key: self._filled(value, row, index, temp) for key, value in step.get("env", {}).items()},
            )
            code = self.run_bash(done, step["run"], checkout, environment)
            done.code = done.code or code
            if step.get("id") == "matrix" and code == 0:
                self.outputs[name] = dict(line.split("=", 1) for line in output.read_text().splitlines())
            done.given_secrets |= any(value in environment.values() for value in self.secrets.values())
        done.kept = temp / "flyball" / "reports"
        done.keep(temp / "flyball" / "report")
        done.summary = (place / "summary.md").read_text() if (place / "summary.md").exists() else ""
        return done

    def _use(self, uses: str, given: dict[str, str], checkout: Path) -> None:
        action = uses.partition("@")[0]
        kept = self.place / "artifacts"
        if action == "actions/checkout":
            assert given["persist-credentials"] == "False"
            git(self.folder, "clone", "--quiet", "--no-checkout", str(self.remote), str(checkout))
            git(checkout, "fetch", "--quiet", "origin", given.get("ref", self.ref))
            git(checkout, "checkout", "--quiet", "--detach", "FETCH_HEAD")
        elif action == "actions/upload-artifact" and Path(given["path"]).is_dir():
            shutil.copytree(given["path"], kept / given["name"])
        elif action == "actions/download-artifact" and kept.is_dir():
            shutil.copytree(kept, given["path"])
        else:
            assert action in ("astral-sh/setup-uv", "actions/upload-artifact", "actions/download-artifact")


class GitLab(Hosted):
    """Runs the pipeline in `.gitlab-ci.yml`."""

    def _run_change(self, branch: str, fork: bool) -> dict[str, Done]:
        comments = self.comments.environment()
        known = {
            "CI_PIPELINE_SOURCE": "merge_request_event",
            "CI_MERGE_REQUEST_PROJECT_ID": "42",
            "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "43" if fork else "42",
            "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
            "CI_MERGE_REQUEST_IID": comments["CI_MERGE_REQUEST_IID"],
        }
        changed = git(self.remote, "diff", "--name-only", f"main...{branch}").splitlines()
        return self._run(f"refs/heads/{branch}", known, changed, {} if fork else self.secrets)

    def _run_merge(self, before: str) -> dict[str, Done]:
        known = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main", "CI_COMMIT_BEFORE_SHA": before}
        start = before if before.strip("0") else git(self.remote, "hash-object", "-t", "tree", "/dev/null")
        return self._run(
            "refs/heads/main", known, git(self.remote, "diff", "--name-only", start, "main").splitlines()
        )

    def _run_by_hand(self, asked: dict[str, str]) -> dict[str, Done]:
        known = {"CI_PIPELINE_SOURCE": "web", "CI_COMMIT_BRANCH": "main", "GITLAB_USER_LOGIN": "ann"}
        return self._run("refs/heads/main", {**known, **{name.upper(): asked[name] for name in asked}})

    def _run_schedule(self) -> dict[str, Done]:
        return self._run("refs/heads/main", {"CI_PIPELINE_SOURCE": "schedule"})

    def _run(
        self,
        ref: str,
        known: dict[str, str],
        changed: Iterable[str] = (),
        secrets: dict[str, str] | None = None,
    ) -> dict[str, Done]:
        pipeline = yaml.safe_load(git(self.remote, "show", f"{ref}:.gitlab-ci.yml"))
        files = git(self.remote, "ls-tree", "-r", "--name-only", ref).splitlines()
        place = self.folder / f"run-{len(list(self.folder.glob('run-*')))}"
        comments = self.comments.environment()
        runner = {
            **known,
            **{name: comments[name] for name in ("GITLAB_CI", "CI_API_V4_URL", "CI_PROJECT_ID")},
            "CI_PIPELINE_ID": str(self.number + 1000),
            "CI_DEFAULT_BRANCH": "main",
            "CI_COMMIT_SHA": git(self.remote, "rev-parse", ref),
            "CI_PIPELINE_URL": "https://code.example/pipelines/1",
            "FLYBALL_EGRESS": comments["FLYBALL_EGRESS"],
            **self.variables,
            **(self.secrets if secrets is None else secrets),
        }
        ended: dict[str, Done] = {}
        for name, own in pipeline.items():
            rules = own.get("rules", [])
            rule = next((rule for rule in rules if _applies(rule, runner, changed, files)), None)
            awaited = [need["job"] for need in own["needs"]] if "needs" in own else list(ended)
            failed = any(ended[one].code for one in awaited if one in ended)
            if rule is None or (failed and rule.get("when") != "always"):
                continue
            job = {**pipeline[own["extends"]], **own}
            job["variables"] = {
                **pipeline[own["extends"]]["variables"],
                **own.get("variables", {}),
                **rule.get("variables", {}),
            }
            given = dict(runner)
            scope = (own.get("environment") or {}).get("name")
            if scope in ("flyball/report", "flyball/propose"):  # the scopes of the token
                given["GITLAB_TOKEN"] = comments["GITLAB_TOKEN"]
            ended[name] = self._job(name, job, ref, given, place)
            ended[name].environment = scope or ""
        return ended

    def _job(self, name: str, job: Any, ref: str, runner: dict[str, str], place: Path) -> Done:
        done, builds = Done(name), place / name
        checkout = builds / "checkout"
        builds.mkdir(parents=True)
        git(self.folder, "clone", "--quiet", "--no-checkout", str(self.remote), str(checkout))
        git(checkout, "fetch", "--quiet", "origin", ref)
        git(checkout, "checkout", "--quiet", "--detach", "FETCH_HEAD")
        if job.get("needs") and (place / "artifacts").is_dir():
            shutil.copytree(place / "artifacts", checkout, dirs_exist_ok=True)
        environment = self.environment(builds / "home", **runner, CI_BUILDS_DIR=str(builds), CI_JOB_ID="9")
        for key, value in job["variables"].items():
            environment[key] = re.sub(r"\$(\w+)", lambda found: environment.get(found[1], ""), value)
        lines = [line for line in [*job["before_script"], *job["script"]] if not _installs(line)]
        done.given_secrets = any(value in environment.values() for value in self.secrets.values())
        made = 'mkdir -p "$WORK"\n'
        done.code = self.run_bash(done, made + "\n".join(lines), checkout, environment)
        self.run_bash(done, "\n".join(job["after_script"]), checkout, environment)
        if "artifacts" in job and (checkout / "flyball-report").is_dir():
            shutil.copytree(checkout / "flyball-report", place / "artifacts" / "flyball-report")
            done.keep(checkout / "flyball-report")
        return done


def _installs(line: str) -> bool:
    return 'uv venv --quiet --clear "$WORK/venv"' in line


def _applies(
    rule: dict[str, Any], known: dict[str, str], changed: Iterable[str], files: Iterable[str]
) -> bool:
    """Whether a rule of GitLab adds a job: all that it asks for holds."""
    return (
        _holds(rule["if"], known)
        and ("changes" not in rule or _any(rule["changes"], changed))
        and ("exists" not in rule or _any(rule["exists"], files))
    )


def _any(patterns: Iterable[str], paths: Iterable[str]) -> bool:
    """Whether a path is of a pattern; `**/` stands for no folder, too."""
    names = [name for pattern in patterns for name in (pattern, pattern.replace("**/", ""))]
    return any(fnmatch(path, name) for path in paths for name in names)


def _holds(rule: str, known: dict[str, str]) -> bool:
    """Whether a rule of GitLab holds: parts with `&&`, each a variable, or two values that are (not) equal."""

    def value(word: str) -> str:
        return known.get(word.removeprefix("$"), "") if word.startswith("$") else json.loads(word)

    for part in rule.split(" && "):
        words = part.split(" ")
        if len(words) == 1:
            if not value(words[0]):
                return False
        elif (value(words[0]) == value(words[2])) is not {"==": True, "!=": False}[words[1]]:
            return False
    return True


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
    made = {"github": GitHub, "gitlab": GitLab}[request.param](request.param, folder, comments)
    made.first = _begin(made)
    yield made
    comments.close()
