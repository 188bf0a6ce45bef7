from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from flyball.core.errors import BadInput, ProjectError
from flyball.core.project import Project
from flyball.pipelines.project_file import ProjectFile, read_project

EIGHT_LINES = """[model]
name = "credit-default"
task = "binary"
target = "default"
[data]
source = "data/credit.parquet"
[train]
entry = "train:train"
"""

WHOLE = """
[model]
name = "credit-default"
task = "binary"
target = "default"
positive = 1
entity = "client_id"
time = "month"
owner = "risk-ml"
description = "Will the client miss next month's payment?"

[data]
source = "data/credit.parquet"
features = []
exclude = ["application_id"]
protected = ["sex"]
outcome_delay = "30d"
[[data.join]]
source = "data/bureau.parquet"
on = "client_id"
available_at = "reported_on"

[data.split]
by = "time"
test = 0.2
validation = 0.1

[contract]
on_violation = "flag"
[contract.features.age]
type = "int"
min = 18
max = 120
nullable = false

[train]
entry = "train:train"
frames = "polars"
params = { learning_rate = 0.1 }
seed = 7

[decision]
threshold = 0.5

[tune]
trials = 40
timeout = "10m"
metric = "roc_auc"
space = { learning_rate = "log 0.01..0.3", max_leaf_nodes = "int 15..127" }

[[gates]]
metric = "roc_auc"
min = 0.72
[[gates]]
metric = "log_loss"
versus = "champion"
max_increase = 0.005
confidence = 0.95
[[gates]]
metric = "true_positive_rate"
by = "sex"
max_gap = 0.10
[[gates]]
metric = "latency_p99_ms"
max = 5
[[gates]]
metric = "disagreement"
over = "replay 7d"
max = 0.10

[[tests]]
kind = "direction"
feature = "pay_0"
effect = "not lower"
[[tests]]
kind = "invariance"
feature = "sex"
max_change = 0.01

[rollout]
strategy = "canary"
steps = [0.05, 0.25, 1.0]
min_requests = 200
bake = "10m"
max_duration = "14d"
confidence = 0.95
approvals = 0
watch = "7d"
[[rollout.guards]]
metric = "error_rate"
max_increase = 0.005
required = true

[monitor]
window = "1d"
false_alarms = "1 per 30d"
min_rows = 200
[[monitor.slo]]
metric = "latency_p99_ms"
max = 20

[environments.production]
url = "https://models.example.com"
approvals = 1

[log]
durability = "process"
sample = 1.0
drop = []
hash = ["client_id"]
keep = "400d"
when_full = "answer"

[retrain]
on = ["performance", "drift", "schedule"]
schedule = "0 3 * * 1"
from = "both"
data = "since-change"
cooldown = "7d"
max_per_month = 4
approvals = 0

[[steps]]
name = "features"
entry = "features:build"
at = "train"
"""


def project_at(folder: Path, text: str, **settings: object) -> ProjectFile:
    (folder / "flyball.toml").write_text(text)
    return read_project(folder, **settings)


def problems_of(folder: Path, text: str) -> list[dict[str, object]]:
    with pytest.raises(ProjectError) as caught:
        project_at(folder, text)
    return caught.value.problems


def test_eight_lines_are_enough(tmp_path: Path):
    project = project_at(tmp_path, EIGHT_LINES).project
    assert project.model.name == "credit-default"
    assert project.train.seed == 7 and project.rollout.steps == [0.05, 0.25, 1.0]


def test_everything_that_the_interface_names_is_read(tmp_path: Path):
    project = project_at(tmp_path, WHOLE).project
    assert project.data.join[0].available_at == "reported_on"
    assert project.retrain.from_ == "both"
    assert [gate.metric for gate in project.gates][-1] == "disagreement"
    assert project.environments["production"].approvals == 1
    assert msgspec.convert(msgspec.to_builtins(project), Project) == project


def test_a_project_is_found_from_a_folder_below(tmp_path: Path):
    (tmp_path / "flyball.toml").write_text(EIGHT_LINES)
    (tmp_path / "deep" / "down").mkdir(parents=True)
    assert read_project(tmp_path / "deep" / "down").folder == tmp_path.resolve()


def test_where_there_is_no_file_above_those_in_folders_below_are_named(tmp_path: Path):
    (tmp_path / "models" / "shop").mkdir(parents=True)
    (tmp_path / "models" / "shop" / "flyball.toml").touch()
    with pytest.raises(BadInput, match=r"change to a project's folder \(models/shop\)"):
        read_project(tmp_path)
    with pytest.raises(BadInput, match="`flyball init` writes one"):
        read_project(tmp_path / "models" / "shop" / ".." / ".." / "nowhere")


def test_a_missing_file_says_how_to_get_one(tmp_path: Path):
    with pytest.raises(BadInput, match="flyball init"):
        read_project(tmp_path)


