"""Candidates that raise, hang, leak, answer NaN or end their process: taken out by the loop, unseen by clients."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

PROJECT = """
[model]
name = "plant"
task = "regression"
target = "yield"
[data]
source = "rows.csv"
[train]
entry = "train:train"
params = { behaviour = "none" }
[serve]
memory_mb = 700
[rollout]
strategy = "canary"
steps = [0.5, 1.0]
bake = "0s"
[monitor]
window = "1h"
"""
TRAIN = """
from model import Model


def train(train, features, target, params, seed):
    if params["behaviour"] != "none":
        return Model(params["behaviour"])
    import lightgbm

    model = lightgbm.LGBMRegressor(n_estimators=10, num_leaves=7, random_state=seed, n_jobs=1, verbose=-1)
    return model.fit(train.select(features).to_numpy(), train[target].to_numpy())
"""
# Sound on everything that training, gates and the golden batch show it, and on most requests; not on heat above 10.
MODEL = '''
import json
import os
import time
from pathlib import Path

KEPT = []


class Model:
    """Knows the truth, and misbehaves when it is hotter than it ever was."""

    def __init__(self, behaviour):
        self.behaviour = behaviour

    def save(self, folder):
        Path(folder, "model.json").write_text(json.dumps(self.behaviour))

    @classmethod
    def load(cls, folder):
        return cls(json.loads(Path(folder, "model.json").read_text()))

    def predict(self, rows):
        answers = (rows["heat"] * 3 - rows["water"] * 2).to_list()
        if max(rows["heat"].to_list()) <= 10:
            return answers
        if self.behaviour == "raise":
            raise ValueError("raised as asked")
        if self.behaviour == "hang":
            time.sleep(3600)
        if self.behaviour == "leak":
            KEPT.append(os.urandom(1) * (100 * 2**20))
        if self.behaviour == "no number":
            return [float("nan")] * len(answers)
        if self.behaviour == "exit":
            os._exit(3)
        return answers
'''
BEHAVIOURS = ("raise", "hang", "leak", "no number", "exit")
REASONS = {
    "raise": "raised as asked",
    "hang": "hang: no answer within 0.5 s",
    "leak": "memory: ",
    "no number": "not_finite: ",
    "exit": "crash: the model's process ended with exit code 3",
}


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory, child_environment: dict[str, str]) -> Iterator[Any]:
    """A sound champion, versions 2 to 6 that misbehave, one each, and `flyball up`."""
    module = sys.modules["flyball_tests_whole"]
    environment = {**child_environment, "FLYBALL_CANDIDATE_DEADLINE_SECONDS": "0.5"}
    whole = module.Whole(module.write_project(tmp_path_factory.mktemp("bad") / "plant"), environment)
    for name, text in (("flyball.toml", PROJECT), ("train.py", TRAIN), ("model.py", MODEL)):
        (whole.folder / name).write_text(text)
    whole.flyball("run")
    whole.flyball("deploy", "plant", "--why", "first version")
    for behaviour in BEHAVIOURS:
        whole.flyball("run", "--set", f"train.params.behaviour={behaviour}")
    whole.up()
    whole.wait(lambda: whole.predict()[0] == 1, "the champion")
    yield whole
    whole.down()


def ended(whole: Any, rollout_id: str) -> dict[str, Any] | None:
    """The rollout once it is over."""
    status, found = whole.call(whole.port, "GET", "/api/v1/rollouts?model=plant")
    assert status == 200, found
    (rollout,) = [item for item in found["items"] if item["id"] == rollout_id]
    return rollout if rollout["state"] not in ("waiting", "running") else None


def has_candidate(whole: Any, number: int) -> bool:
    status, found = whole.call(whole.serve_port, "POST", "/v1/models/plant/predict", SOUND)
    assert status == 200, found
    return bool(found["version"] == number)


SOUND = {"rows": [{"heat": 4.0, "water": 2.0}]}
HOT = {"rows": [{"heat": 12.0, "water": 2.0}]}


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_a_bad_candidate_is_aborted_with_evidence_and_clients_see_no_error(plant: Any, behaviour: str):
    number = 2 + BEHAVIOURS.index(behaviour)
    started = plant.json("deploy", f"plant@{number}", "--why", f"a candidate that does {behaviour}")
    plant.wait(lambda: has_candidate(plant, number), "the candidate's first answer", seconds=60)
    answers, done, deadline = [], None, time.monotonic() + 60
    while done is None:
        assert time.monotonic() < deadline, f"the rollout did not end; {plant.logs()}"
        for _ in range(5):
            answers.append(plant.call(plant.serve_port, "POST", "/v1/models/plant/predict", HOT))
        done = ended(plant, started["rollout_id"])

    assert {status for status, _ in answers} == {200}
    assert all(abs(answer["predictions"][0]) < 100 for _, answer in answers)
    if behaviour != "leak":  # it answers well until it meets its limit
        assert {answer["version"] for _, answer in answers} == {1}
    assert done["state"] == "aborted"
    assert REASONS[behaviour] in done["because"]

    described = plant.json("show", f"plant@{number}")
    (facts,) = [item["facts"] for item in described["evidence"] if item["kind"] == "rollout"]
    assert (facts["verdict"], facts["rollout_id"]) == ("aborted", started["rollout_id"])
    assert facts["because"] == done["because"]
    assert described["aliases"] == []
    assert done["because"] in plant.flyball("show", f"plant@{number}")
    assert plant.json("show", "plant@champion")["version"]["number"] == 1
