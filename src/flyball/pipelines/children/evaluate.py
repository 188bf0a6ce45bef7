"""Child `evaluate`: the packaged model on rows it was not trained on, beside the champion, and before its gates.

It has no stores and no credentials. Everything is read from files; the package is finished here, with golden batch,
faster form and monitoring reference.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.core.contract import Contract
from flyball.core.project import Project
from flyball.pipelines.children.answering import Held, held_answers
from flyball.pipelines.children.asking import ask_package, ask_saved
from flyball.pipelines.children.comparing import Champion, Comparison, compare
from flyball.pipelines.children.gating import Evidence, judge_gates
from flyball.pipelines.children.measuring import (
    group_rows,
    losses_of,
    measure_all,
    measure_slices,
    slice_columns,
)
from flyball.pipelines.children.prepare import BESIDE_NAME
from flyball.pipelines.children.references import Witnessed, make_reference
from flyball.registry.formats.saving import Saved

if TYPE_CHECKING:
    import polars as pl


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """What `train` said about the model."""

    features: list[str]
    contract: Contract
    has_frames: bool
    has_answers: bool
    saved: Saved
    twin: Saved | None


class EvaluateTask(msgspec.Struct, frozen=True, kw_only=True):
    """What `evaluate` is asked: a project, folders with rows and packages, the champion if there is one."""

    project: Project
    positive: Any
    trained: Trained
    data: str
    held_out: str
    made: str
    package: str
    champion: Champion | None
    is_automatic: bool
    progressive: float | None


def evaluate(payload: dict[str, Any]) -> dict[str, Any]:
    """Metrics, slices, comparison, measures of the package, verdicts of the gates, and warnings."""
    from flyball.registry.formats.package import finish

    task = msgspec.convert({name: payload[name] for name in EvaluateTask.__struct_fields__}, EvaluateTask)
    project, package = task.project, Path(task.package)
    test = _read(task, "test")
    rows = test.select(task.trained.features)
    manifest = finish(
        package,
        task.trained.saved,
        model=project.model.name,
        task=project.model.task,
        contract=task.trained.contract,
        rows=rows,
    )
    asked = ask_package(package, rows, measure=True)
    measures, answers = asked.measures, asked.answers
    if task.trained.twin is not None:
        # The numbers are those of the model that had not seen the held-out rows.
        answers = ask_saved(Path(task.made) / "evaluated", task.trained.twin, rows, project.model.task)
    assert measures is not None
    held = held_answers(answers, manifest.signature.classes, test, project, task.positive)
    groups = group_rows(test, project)
    metrics = measure_all(held, project, groups)
    _add_reference(task, package, test, held)
    comparison, pairing = compare(task.champion, _with_beside(test, task), held, groups, project)
    evidence = Evidence(
        project=project,
        metrics=metrics,
        measures=measures,
        test=test,
        held=held,
        comparison=comparison,
        pairing=pairing,
    )
    columns = slice_columns(test, project, task.trained.features)
    return {
        "metrics": msgspec.to_builtins(metrics),
        "slices": measure_slices(test, held, project, columns),
        "comparison": msgspec.to_builtins(comparison),
        "package": msgspec.to_builtins(measures),
        "gates": judge_gates(evidence, is_automatic=task.is_automatic),
        "isolated": manifest.isolated,
        "forms": [form.kind for form in manifest.derived],
        "refused_forms": [form.because for form in manifest.refused_forms],
        "warnings": [*_warnings(test, held, comparison, project), *_changed_truth(task, test)],
    }


def _read(task: EvaluateTask, name: str) -> pl.DataFrame:
    """Rows as the model's requests have them: as prepared, or as the `at = "train"` steps made them."""
    import polars as pl

    if task.trained.has_frames:
        return pl.read_parquet(Path(task.made) / f"{name}.parquet")
    folder = task.held_out if name == "test" else task.data
    return pl.read_parquet(Path(folder) / f"{name}.parquet")


def _with_beside(test: pl.DataFrame, task: EvaluateTask) -> pl.DataFrame:
    """The held-out rows with the columns that only the champion takes, where there are any."""
    import polars as pl

    path = Path(task.held_out) / BESIDE_NAME
    return test.hstack(pl.read_parquet(path)) if path.is_file() else test


def _changed_truth(task: EvaluateTask, test: pl.DataFrame) -> list[str]:
    """Steps before training are the project's own code, and may make other held-out rows: metrics are of those."""
    import polars as pl

    if not task.trained.has_frames:
        return []
    target = task.project.model.target
    given = pl.read_parquet(Path(task.held_out) / "test.parquet", columns=[target])[target]
    if given.len() != test.height:
        return [
            f"steps before training made {test.height} held-out rows of {given.len()}: metrics are of theirs"
        ]
    changed = sum(one != other for one, other in zip(given.to_list(), test[target].to_list(), strict=True))
    return [f"steps before training changed the target of {changed} held-out rows"] if changed else []


def _add_reference(task: EvaluateTask, package: Path, test: pl.DataFrame, held: Held) -> None:
    """Write the monitoring reference into the package and seal it again."""
    import polars as pl

    from flyball.core.digests import canonical_json
    from flyball.pipelines.children.crossing import LOSS, WATCHED
    from flyball.registry.bundle import read_folder_manifest, seal
    from flyball.registry.manifest import REFERENCE_NAME

    project, contract = task.project, task.trained.contract
    train = _read(task, "train")
    if task.trained.has_answers:
        answers = pl.read_parquet(Path(task.made) / "answers.parquet")
        losses = None if answers[LOSS].null_count() else answers[LOSS].to_numpy()
        witnessed = Witnessed(frame=train, watched=answers[WATCHED].to_list(), losses=losses)
    else:
        witnessed = Witnessed(frame=test, watched=held.watched(), losses=losses_of(held, project))
    inputs = pl.concat([train, test], how="vertical_relaxed") if task.trained.twin is not None else train
    reference = make_reference(inputs, witnessed, project, contract, task.progressive)
    (package / REFERENCE_NAME).write_bytes(canonical_json(reference))
    seal(package, msgspec.structs.replace(read_folder_manifest(package), reference=REFERENCE_NAME))


def _warnings(test: pl.DataFrame, held: Held, comparison: Comparison | None, project: Project) -> list[str]:
    found = []
    if test.height < 100:
        found.append(f"only {test.height} held-out rows: intervals are wide, and gates rarely decided")
    if held.classes is not None and len({str(value) for value in held.truth}) < 2:
        found.append("the held-out rows have one class only: most metrics are undefined on them")
    if comparison is not None and comparison.left_out:
        found.append(
            f"{comparison.left_out:,} of {test.height:,} held-out rows were left out of the comparison with the "
            "champion, which was trained on them"
        )
    if project.train.refit:
        found.append(
            "the packaged model was trained once more on all rows; the metrics are those of its twin"
        )
    return found