def test_an_unknown_key_names_file_line_key_and_the_nearest_known_key(tmp_path: Path):
    text = EIGHT_LINES.replace("target =", "tagret =")
    unknown, missing = problems_of(tmp_path, text)[::-1][:2]
    found = {problem["key"]: problem for problem in (unknown, missing)}
    assert found["model.tagret"]["line"] == 4
    assert found["model.tagret"]["nearest"] == "target"
    assert found["model.target"]["problem"] == "is missing"
    assert str(tmp_path / "flyball.toml") + ":4: model.tagret" in str(found["model.tagret"]["message"])


def test_every_fault_is_told_at_once_in_the_order_of_the_file(tmp_path: Path):
    text = EIGHT_LINES.replace('"binary"', '"binery"').replace('"train:train"', '"train"') + "seed = 'x'\n"
    told = problems_of(tmp_path, text)
    assert [problem["key"] for problem in told] == ["model.task", "train.seed"]
    assert told[0]["nearest"] == "binary" and told[0]["line"] == 3
    assert told[1]["expected"] == "a whole number"


def test_text_that_is_no_toml_names_the_line(tmp_path: Path):
    with pytest.raises(ProjectError, match=r"flyball\.toml:2: is not TOML"):
        project_at(tmp_path, "[model]\nname = = 3\n")


def test_arrays_without_end_are_told_as_no_project_file(tmp_path: Path):
    with pytest.raises(ProjectError, match=r"flyball\.toml:1: is nested too deeply"):
        project_at(tmp_path, "a = " + "[" * 100_000)


def test_bytes_that_are_no_text_name_the_line(tmp_path: Path):
    (tmp_path / "flyball.toml").write_bytes(b"[model]\nname = '\xff'\n")
    with pytest.raises(ProjectError, match=r"flyball\.toml:2: is not UTF-8"):
        read_project(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "key", "words"),
    [
        ('name = "credit-default"', 'name = "Credit Default"', "model.name", "a-z"),
        ("positive = 1", 'positive = 1\ntime_zone = "UTC"', "model.time_zone", "known key"),
        ('time = "month"', 'time = "default"', "model.time", "target"),
        ('outcome_delay = "30d"', 'outcome_delay = "30 days"', "data.outcome_delay", "10m or 30d"),
        ("test = 0.2", "test = 1.5", "data.split.test", "share"),
        ("validation = 0.1", "validation = 0.85", "data.split", "no rows for training"),
        ('by = "time"', 'by = "group"\ngap = "1d"', "data.split.gap", "by time"),
        ("min = 18", "min = 180", "contract.features.age.min", "above max"),
        ("max = 120", "max = 120\nvalues = ['a']", "contract.features.age.values[0]", "int"),
        ('entry = "train:train"', 'entry = "train.py"', "train.entry", "module:function"),
        ("seed = 7", "seed = -1", "train.seed", "4294967295"),
        ("seed = 7", 'seed = 7\ntimeout = "0s"', "train.timeout", "too short"),
        ("{ learning_rate = 0.1 }", "{ learning_rate = nan }", "train.params.learning_rate", "finite"),
        ("threshold = 0.5", "threshold = 1.0", "decision.threshold", "share"),
        (
            "threshold = 0.5",
            "threshold = 0.5\ncost = { false_positive = 1, false_negative = 8 }",
            "decision",
            "one of them",
        ),
        ("min = 0.72", "", "gates[0]", "exactly one of"),
        ('versus = "champion"', 'versus = "champion"\nby = "sex"\nmax_gap = 0.1', "gates[1]", "exactly one of"),
        ("max_increase = 0.005\nconfidence", "max_decrease = 0.005\nconfidence", "gates[1].max_decrease", "when lower"),
        ('metric = "roc_auc"\nmin', 'metric = "roc_acu"\nmin', "gates[0].metric", "unknown metric"),
        ('metric = "roc_auc"\nmin', 'metric = "mae"\nmin', "gates[0].metric", "not defined for binary"),
        ("confidence = 0.95\n[[gates]]", "confidence = 95\n[[gates]]", "gates[1].confidence", "0.95"),
        ('over = "replay 7d"', 'over = "7d"', "gates[4].over", "replay 7d"),
        ("steps = [0.05, 0.25, 1.0]", "steps = [0.25, 0.05, 1.0]", "rollout.steps[1]", "rising"),
        ("steps = [0.05, 0.25, 1.0]", "steps = [0.05, 0.25]", "rollout.steps", "last step of 1.0"),
        ("max_increase = 0.005\nrequired", "required", "rollout.guards[0]", "one margin"),
        ('"1 per 30d"', '"monthly"', "monitor.false_alarms", "1 per 30d"),
        ("metric = \"latency_p99_ms\"\nmax = 20", 'metric = "latency_p99_ms"', "monitor.slo[0]", "min or max"),
        ("sample = 1.0", "sample = 0", "log.sample", "share"),
        ("drop = []", 'drop = ["client_id"]', "log.hash[0]", "log.drop"),
        ('"drift", "schedule"]', '"drfit"]', "retrain.on[1]", "2 of 3 windows"),
        ('schedule = "0 3 * * 1"', "", "retrain.schedule", "cron"),
        ('schedule = "0 3 * * 1"', 'schedule = "0 25 * * 1"', "retrain.schedule", "cron"),
        ('"since-change"', '"sliding fast"', "retrain.data", "such as 10m or 30d"),
        ('kind = "invariance"', 'kind = "magic"', "tests[1].kind", "direction"),
        ('name = "features"', 'name = "train"', "steps[0].name", "another name"),
        ('"https://models.example.com"', '"ftp://x"', "environments.production.url", "http"),
    ],
)  # fmt: skip
def test_a_broken_rule_is_told_with_its_key(tmp_path: Path, old: str, new: str, key: str, words: str):
    assert old in WHOLE
    told = problems_of(tmp_path, WHOLE.replace(old, new, 1))
    found = [problem for problem in told if problem["key"] == key]
    assert found, told
    assert words in f"{found[0]['problem']} {found[0]['expected']}"
    assert isinstance(found[0]["line"], int) and found[0]["line"] > 1


