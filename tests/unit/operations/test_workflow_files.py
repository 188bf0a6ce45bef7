"""The workflows that `flyball ci init` writes: valid for their host, linted, pinned, and never over somebody's file."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from flyball_tests_repositories import git

from flyball.operations.ci.workflows import steps
from flyball.operations.ci.workflows.hosts import HOSTS

SCHEMAS = {
    "github": "vendor.github-workflows",
    "gitlab": "vendor.gitlab-ci",
    "azure": "vendor.azure-pipelines",
}
PROJECT = """\
[model]
name = "{name}"
task = "regression"
target = "y"
[data]
source = "rows.csv"
[train]
entry = "train:train"
{more}"""
ENVIRONMENTS = '[environments.eu-staging]\n[environments.production]\nafter = "eu-staging"\n'
EVERY_STEP = [step for step in vars(steps).values() if isinstance(step, steps.Step)]
POSTS = {"pull-requests": "write"}
PROPOSES = {"contents": "write", "pull-requests": "write"}
RUNNING = ('flyball ci "./', "flyball retrain", "flyball monitor", "flyball test")
ODD = ("a", "with space", 'it\'s "odd"', "$(touch pwned)", "-dash", "umläut;x")


@pytest.fixture
def repository(tmp_path: Path) -> Callable[..., Path]:
    """Makes a repository with projects in these folders."""

    def make(*folders: str, more: str = "", lock: str | None = "requirements.lock") -> Path:
        root = tmp_path / "repository"
        for number, folder in enumerate(folders):
            (root / folder).mkdir(parents=True)
            (root / folder / "flyball.toml").write_text(PROJECT.format(name=f"model-{number}", more=more))
        if lock is not None:
            (root / lock).write_text("flyball==1 --hash=sha256:00\n")
        git(root, "init", "--quiet", "--initial-branch=trunk", ".")
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "--message", "projects")
        return root

    return make


def tool(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [Path(sys.executable).parent / name, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def written(said: Any, root: Path) -> dict[str, str]:
    assert said.code == 0, said.err
    return {file["path"]: (root / file["path"]).read_text() for file in said.json()["files"]}


def runs(document: Any) -> Iterator[str]:
    """Every piece of bash in a workflow, wherever a host keeps it."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key in ("run", "bash"):
                yield value
            elif key in ("script", "before_script", "after_script"):
                yield from value
            else:
                yield from runs(value)
    elif isinstance(document, list):
        for item in document:
            yield from runs(item)


def bash_of(path: str, text: str) -> list[str]:
    if path.startswith("Jenkinsfile"):
        found = re.findall(r"sh '''(.*?)'''", text, re.DOTALL)
        return [piece.replace("\\\\", "\\") for piece in found]
    return list(runs(yaml.safe_load(text)))


@pytest.mark.parametrize("host", HOSTS)
def test_the_files_of_each_host_are_valid_and_their_bash_can_be_read_and_holds_no_expression_of_the_host(
    host: str, repository: Callable[..., Path], command: Callable[..., Any]
):
    root = repository(*ODD, more=ENVIRONMENTS)
    files = written(command("ci", "init", host, "--json", cwd=root), root)
    hooks = files.pop(".pre-commit-config.yaml")
    assert len(yaml.safe_load(hooks)["repos"][0]["hooks"]) == len(ODD)
    if host in SCHEMAS:
        more = ["--data-transform", "azure-pipelines", "--regex-variant", "python"] if host == "azure" else []
        tool(
            "check-jsonschema",
            "--builtin-schema",
            SCHEMAS[host],
            *more,
            *(str(root / path) for path in files),
        )
    count = 0
    for path, text in files.items():
        for run in bash_of(path, text):
            done = subprocess.run(
                ["bash", "-n"], check=False, input=run, capture_output=True, text=True, timeout=20
            )
            assert done.returncode == 0, done.stderr + run
            assert "${{" not in run and "$[" not in run and not re.search(r"\$\([A-Z][A-Za-z.]*\)", run)
            assert not any(folder in run for folder in ODD[1:])
            count += 1
    assert count >= 7
    text = "\n".join(files.values())
    for used in re.findall(r"(?:uses|image|container): *(\S+)|image '(\S+)'", text):
        pin = used[0] or used[1]
        assert re.search(r"@[0-9a-f]{40}$|@sha256:[0-9a-f]{64}$", pin), pin
    if host in ("github", "azure"):  # the others hand all variables over by themselves
        assert "FLYBALL_EU_STAGING_DATABASE" in text


