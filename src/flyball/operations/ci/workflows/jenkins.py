"""Jenkins: a declarative pipeline of a multibranch project, for changes, merges, a schedule, and rollbacks by hand."""

from __future__ import annotations

import json

from flyball.operations.ci.workflows import pins, steps
from flyball.operations.ci.workflows.repository import Repository
from flyball.operations.ci.workflows.steps import each_folder, indented

_HEAD = """\
// Written by `flyball ci init jenkins`; `flyball ci --local` runs the steps of the change on your machine.
// FLYBALL_OBJECTS and AWS_REGION are set as environment variables of the folder; secrets as in `environment` below.
"""


def jenkins_files(repository: Repository) -> dict[str, str]:
    """The pipeline by its path below the root."""
    return {"Jenkinsfile.flyball": _pipeline(repository)}


def _pipeline(repository: Repository) -> str:
    install = _shell(steps.INSTALL.run)
    check = [
        steps.AFFECTED.run,
        steps.FOLDERS.run,
        each_folder([steps.CHECK], install=repository.has_several_locks),
    ]
    both = each_folder([steps.CHECK, steps.DEPLOY], install=repository.has_several_locks)
    return f"""\
{_HEAD}
pipeline {{
  agent {{
    docker {{
      image '{pins.IMAGE}'
    }}
  }}
  options {{
    timeout(time: 2, unit: 'HOURS')
    // A newer push makes the check of the older one needless; a deployment is never cut off.
    disableConcurrentBuilds(abortPrevious: env.CHANGE_ID != null)
  }}
  triggers {{
    cron(env.BRANCH_NAME == {_text(repository.branch)} ? 'H 3 * * *' : '')
  }}
  parameters {{
    choice(name: 'ACTION', choices: ['none', 'rollback', 'deploy'])
    string(name: 'MODEL', defaultValue: '')
    string(name: 'ENVIRONMENT', defaultValue: '')
    string(name: 'WHY', defaultValue: '')
  }}
  environment {{
    WORK = "${{env.WORKSPACE_TMP}}/flyball-${{env.BUILD_NUMBER}}"
    FLYBALL_HOME = "${{env.WORKSPACE_TMP}}/flyball-${{env.BUILD_NUMBER}}/home"
    FOLDER = {_text(repository.lock_folder)}
    // A stranger's change reads what others trained, and keeps nothing for them.
    FLYBALL_CACHE = "${{env.CHANGE_FORK ? 'read' : 'read-write'}}"
    // AWS_ACCESS_KEY_ID = credentials('flyball-aws-access-key-id')
    // AWS_SECRET_ACCESS_KEY = credentials('flyball-aws-secret-access-key')
  }}
  stages {{
    stage('Install') {{
      steps {{
{install}\
      }}
    }}
    stage('Check') {{
      when {{ changeRequest() }}
      steps {{
{_shell(*check)}\
      }}
    }}
    stage('Deploy') {{
      when {{ allOf {{ branch {_text(repository.branch)}; not {{ triggeredBy 'TimerTrigger' }}; {_ASKED_NOTHING} }} }}
      environment {{
        BEFORE = "${{env.GIT_PREVIOUS_SUCCESSFUL_COMMIT ?: ''}}"
        APART = ''
        // FLYBALL_DATABASE = credentials('flyball-database')
      }}
      steps {{
{_shell(steps.AFFECTED_BY_MERGE.run, steps.FOLDERS.run)}\
        // A model whose check failed holds up no other.
        catchError(buildResult: 'FAILURE', stageResult: 'FAILURE') {{
{indented(_shell(both), 2)}\
        }}
{_shell(steps.DEPLOYMENTS_LEFT.run + steps.APPLY.run)}\
      }}
    }}
    // What was retrained is proposed as a change on GitHub and GitLab only.
    stage('Drift') {{
      when {{ allOf {{ branch {_text(repository.branch)}; triggeredBy 'TimerTrigger' }} }}
      // environment {{ FLYBALL_DATABASE = credentials('flyball-database') }}
      steps {{
        catchError(buildResult: 'FAILURE', stageResult: 'FAILURE') {{
{indented(_shell(steps.DRIFT.run), 2)}\
        }}
      }}
    }}
    stage('Watch') {{
      when {{ allOf {{ branch {_text(repository.branch)}; triggeredBy 'TimerTrigger' }} }}
      environment {{
        BEFORE = ''
        KEY = "jenkins-${{env.BUILD_NUMBER}}"
        // FLYBALL_DATABASE = credentials('flyball-database')
      }}
      steps {{
{_shell(steps.AFFECTED_BY_MERGE.run, steps.FOLDERS.run, each_folder([steps.WATCH]))}\
      }}
    }}
    stage('By hand') {{
      when {{ allOf {{ branch {_text(repository.branch)}; not {{ {_ASKED_NOTHING} }} }} }}
      // environment {{ FLYBALL_DATABASE = credentials('flyball-database') }}
      steps {{
{_shell(steps.BY_HAND.run)}\
      }}
    }}
  }}
  post {{
    always {{
      sh 'rm -rf flyball-report; if [ -d "$WORK/reports" ]; then cp -R "$WORK/reports" flyball-report; fi'
      archiveArtifacts artifacts: 'flyball-report/**', allowEmptyArchive: true
      junit testResults: 'flyball-report/*/junit.xml', allowEmptyResults: true
      sh 'rm -rf "$WORK" flyball-report'
    }}
  }}
}}
"""


_ASKED_NOTHING = "expression { params.ACTION in [null, 'none'] }"


def _shell(*runs: str) -> str:
    """A step for each run; Groovy puts nothing into text between single quotes."""
    written = ""
    for run in runs:
        path = 'export PATH="$WORK/venv/bin:$PATH"\n'
        text = f"#!/bin/bash\nset -e -o pipefail\n{path}{run}".replace("\\", "\\\\")
        written += "        sh '''" + indented(text, 10).lstrip() + "        '''\n"
    return written


def _text(value: str) -> str:
    return "'" + json.dumps(value)[1:-1].replace("'", "\\'").replace('\\"', '"') + "'"