def test_steps_for_training_come_before_packaged_ones(tmp_path: Path):
    text = (
        EIGHT_LINES
        + """
[[steps]]
name = "clean"
entry = "steps:clean"
at = "both"
[[steps]]
name = "lag"
entry = "steps:lag"
"""
    )
    told = problems_of(tmp_path, text)
    assert [problem["key"] for problem in told] == ["steps[1].at"]


def test_a_flag_wins_over_a_variable_and_a_variable_over_the_file(tmp_path: Path):
    environment = {"FLYBALL__TRAIN__SEED": "8", "FLYBALL__MONITOR__WINDOW": "2d", "OTHER": "x"}
    file = project_at(
        tmp_path,
        WHOLE,
        flags={"train.seed": "9", "train.params.depth": "3", "model.owner": "12"},
        environment=environment,
    )
    assert file.project.train.seed == 9
    assert file.project.train.params == {"learning_rate": 0.1, "depth": 3}
    assert file.project.model.owner == "12"
    assert file.project.monitor.window == "2d"
    assert file.origins["train.seed"] == "flag"
    assert file.origins["monitor.window"] == "environment variable FLYBALL__MONITOR__WINDOW"


def test_an_environment_section_overrides_the_file_and_the_strictest_approvals_hold(tmp_path: Path):
    text = WHOLE + '\n[environments.staging]\napprovals = 0\n[environments.staging.rollout]\nbake = "1m"\n'
    file = project_at(tmp_path, text, section="staging")
    assert file.project.rollout.bake == "1m"
    assert file.project.rollout.steps == [0.05, 0.25, 1.0]
    assert file.origins["rollout.bake"] == "environments.staging"
    assert project_at(tmp_path, WHOLE, section="production").project.rollout.approvals == 1


def test_an_environment_asks_for_no_fewer_approvals_than_the_file(tmp_path: Path):
    text = WHOLE.replace("approvals = 0", "approvals = 2", 1)
    text += "\n[environments.staging]\napprovals = 0\n[environments.staging.rollout]\napprovals = 1\n"
    assert project_at(tmp_path, text).project.rollout.approvals == 2
    file = project_at(tmp_path, text, section="staging")
    assert file.project.rollout.approvals == 2
    assert file.origins["rollout.approvals"] == "environments.staging"


@pytest.mark.parametrize(
    ("sections", "key", "words"),
    [
        ('[environments.a]\nafter = "a"', "environments.a.after", "names itself"),
        ('[environments.a]\nafter = "production"\n[environments.b]\nafter = "prodution"', "environments.b.after",
         "no environment of this file; did you mean production"),
        ('[environments.a]\nafter = "b"\n[environments.b]\nafter = "c"\n[environments.c]\nafter = "a"',
         "environments.a.after", "circle: a after b after c after a"),
        ("[environments.a_b]", "environments.a_b", "letters, digits and -"),
        ("[environments.Production]", "environments.Production", "the same variables"),
    ],
)  # fmt: skip
def test_an_environment_that_can_not_be_is_told_with_its_line(
    tmp_path: Path, sections: str, key: str, words: str
):
    text = f"{WHOLE}\n{sections}\n"
    (found,) = [problem for problem in problems_of(tmp_path, text) if problem["key"] == key]
    assert words in found["message"], found
    line = text.splitlines()[found["line"] - 1]
    assert line.startswith("after" if key.endswith("after") else "[environments.")


def test_an_unknown_environment_names_the_known_ones(tmp_path: Path):
    with pytest.raises(ProjectError, match="did you mean production"):
        project_at(tmp_path, WHOLE, section="prodcution")


def test_an_unknown_flag_suggests_the_nearest_key(tmp_path: Path):
    with pytest.raises(BadInput, match="did you mean 'seed'"):
        project_at(tmp_path, EIGHT_LINES, flags={"train.sed": "9"})


def test_a_bad_value_in_a_variable_is_told_with_the_variable(tmp_path: Path):
    with pytest.raises(ProjectError, match="FLYBALL__TRAIN__SEED"):
        project_at(tmp_path, EIGHT_LINES, environment={"FLYBALL__TRAIN__SEED": "many"})
