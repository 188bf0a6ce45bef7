"""GitHub, as far as its workflows need it: which jobs run, their matrix, expressions and artifacts."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import yaml
from flyball_tests_hosted import Done, Hosted, git

SAME = "github.event.pull_request.head.repo.full_name == github.repository"


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
