"""Settings that are read and checked but that nothing acts on in this release; `flyball check` names them."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from flyball.pipelines.project_file import ProjectFile

_REASONS: dict[str, str] = {
    "alerts": "nothing is sent yet; look at the console, the event stream or `flyball incidents`",
    "data.split.folds": "one split is made; walk-forward folds are not",
    "log.keep": "nothing is deleted from the log yet",
    "policy": "gates and rollout decide alone for now",
    "retrain.schedule": "retraining starts from signals only for now",
    "serve.workers": "the number of workers is given to `flyball up --workers`",
    "tune": "no search is made yet; [train].params hold",
}


class NotActedOn(msgspec.Struct, frozen=True, kw_only=True):
    """A key of the file that changes nothing yet, its line, and why."""

    key: str
    line: int
    because: str


def not_acted_on(file: ProjectFile) -> list[NotActedOn]:
    """What the file (or a flag) sets that nothing acts on yet; empty when all of it takes effect."""
    return [
        NotActedOn(key=key, line=file.lines.get(key, 1), because=because) for key, because in _unused(file)
    ]


def _unused(file: ProjectFile) -> Iterator[tuple[str, str]]:
    for key, because in _REASONS.items():
        if key in file.origins:
            yield key, because
    project = file.project
    if project.train.entry == "auto":
        yield "train.entry", "no model is chosen automatically yet; name a module:function"
    for number, gate in enumerate(project.gates):
        if gate.over is not None or gate.metric == "disagreement":
            yield f"gates[{number}]", "production requests are not replayed for a gate yet"
    for number, trigger in enumerate(project.retrain.on):
        if trigger == "schedule" or trigger.startswith("outcomes "):
            yield f"retrain.on[{number}]", "retraining starts from signals only for now"
    if project.schedules == "external" and project.retrain.on:
        yield "retrain.on", 'schedules is "external": `flyball retrain` retrains, and no signal does'
    if project.model.task == "multiclass" and project.decision.threshold is not None:
        yield "decision.threshold", "the likeliest class is answered for more than two classes"
