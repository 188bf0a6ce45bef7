"""The steps of every workflow, declared once: hosts get them written as files, and `flyball ci --local` runs them.

Lines are plain bash. What differs from host to host and from change to change comes in by variables only, so no branch
name, file name or message is ever part of a command.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a job. run: lines of bash. variables: those it reads, which the host has to give it.

    always: it runs after a step that failed, too, and does not change how the job ends.
    """

    name: str
    run: str
    variables: tuple[str, ...] = ()
    always: bool = False


# WORK is a folder of the job's own, outside of the checkout, for its environment, its home and its reports.
# Objects are shared by all jobs; a check of a stranger's change may only read them (FLYBALL_CACHE).
STORE = ("FLYBALL_HOME", "FLYBALL_OBJECTS", "FLYBALL_CACHE")
# How the store's cloud knows us, unless the job logs in by OIDC.
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")

INSTALL = Step(
    name="Install what the lock names",
    variables=("WORK", "FOLDER"),
    run="""\
place="./$FOLDER"
until [ -e "$place/uv.lock" ] || [ -e "$place/requirements.lock" ] || [ -e "$place/requirements.txt" ] ||
  [ "$place" = "." ]; do
  place="$(dirname -- "$place")"
done
mkdir -p "$WORK"
if [ -e "$place/uv.lock" ]; then
  UV_PROJECT_ENVIRONMENT="$WORK/venv" uv sync --locked --project "$place"
else
  lock="$place/requirements.lock"
  if [ ! -e "$lock" ]; then lock="$place/requirements.txt"; fi
  if [ ! -e "$lock" ]; then
    echo "there is no lock for $FOLDER: make one by 'uv lock' or 'uv pip compile --generate-hashes'" >&2
    exit 2
  fi
  hashes=()
  if grep -q -e '--hash=' -- "$lock"; then hashes=(--require-hashes); fi
  uv venv --quiet --clear "$WORK/venv"
  uv pip install --python "$WORK/venv" "${hashes[@]}" --requirement "$lock"
fi
echo "$WORK/venv/bin" >> "${GITHUB_PATH:-/dev/null}"
""",
)

AFFECTED = Step(
    name="Find the models that the change affects",
    variables=("WORK",),
    run="""\
flyball ci affected --json > "$WORK/affected.json"
cat "$WORK/affected.json"
""",
)

AFFECTED_BY_MERGE = Step(
    name="Find the models that the merge affects",
    variables=("WORK", "BEFORE"),
    run="""\
if ! git cat-file -e "$BEFORE^{commit}" 2> /dev/null; then
  # A first push, or a history that was written anew: beside a commit without files, every model has changed.
  BEFORE="$(git -c user.name=flyball -c user.email=flyball@localhost \\
    commit-tree -m "no files" "$(git hash-object -t tree /dev/null)")"
fi
flyball ci affected --base "$BEFORE" --json > "$WORK/affected.json"
cat "$WORK/affected.json"
""",
)

# `python -I` does not look for modules where it is started: a project may have a json.py of its own.
# For a host whose jobs come from a matrix: lines that it reads as JSON.
MATRIX = Step(
    name="Hand them to the jobs that check them",
    variables=("WORK",),
    run="""\
python -I -c 'import json, sys
found = json.load(sys.stdin)
print("models=" + json.dumps(found["models"]))
rows = [{"environment": row["environment"] or ""} for row in found["deployments"]]
print("deployments=" + json.dumps(rows))' \\
  < "$WORK/affected.json" >> "$GITHUB_OUTPUT"
""",
)

# For a host whose job takes one after the other: names of folders, each ended by a zero byte, which no name contains.
FOLDERS = Step(
    name="List their folders",
    variables=("WORK",),
    run="""\
python -I -c \\
  'import json, sys; print(*(m["folder"] + "\\0" for m in json.load(sys.stdin)["models"]), sep="", end="")' \\
  < "$WORK/affected.json" > "$WORK/folders"
""",
)

CHECK = Step(
    name="Check the change",
    variables=("FOLDER", "REPORT", *STORE, *KEYS),
    run="""\
code=0
flyball ci "./$FOLDER" --report "$REPORT" || code=$?
if [ "$code" -eq 4 ]; then
  echo "${GITHUB_ACTIONS:+::error::}Not enough evidence for $FOLDER: nothing failed, and too little was seen to say" \\
    "yes. Nothing is deployed; the report says what is missing."
fi
exit "$code"
""",
)

