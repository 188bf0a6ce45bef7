"""GitLab's pipeline: merge requests, merges, a schedule, and rollbacks by hand, in one file that others can include."""

from __future__ import annotations

import json
from collections.abc import Iterable

from flyball.operations.ci.workflows import pins, steps
from flyball.operations.ci.workflows.repository import Repository
from flyball.operations.ci.workflows.steps import each_folder, indented

PATH = ".gitlab-ci.yml"
INCLUDED = ".gitlab/flyball.yml"
_HEAD = """\
# Written by `flyball ci init gitlab`; `flyball ci --local` runs the steps of the merge request on your machine.
# What is secret stands in the project's CI/CD variables, masked: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or a
# login by OIDC: `id_tokens`), and for merges only, protected: FLYBALL_DATABASE and those of the environments.
# GITLAB_TOKEN has the environment scopes flyball/report and, for proposals, flyball/propose, so that no job that runs
# the project's code ever holds it.
"""
_MERGE_REQUEST = '$CI_PIPELINE_SOURCE == "merge_request_event"'
_FORK = "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID != $CI_MERGE_REQUEST_PROJECT_ID"
_PUSH = '$CI_PIPELINE_SOURCE == "push" && $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH'
_SCHEDULE = '$CI_PIPELINE_SOURCE == "schedule"'
_EXIST = """\
      exists:
        - deployments/*.toml
"""
# What is deployed, and the settings that hold with it.
_CHANGES = f"""\
{_EXIST}\
      changes:
        - deployments/*.toml
        - "**/flyball.toml"
"""
_REPORTS = "flyball-report"


def gitlab_files(repository: Repository) -> dict[str, str]:
    """The pipeline by its path below the root: the project's own or, where it has one, a file to include in that."""
    path = INCLUDED if _is_taken(repository) else PATH
    return {path: _pipeline(repository)}


def _is_taken(repository: Repository) -> bool:
    file = repository.root / PATH
    return file.exists() and not file.read_text(encoding="utf-8", errors="replace").startswith(_HEAD[:40])


def _pipeline(repository: Repository) -> str:
    return "\n".join(
        [
            _HEAD,
            _shared(repository),
            _check(repository),
            _post(),
            _plan(),
            _deploy(repository),
            *(_apply(name, repository) for name in [*repository.environments, ""]),
            _watch(),
            _drift(),
            _propose(),
            _by_hand(repository),
        ]
    )


def _shared(repository: Repository) -> str:
    return f"""\
.flyball:
  image: {pins.IMAGE}
  timeout: 2 hours
  variables:
    GIT_DEPTH: "0"
    UV_LINK_MODE: copy
    WORK: $CI_BUILDS_DIR/flyball-$CI_JOB_ID
    FLYBALL_HOME: $CI_BUILDS_DIR/flyball-$CI_JOB_ID/home
    FOLDER: {json.dumps(repository.lock_folder)}
  before_script:
{_script(_installed())}\
  after_script:
    - if [ -d "$WORK/reports" ]; then cp -R "$WORK/reports" {_REPORTS}; fi
"""


def _check(repository: Repository) -> str:
    return f"""\
flyball-check:
  extends: .flyball
  stage: test
  # A newer push makes the check of the older one needless.
  interruptible: true
  rules:
    # A stranger's change reads what others trained, and keeps nothing for them.
    - if: {_MERGE_REQUEST} && {_FORK}
      variables:
        FLYBALL_CACHE: read
    - if: {_MERGE_REQUEST}
      variables:
        FLYBALL_CACHE: read-write
  script:
{_script([steps.AFFECTED.run, steps.FOLDERS.run, each_folder([steps.CHECK], install=repository.has_several_locks)])}\
{_artifacts()}"""


def _post() -> str:
    return f"""\
# The only job with the token, and it runs nothing of the change: its packages are those of the target branch.
flyball-post:
  extends: .flyball
  stage: deploy
  timeout: 15 minutes
  needs:
    - job: flyball-check
      artifacts: true
  rules:
    - if: {_MERGE_REQUEST}
      when: always
  # The verdict is that of the check, whether this works or not.
  allow_failure: true
  environment:
    name: flyball/report
    action: access
  variables:
    REPORTS: {_REPORTS}
  before_script:
    - git checkout --quiet --detach "origin/$CI_MERGE_REQUEST_TARGET_BRANCH_NAME"
{_script(_installed())}\
  script:
{_script([steps.POST.run])}"""


def _plan() -> str:
    return f"""\
# It may look into the environments, so it runs nothing of the change: its packages are those of the target branch. Of a
# stranger's change, the files are only read.
flyball-plan:
  extends: .flyball
  stage: test
  timeout: 15 minutes
  needs: []
  interruptible: true
  rules:
    - if: {_MERGE_REQUEST} && {_FORK}
{_CHANGES}\
      variables:
        OFFLINE: "1"
    - if: {_MERGE_REQUEST}
{_CHANGES}\
      variables:
        OFFLINE: ""
  variables:
    BASE: origin/$CI_MERGE_REQUEST_TARGET_BRANCH_NAME
    CHANGE: $CI_COMMIT_SHA
  before_script:
{_script([steps.BASE.run, *_installed(), steps.CHANGE.run])}\
  script:
{_script([steps.PLAN.run])}\
  artifacts:
    when: always
    expire_in: 30 days
    paths:
      - {_REPORTS}/
"""


