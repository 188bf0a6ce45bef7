"""GitLab, as far as its pipelines need it: which jobs run by their rules, what they extend, and artifacts."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml
from flyball_tests_hosted import Done, Hosted, git


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