SUMMARY = Step(
    name="Show the report",
    variables=("REPORT",),
    always=True,
    run="""\
if [ -f "$REPORT/report.md" ]; then cat "$REPORT/report.md" >> "${GITHUB_STEP_SUMMARY:-/dev/null}"; fi
""",
)

DEPLOY = Step(
    name="Deploy the version that was tested",
    variables=("FOLDER", "REPORT", *STORE, *KEYS, "FLYBALL_DATABASE"),
    run="""\
flyball ci deploy "./$FOLDER" --report "$REPORT/report.json" --why "merged as $(git log -1 --format='%h %s')"
""",
)

# What it takes to look into environments, and to change them; FLYBALL_DATABASE knows the versions that files name.
PLACES = ("FLYBALL_HOME", "FLYBALL_OBJECTS", *KEYS, "FLYBALL_DATABASE")

BASE = Step(
    name="Take the packages of the base branch",
    variables=("BASE",),
    run="""\
git checkout --quiet --force --detach "$BASE"
""",
)

CHANGE = Step(
    name="Take the files of the change",
    variables=("CHANGE",),
    run="""\
git checkout --quiet --force --detach "$CHANGE"
""",
)

# Files are looked for as the job runs, so that one that comes later needs no new workflow. Together, for one model that
# two of them name for one environment is an error. A line that begins with a word is no command to the host.
PLAN = Step(
    name="Plan what the deployments files ask for",
    variables=("WORK", "OFFLINE", *PLACES),
    run="""\
shopt -s nullglob
files=(./deployments/*.toml)
mkdir -p "$WORK/reports/deployments"
plan="$WORK/reports/deployments/plan.txt"
code=0
if [ "${#files[@]}" -eq 0 ]; then
  echo "there are no deployments files" > "$plan"
else
  flyball plan ${OFFLINE:+--offline} "${files[@]}" > "$plan" 2>&1 || code=$?
fi
sed 's/^/| /' "$plan"
{
  printf '### Deployments: what a merge would change\n\n'
  sed 's/^/    /' "$plan"
} >> "${GITHUB_STEP_SUMMARY:-/dev/null}"
exit "$code"
""",
)


def _listed(condition: str, variable: str) -> str:
    return f"""\
python -I -c 'import json, sys
rows = json.load(sys.stdin)["deployments"]
files = [name for row in rows if {condition} for name in row["files"]]
print(*(name + "\\0" for name in files), sep="", end="")' \\
  "${variable}" < "$WORK/affected.json" > "$WORK/deployments"
"""


DEPLOYMENTS_OF = Step(
    name="List the deployments files of the environment",
    variables=("WORK", "ENVIRONMENT"),
    run=_listed('(row["environment"] or "") == sys.argv[1]', "ENVIRONMENT"),
)

# APART: environments whose files another job applies, with spaces between.
DEPLOYMENTS_LEFT = Step(
    name="List the deployments files",
    variables=("WORK", "APART"),
    run=_listed('row["environment"] not in sys.argv[1].split()', "APART"),
)

APPLY = Step(
    name="Apply the deployments files",
    variables=("WORK", *PLACES),
    run="""\
files=()
while IFS= read -r -d '' file; do files+=("./$file"); done < "$WORK/deployments"
if [ "${#files[@]}" -eq 0 ]; then
  echo "no deployments file is to be applied here"
else
  flyball apply "${files[@]}" --why "merged as $(git log -1 --format='%h %s')"
fi
""",
)

DRIFT = Step(
    name="Hold the deployments files against reality",
    variables=PLACES,
    run="""\
shopt -s nullglob
files=(./deployments/*.toml)
code=0
if [ "${#files[@]}" -gt 0 ]; then flyball plan "${files[@]}" --check || code=$?; fi
if [ "$code" -eq 1 ]; then
  echo "${GITHUB_ACTIONS:+::error::}Deployments files and environments differ; the lines above say where, since when" \\
    "and by whom. Write what holds into the file, or apply the file."
fi
exit "$code"
""",
)

PROPOSE = Step(
    name="Propose retrained models as changes of the deployments files",
    variables=PLACES,
    run="""\
shopt -s nullglob
files=(./deployments/*.toml)
if [ "${#files[@]}" -gt 0 ]; then flyball ci propose "${files[@]}"; fi
""",
)

POST = Step(
    name="Post the reports",
    variables=("REPORTS",),
    run="""\
flyball ci post "$REPORTS"
""",
)

# What happens beside a change works on what is deployed.
STATE = ("FLYBALL_HOME", "FLYBALL_OBJECTS", *KEYS, "FLYBALL_DATABASE", "FLYBALL_URL", "FLYBALL_TOKEN")