def _apply(environment: str, repository: Repository) -> str:
    """The job that applies the files of an environment; of none: those of this home, and all that no other job has."""
    chosen = steps.DEPLOYMENTS_OF if environment else steps.DEPLOYMENTS_LEFT
    values = {"ENVIRONMENT": environment} if environment else {"APART": " ".join(repository.environments)}
    given = "".join(f"    {name}: {json.dumps(value)}\n" for name, value in values.items())
    name = f"flyball-apply-{environment}" if environment else "flyball-apply"
    return f"""\
{name}:
  extends: .flyball
  stage: deploy
  timeout: 1 hour
  # What is deployed has to be registered; a model whose check failed holds up no other.
  needs:
    - job: flyball-deploy
      artifacts: false
      optional: true
  interruptible: false
  resource_group: {name}
  rules:
    - if: {_PUSH}
{_CHANGES}\
      when: always
{_environment([environment] if environment else [])}\
  variables:
    BEFORE: ""
{given}\
  script:
{_script([steps.AFFECTED_BY_MERGE.run, chosen.run, steps.APPLY.run])}"""


def _drift() -> str:
    return f"""\
flyball-drift:
  extends: .flyball
  stage: test
  timeout: 15 minutes
  interruptible: false
  rules:
    - if: {_SCHEDULE}
{_EXIST}\
  script:
{_script([steps.DRIFT.run])}"""


def _propose() -> str:
    return f"""\
# The only job that may write to the repository, and it runs nothing of the project's code.
flyball-propose:
  extends: .flyball
  stage: deploy
  timeout: 15 minutes
  needs:
    - job: flyball-watch
      artifacts: false
  interruptible: false
  resource_group: flyball-propose
  rules:
    - if: {_SCHEDULE}
{_EXIST}\
      when: always
  environment:
    name: flyball/propose
    action: access
  script:
{_script([steps.PROPOSE.run])}"""


def _deploy(repository: Repository) -> str:
    each = each_folder([steps.CHECK, steps.DEPLOY], install=repository.has_several_locks)
    return f"""\
flyball-deploy:
  extends: .flyball
  stage: deploy
  # One deployment at a time; none that has begun is cancelled.
  interruptible: false
  resource_group: flyball-deploy
  rules:
    - if: {_PUSH}
{_environment(repository.first)}\
  variables:
    BEFORE: $CI_COMMIT_BEFORE_SHA
    FLYBALL_CACHE: read-write
  script:
{_script([steps.AFFECTED_BY_MERGE.run, steps.FOLDERS.run, each])}\
{_artifacts()}"""


def _watch() -> str:
    # A pipeline of its own for each model is not needed: the folders are those of all models.
    return f"""\
flyball-watch:
  extends: .flyball
  stage: deploy
  timeout: 4 hours
  # Files that differ from reality are no reason not to look at it.
  needs: []
  interruptible: false
  resource_group: flyball-watch
  rules:
    - if: {_SCHEDULE}
  variables:
    BEFORE: ""
    KEY: gitlab-$CI_PIPELINE_ID
  script:
{_script([steps.AFFECTED_BY_MERGE.run, steps.FOLDERS.run, each_folder([steps.WATCH])])}"""


def _by_hand(repository: Repository) -> str:
    return f"""\
# Build > Pipelines > New pipeline, with the variables ACTION (rollback or deploy), MODEL, ENVIRONMENT and WHY.
flyball-by-hand:
  extends: .flyball
  stage: deploy
  timeout: 30 minutes
  interruptible: false
  rules:
    - if: $CI_PIPELINE_SOURCE == "web" && $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH && $ACTION
{_environment(["$ENVIRONMENT"] if repository.environments else [])}\
  variables:
    BY: $GITLAB_USER_LOGIN
  script:
{_script([steps.BY_HAND.run])}"""


def _installed() -> list[str]:
    return [steps.INSTALL.run, 'export PATH="$WORK/venv/bin:$PATH"\n']


def _environment(names: Iterable[str]) -> str:
    """The host's environment of a job, which holds its variables and may ask people first."""
    chosen = list(names)
    return f"  environment:\n    name: {json.dumps(chosen[0])}\n" if len(chosen) == 1 else ""


def _artifacts() -> str:
    return f"""\
  artifacts:
    when: always
    expire_in: 30 days
    paths:
      - {_REPORTS}/
    reports:
      junit: {_REPORTS}/*/junit.xml
"""


def _script(items: Iterable[str]) -> str:
    return "".join(f"    - |\n{indented(item, 6)}" for item in items)