def test_zizmor_finds_nothing_in_the_workflows_of_github(
    repository: Callable[..., Path], command: Callable[..., Any]
):
    root = repository("a", "b", more=ENVIRONMENTS)
    assert command("ci", "init", "github", cwd=root).code == 0
    said = tool("zizmor", "--offline", "--persona=pedantic", str(root / ".github" / "workflows"))
    assert "No findings to report" in said


def test_least_permissions_and_a_limit_of_time_stand_at_each_job_of_github(
    repository: Callable[..., Path], command: Callable[..., Any]
):
    root = repository("a")
    for path, text in written(command("ci", "init", "github", "--json", cwd=root), root).items():
        document = yaml.safe_load(text)
        if path.startswith(".pre-commit"):
            continue
        assert document["permissions"] == {} and "pull_request_target" not in text
        for name, job in document["jobs"].items():
            assert job["timeout-minutes"] <= 240
            more = {"post": POSTS, "propose": PROPOSES}.get(name, {})
            assert job["permissions"] == {"contents": "read", **more}, name
            holders = [step for step in job["steps"] if "github.token" in json.dumps(step)]
            asked = {"post": [steps.POST.run], "propose": [steps.PROPOSE.run]}.get(name, [])
            assert [step["run"] for step in holders] == asked
            if name in ("post", "propose", "plan", "apply", "drift"):  # nothing of the project is run there
                assert not any(said in step.get("run", "") for step in job["steps"] for said in RUNNING)
    merge = yaml.safe_load((root / ".github/workflows/flyball-merge.yml").read_text())
    assert merge[True]["push"]["branches"] == ["trunk"]
    assert not merge["jobs"]["deploy"]["concurrency"]["cancel-in-progress"]
    apply = merge["jobs"]["apply"]
    assert apply["environment"] == "${{ matrix.environment }}"
    assert apply["concurrency"] == {
        "group": "flyball-apply-${{ matrix.environment }}",
        "cancel-in-progress": False,
    }


def test_the_plan_of_a_change_installs_nothing_of_it_and_gets_secrets_of_the_environments_alone(
    repository: Callable[..., Path], command: Callable[..., Any]
):
    root = repository("a", more=ENVIRONMENTS)
    files = written(command("ci", "init", "github", "--json", cwd=root), root)
    job = yaml.safe_load(files[".github/workflows/flyball.yml"])["jobs"]["plan"]
    named = [step["name"] for step in job["steps"] if "run" in step]
    assert named == [one.name for one in (steps.BASE, steps.INSTALL, steps.CHANGE, steps.PLAN)]
    (plan,) = (step for step in job["steps"] if step["name"] == steps.PLAN.name)
    assert {name for name, value in plan["env"].items() if "secrets." in value} == {
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "FLYBALL_DATABASE", "FLYBALL_EU_STAGING_DATABASE",
        "FLYBALL_PRODUCTION_DATABASE",
    }  # fmt: skip
    assert not any("secrets." in json.dumps(step) for step in job["steps"] if step is not plan)


def test_gitlab_has_a_job_for_the_files_of_each_environment_and_one_for_the_rest(
    repository: Callable[..., Path], command: Callable[..., Any]
):
    root = repository("a", more=ENVIRONMENTS)
    files = written(command("ci", "init", "gitlab", "--json", cwd=root), root)
    document = yaml.safe_load(files[".gitlab-ci.yml"])
    jobs = {name: job for name, job in document.items() if name.startswith("flyball-apply")}
    assert {name: job.get("environment", {}).get("name") for name, job in jobs.items()} == {
        "flyball-apply-eu-staging": "eu-staging",
        "flyball-apply-production": "production",
        "flyball-apply": None,
    }
    assert jobs["flyball-apply"]["variables"]["APART"] == "eu-staging production"
    assert all(job["resource_group"] == name for name, job in jobs.items())
    assert document["flyball-propose"]["environment"]["name"] == "flyball/propose"