WATCH = Step(
    name="Monitor, and retrain where a check alarms",
    variables=("WORK", "FOLDER", "KEY", *STATE),
    run="""\
cd "./$FOLDER"
MODEL="$(python -I -c 'import tomllib; print(tomllib.load(open("flyball.toml", "rb"))["model"]["name"])')"
python -I -c \\
  'import tomllib; print(*(tomllib.load(open("flyball.toml", "rb")).get("environments") or [""]), sep="\\n")' \\
  > "$WORK/environments"
ended=0
while IFS= read -r ENVIRONMENT <&3; do
  code=0
  flyball monitor "$MODEL" ${ENVIRONMENT:+--env "$ENVIRONMENT"} --wait --key "$KEY-monitor" || code=$?
  case "$code" in
    1)
      code=0
      flyball retrain "$MODEL" ${ENVIRONMENT:+--env "$ENVIRONMENT"} --wait --key "$KEY-retrain" \\
        --why "a check alarmed" || code=$?
      ;;
    2)
      code=0
      echo "${GITHUB_ACTIONS:+::warning::}$MODEL is not watched${ENVIRONMENT:+ in $ENVIRONMENT}: was it deployed there?"
      ;;
    4)
      code=0
      echo "too little was seen yet to say how $MODEL is doing${ENVIRONMENT:+ in $ENVIRONMENT}"
      ;;
  esac
  if [ "$code" -ne 0 ]; then ended=$code; fi
done 3< "$WORK/environments"
exit "$ended"
""",
)

BY_HAND = Step(
    name="Do what was asked for",
    variables=("ACTION", "MODEL", "ENVIRONMENT", "WHY", "BY", *STATE),
    run="""\
case "$MODEL" in
  "" | *[!a-z0-9-]*) echo "$MODEL is no name of a model" >&2; exit 2 ;;
esac
# Other things are named in these files, too: of those where the name stands, the one whose model it is.
file="$(git grep -l -z -F -e "$MODEL" -- ':(glob)**/flyball.toml' | while IFS= read -r -d '' place; do
  name="$(python -I -c 'import sys, tomllib; print(tomllib.load(open(sys.argv[1], "rb"))["model"]["name"])' \\
    "$place" 2> /dev/null)" || continue
  if [ "$name" = "$MODEL" ]; then printf '%s\\n' "$place"; fi
done)" || true
if [ -z "$file" ]; then
  echo "no flyball.toml of this repository is about $MODEL" >&2
  exit 2
fi
cd "$(dirname -- "./$file")"
# The runner's user says nothing about who asked.
why="$WHY${BY:+ (asked for by $BY)}"
case "$ACTION" in
  rollback) flyball rollback "$MODEL" ${ENVIRONMENT:+--env "$ENVIRONMENT"} --why "$why" ;;
  deploy) flyball deploy "$MODEL" ${ENVIRONMENT:+--env "$ENVIRONMENT"} --why "$why" ;;
  *) echo "ACTION is rollback or deploy" >&2; exit 2 ;;
esac
""",
)


def each_folder(steps: Sequence[Step], *, install: bool = False) -> str:
    """Bash that runs the steps for each folder that FOLDERS listed; a folder's later steps wait for its earlier ones.

    install: what its lock names first, where locks differ from folder to folder. It ends with the code of the first
    folder that failed, or with 4 where all that is missing is evidence.
    """
    body = "".join(_one(step) for step in ([INSTALL, *steps] if install else steps))
    return f"""\
ended=0
number=0
while IFS= read -r -d '' FOLDER <&3; do
  export FOLDER REPORT="$WORK/reports/$number"
  number=$((number + 1))
  echo "== $FOLDER"
  code=0
{body}\
  if [ "$code" -ne 0 ] && {{ [ "$ended" -eq 0 ] || [ "$ended" -eq 4 ]; }}; then ended=$code; fi
done 3< "$WORK/folders"
exit "$ended"
"""


def _one(step: Step) -> str:
    # No `( … ) || code=$?`: bash takes no notice of `set -e` inside of that.
    lines = indented(step.run, 6)
    return f"""\
  if [ "$code" -eq 0 ]; then
    set +e
    (
      set -e
{lines}\
    )
    code=$?
    set -e
  fi
"""


def indented(text: str, spaces: int) -> str:
    """Lines, each that is not empty with so many spaces before it."""
    return "".join((" " * spaces + line if line.strip() else line) for line in text.splitlines(keepends=True))