@pytest.mark.parametrize(
    ("step", "given", "listed"),
    [
        (steps.DEPLOYMENTS_OF, {"ENVIRONMENT": "eu"}, ["b $(touch pwned).toml", "a.toml"]),
        (steps.DEPLOYMENTS_OF, {"ENVIRONMENT": ""}, ["here.toml"]),
        (steps.DEPLOYMENTS_OF, {"ENVIRONMENT": "e"}, []),
        (steps.DEPLOYMENTS_LEFT, {"APART": "eu us"}, ["here.toml"]),
        (steps.DEPLOYMENTS_LEFT, {"APART": ""}, ["b $(touch pwned).toml", "a.toml", "here.toml"]),
    ],
)
def test_each_job_lists_the_deployments_files_that_are_its_own(
    step: steps.Step, given: dict[str, str], listed: list[str], tmp_path: Path
):
    rows = [
        {"environment": "eu", "files": ["b $(touch pwned).toml", "a.toml"]},
        {"environment": None, "files": ["here.toml"]},
    ]
    (tmp_path / "affected.json").write_text(json.dumps({"deployments": rows}))
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "WORK": str(tmp_path), **given}
    subprocess.run(["bash", "-e", "-c", step.run], cwd=tmp_path, env=environment, check=True, timeout=60)
    assert (tmp_path / "deployments").read_text().split("\0")[:-1] == listed
    assert not (tmp_path / "pwned").exists()


def test_a_step_reads_no_variable_that_it_is_not_given():
    own = {"GITHUB_ACTIONS", "GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STEP_SUMMARY", "PATH"}
    every = [step for step in vars(steps).values() if isinstance(step, steps.Step)]
    assert len(every) >= 10
    for step in every:
        read = set(re.findall(r"\$\{?([A-Z][A-Z_]*)", step.run)) - own
        made = set(re.findall(r"^ *([A-Z][A-Z_]*)=", step.run, re.MULTILINE))
        made |= set(re.findall(r"read -r ([A-Z]+)", step.run))
        assert read - made <= set(step.variables), step.name


def test_a_file_that_says_something_else_is_kept_and_force_writes_over_it(
    repository: Callable[..., Path], command: Callable[..., Any]
):
    root = repository("a")
    theirs = root / ".github" / "workflows" / "flyball.yml"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("name: ours\n")
    said = command("ci", "init", "github", cwd=root)
    assert said.code == 2 and ".github/workflows/flyball.yml would be overwritten" in said.err
    assert theirs.read_text() == "name: ours\n" and len(list(theirs.parent.iterdir())) == 1
    assert "name: Flyball\n" in command("ci", "init", "github", "--print", cwd=root).out
    assert theirs.read_text() == "name: ours\n"
    assert command("ci", "init", "github", "--force", cwd=root).code == 0
    again = command("ci", "init", "github", "--json", cwd=root).json()
    assert {file["state"] for file in again["files"]} == {"kept"} and "name: Flyball" in theirs.read_text()


def test_a_pipeline_of_their_own_is_told_how_to_include_ours_and_hooks_of_their_own_stay(
    repository: Callable[..., Path], command: Callable[..., Any]
):
    root = repository("a")
    (root / ".gitlab-ci.yml").write_text("test:\n  script: make test\n")
    (root / ".pre-commit-config.yaml").write_text("repos: []\n")
    said = command("ci", "init", "gitlab", cwd=root)
    assert said.code == 0 and "wrote .gitlab/flyball.yml" in said.out, said.err
    assert "- local: /.gitlab/flyball.yml" in said.out and "id: flyball-check" in said.out
    assert (root / ".gitlab-ci.yml").read_text() == "test:\n  script: make test\n"
    assert (root / ".pre-commit-config.yaml").read_text() == "repos: []\n"


def test_a_link_out_of_the_repository_is_not_written_through(
    repository: Callable[..., Path], command: Callable[..., Any], tmp_path: Path
):
    root = repository("a")
    (tmp_path / "elsewhere").mkdir(exist_ok=True)
    (root / ".github").symlink_to(tmp_path / "elsewhere")
    said = command("ci", "init", "github", "--force", cwd=root)
    assert said.code == 2 and "leads out of the repository" in said.err
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_is_left_to_do_names_missing_locks_hashes_and_stores(
    repository: Callable[..., Path], command: Callable[..., Any]
):
    root = repository("a", "b", lock=None)
    told = "\n".join(command("ci", "init", "github", "--print", "--json", cwd=root).json()["next"])
    assert "There is no lock for a, b" in told and "FLYBALL_DATABASE" in told and "FLYBALL_OBJECTS" in told
    (root / "requirements.txt").write_text("flyball==1\n")
    told = "\n".join(command("ci", "init", "github", "--print", "--json", cwd=root).json()["next"])
    assert "requirements.txt has no hashes" in told and "There is no lock" not in told
    assert "Allow GitHub Actions to create and approve pull requests" in told and "PROPOSALS_TOKEN" in told
    for host, words in (("gitlab", "scope flyball/propose"), ("azure", "nothing opens the change here")):
        assert words in "\n".join(command("ci", "init", host, "--print", "--json", cwd=root).json()["next"])


def test_no_repository_and_no_project_are_told(command: Callable[..., Any], tmp_path: Path):
    (tmp_path / "plain").mkdir()
    assert "is in no Git repository" in command("ci", "init", "github", cwd=tmp_path / "plain").err
    git(tmp_path / "plain", "init", "--quiet", ".")
    said = command("ci", "init", "github", cwd=tmp_path / "plain")
    assert said.code == 2 and "there is no flyball.toml" in said.err


def run_each(root: Path, work: Path, bash: str) -> tuple[int, list[str]]:
    """How bash ends that is run for each affected folder; `bash` gets the folder as FOLDER."""
    step = steps.Step(name="a step", run=bash, variables=("FOLDER",))
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    run = steps.AFFECTED.run + steps.FOLDERS.run + steps.each_folder([step])
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", run],
        check=False, cwd=root, capture_output=True, text=True, timeout=60,
        env={"PATH": path, "HOME": str(work), "WORK": str(work), "LANG": "C.UTF-8"},
    )  # fmt: skip
    said = done.stdout.partition("\n}\n")[2].splitlines()
    return done.returncode, [line for line in said if not line.startswith("== ")]


def test_folders_of_any_name_come_to_the_steps_as_they_are_and_nothing_of_a_name_is_run(
    repository: Callable[..., Path], tmp_path: Path
):
    root, work = repository(*ODD), tmp_path / "work"
    work.mkdir()
    for folder in ODD:
        (root / folder / "train.py").write_text("x = 1\n")
    code, said = run_each(root, work, 'test -f "./$FOLDER/train.py"\nprintf "%s\\n" "$FOLDER"\n')
    assert (code, sorted(said)) == (0, sorted(ODD))
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize(
    ("codes", "ended"), [((0, 0), 0), ((4, 0), 4), ((4, 1), 1), ((3, 4), 3), ((0, 3), 3)]
)
def test_a_loop_over_models_goes_on_after_one_that_fails_and_ends_with_the_first_that_says_no(
    codes: tuple[int, int], ended: int, repository: Callable[..., Path], tmp_path: Path
):
    root, work = repository("a", "b"), tmp_path / "work"
    work.mkdir()
    for folder, code in zip(("a", "b"), codes, strict=True):
        (root / folder / "code").write_text(f"{code}\n")
    lines = 'echo "$FOLDER"\ncode="$(cat "$FOLDER/code")"\n( exit "$code" )\necho "$FOLDER went on"\n'
    code, said = run_each(root, work, lines)
    assert code == ended
    assert said == [
        line
        for folder, code in zip(("a", "b"), codes, strict=True)
        for line in ([folder] if code else [folder, f"{folder} went on"])
    ]


HASHED, PLAIN = "flyball==1 --hash=sha256:00\n", "flyball==1\n"


@pytest.mark.parametrize(
    ("locks", "asked"),
    [
        ({"uv.lock": ""}, "sync --locked --project .\n"),
        ({"a/uv.lock": "", "requirements.lock": HASHED}, "sync --locked --project ./a\n"),
        (
            {"requirements.lock": HASHED, "requirements.txt": PLAIN},
            "--require-hashes --requirement ./requirements.lock",
        ),
        ({"a/b c/requirements.txt": PLAIN, "a/uv.lock": ""}, "/venv --requirement ./a/b c/requirements.txt"),
        ({}, "there is no lock for a/b c"),
    ],
)
def test_a_project_is_installed_from_the_nearest_lock_and_by_its_hashes_where_it_has_them(
    locks: dict[str, str], asked: str, tmp_path: Path
):
    # uv itself is asked in the tests of `flyball ci --local`; here a program of its name says what it was asked.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "uv").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "bin" / "uv").chmod(0o755)
    root = tmp_path / "clone"
    (root / "a" / "b c").mkdir(parents=True)
    for name, text in locks.items():
        (root / name).write_text(text)
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", steps.INSTALL.run],
        check=False, cwd=root, capture_output=True, text=True, timeout=20,
        env={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "WORK": str(tmp_path / "work"), "FOLDER": "a/b c"},
    )  # fmt: skip
    assert done.returncode == (0 if locks else 2)
    assert asked in done.stdout + done.stderr


def test_projects_with_locks_of_their_own_are_each_installed_before_their_check(
    repository: Callable[..., Path], command: Callable[..., Any]
):
    root = repository("a", "b", lock=None)
    for folder in ("a", "b"):
        (root / folder / "requirements.lock").write_text(HASHED)
    for host in ("gitlab", "azure", "jenkins"):
        (text,) = (
            text
            for path, text in written(command("ci", "init", host, "--json", cwd=root), root).items()
            if not path.startswith(".pre-commit")
        )
        loops = [
            run for run in bash_of(host.replace("jenkins", "Jenkinsfile"), text) if 'flyball ci "./' in run
        ]
        assert len(loops) == 2 and all("uv venv" in loop.partition("flyball ci")[0] for loop in loops)
        for loop in loops:
            subprocess.run(["bash", "-n"], check=True, input=loop, text=True, timeout=20)


def test_no_step_takes_its_python_from_the_project(tmp_path: Path):
    for name in ("json", "tomllib"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('of the project')\n")
    rows = '[{"environment": null, "files": ["x"]}, {"environment": "eu", "files": []}]'
    (tmp_path / "affected.json").write_text(f'{{"models": [{{"folder": "a b"}}], "deployments": {rows}}}')
    variables = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "WORK": str(tmp_path)}
    variables["GITHUB_OUTPUT"] = str(tmp_path / "output")
    for step in (steps.MATRIX, steps.FOLDERS):
        subprocess.run(["bash", "-e", "-c", step.run], cwd=tmp_path, env=variables, check=True, timeout=60)
    assert (tmp_path / "output").read_text() == (
        'models=[{"folder": "a b"}]\ndeployments=[{"environment": ""}, {"environment": "eu"}]\n'
    )
    assert (tmp_path / "folders").read_text() == "a b\0"
    assert len(EVERY_STEP) > 5 and not any("python -c" in step.run for step in EVERY_STEP)


@pytest.mark.parametrize("model", ["model-1", "model-2", "model-9"])
def test_what_is_asked_for_by_hand_is_done_in_the_folder_of_the_model(
    repository: Callable[..., Path], tmp_path: Path, model: str
):
    root = repository("a", "umläut;x", 'it\'s "odd"', more='[[tests]]\nname = "model-1"\nx = "model-2"\n')
    (root / "a" / "flyball.toml").open("a").write('other = "model-2"\nname = "cut off')
    (root / "aa").mkdir()
    (root / "aa" / "flyball.toml").write_text("is not TOML: model-1, model-2")
    git(root, "add", "--all")
    asked = {"ACTION": "rollback", "MODEL": model, "WHY": "$(touch pwned)", "ENVIRONMENT": "nowhere"}
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", steps.BY_HAND.run],
        cwd=root, env={"PATH": path, "FLYBALL_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), **asked},
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    told = {"model-1": "umläut;x/flyball.toml", "model-2": 'it\'s "odd"/flyball.toml'}
    assert done.returncode == 2 and told.get(model, "is about model-9") in done.stderr, done.stderr
    assert not (root / "pwned").exists()


@pytest.mark.parametrize("host", ["github", "azure"])
def test_a_name_of_an_environment_adds_nothing_to_a_workflow(
    repository: Callable[..., Path], command: Callable[..., Any], host: str
):
    names = ("x: y\\n        evil: |", "x }} ${{ evil", "$(evil)", "evil,production", "evil\\n")
    root = repository("a", more="".join(f'[environments."{name}"]\n' for name in names) + ENVIRONMENTS)
    files = written(command("ci", "init", host, "--json", cwd=root), root)
    assert not any("evil" in text.lower() for text in files.values())
    assert any("FLYBALL_EU_STAGING_DATABASE" in text for text in files.values())
