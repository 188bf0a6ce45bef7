"""Child `prepare`: rows read and joined, kept as a snapshot, held against the contract, divided into parts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.core.clock import isoformat, parse_moment
from flyball.core.contract import Contract, Violation
from flyball.core.errors import BadInput, ContractBroken
from flyball.core.project import ContractSection, DataSection, ModelSection, SplitSection
from flyball.pipelines.hidden import HIDDEN

if TYPE_CHECKING:
    import polars as pl

    from flyball.data.findings import Finding
    from flyball.data.rows import Rows

MOST_SHOWN = 5
BESIDE_NAME = "beside.parquet"


class PrepareTask(msgspec.Struct, frozen=True, kw_only=True):
    """What `prepare` is asked: which rows, what they must satisfy, how they are divided, where the parts go.

    hidden: columns whose values no finding may quote. beside: columns that no part holds, wanted of the held-out rows.
    """

    choice: dict[str, Any]
    folder: str | None
    model: ModelSection
    data: DataSection
    contract: ContractSection
    split: SplitSection
    has_train_steps: bool
    seed: int
    blobs: str
    now: str
    to: dict[str, str]
    hidden: list[str] = []
    beside: list[str] = []


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in the rows. `parts`: train, validation, test. `beside`: further columns of test, None without."""

    features: list[str]
    kept: list[str]
    contract: Contract
    classes: list[Any] | None
    positive: Any
    parts: dict[str, Any]
    by: str
    findings: list[dict[str, Any]]
    source_rows: int
    beside: Any = None


def prepare(payload: dict[str, Any]) -> dict[str, Any]:
    """Facts about the rows, and the parts as Parquet files: data/train, data/validation, held_out/test.

    held_out/beside has further columns of the held-out rows, in their order, where the task names some that there are.
    """
    from flyball.backends.blobs.store import open_blobs
    from flyball.data.content import digest_content
    from flyball.data.snapshots import read_manifest, take_snapshot
    from flyball.data.sources import describe_source

    task = msgspec.convert({name: payload[name] for name in PrepareTask.__struct_fields__}, PrepareTask)
    blobs = open_blobs(task.blobs)
    frame = _read(task, blobs)
    if task.choice["kind"] == "snapshot":
        manifest = read_manifest(task.choice["digest"], blobs)
    else:
        shown = describe_source(task.data.source)
        manifest = take_snapshot(frame, source=shown, blobs=blobs, now=parse_moment(task.now))
    looked = _divide(frame, task)
    _write(looked.parts, task)
    if looked.beside is not None:
        looked.beside.write_parquet(Path(task.to["held_out"]) / BESIDE_NAME, compression="zstd")
    return {
        "snapshot": manifest.digest,
        "manifest": msgspec.to_builtins(manifest),
        "features": looked.features,
        "kept": looked.kept,
        "contract": msgspec.to_builtins(looked.contract),
        "rows": {"source": looked.source_rows, **{name: part.height for name, part in looked.parts.items()}},
        "digests": {name: digest_content(part) for name, part in looked.parts.items()},
        "classes": looked.classes,
        "positive": looked.positive,
        "ranges": {name: _range(part, task.model.time) for name, part in looked.parts.items()},
        "split": looked.by,
        "findings": looked.findings,
    }


def look_at(task: PrepareTask) -> Looked:
    """What `prepare` would find, with nothing kept."""
    return _divide(_read(task, None), task)


def _divide(frame: pl.DataFrame, task: PrepareTask) -> Looked:
    from flyball.data.leaks import find_leaks
    from flyball.data.rows import prepare_rows
    from flyball.data.splits import split_rows

    model = task.model
    rows = prepare_rows(frame, model, task.data)
    kept = _kept_columns(rows, task)
    beside = [name for name in task.beside if name in rows.frame.columns and name not in kept]
    rows, broken = _hold_against_contract(_with_nulls(rows, beside), kept, beside, task)
    section = task.split
    if section.by == "group" and section.column is None:
        section = msgspec.structs.replace(section, column=model.entity)
    split = split_rows(
        rows, section, target=model.target, task=model.task, entity=model.entity, seed=task.seed
    )
    found = [
        *rows.findings,
        *split.findings,
        *find_leaks(split.train, rows.features, model.target, model.task),
    ]
    return Looked(
        features=rows.features,
        kept=kept,
        contract=_contract(split.train, rows.features, task),
        classes=rows.classes,
        positive=rows.positive,
        parts={
            "train": split.train.drop(beside),
            "validation": split.validation.drop(beside),
            "test": split.test.drop(beside),
        },
        by=split.by,
        findings=[*broken, *(_told(finding, task) for finding in found)],
        source_rows=frame.height,
        beside=split.test.select(beside) if beside else None,
    )


def _told(finding: Finding, task: PrepareTask) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(finding)
    feature = finding.facts.get("feature")
    if finding.kind == "constant_feature" and feature in task.hidden:
        plain["sentence"] = f"{feature} is the same in every row and can't help a model"
    return plain


def _read(task: PrepareTask, blobs: Any) -> pl.DataFrame:
    """The rows as they come: a snapshot's, or the source's with its joins. Raises BadInput when there are none."""
    from flyball.data.joins import join_sources
    from flyball.data.snapshots import read_snapshot
    from flyball.data.sources import read_source

    if task.choice["kind"] == "snapshot":
        return read_snapshot(task.choice["digest"], blobs)
    folder = Path(task.folder or ".")
    frame = read_source(task.data.source, folder=folder, query=task.data.query)
    if task.data.join:
        frame = join_sources(frame, task.data.join, time=task.model.time, folder=folder)
    if frame.height == 0:
        raise BadInput("no rows are left after the joins; a row needs a moment at which it was available")
    return frame


def _kept_columns(rows: Rows, task: PrepareTask) -> list[str]:
    """Features, then what rows are known, ordered and sliced by. What is excluded is in no part."""
    others = [task.model.target, task.model.entity, task.model.time, *task.data.protected]
    if task.split.by == "group" and task.split.column is not None:
        others.append(task.split.column)
    return list(dict.fromkeys([*rows.features, *(name for name in others if name is not None)]))


def _with_nulls(rows: Rows, beside: list[str]) -> Rows:
    """The rows with NaN as null in these columns too, as features have it."""
    import polars.selectors as cs

    from flyball.data.rows import Rows

    frame = rows.frame.with_columns((cs.by_name(beside) & cs.float()).fill_nan(None))
    return Rows(frame, rows.features, rows.times, rows.classes, rows.positive, rows.findings)


def _hold_against_contract(
    rows: Rows, kept: list[str], beside: list[str], task: PrepareTask
) -> tuple[Rows, list[dict[str, Any]]]:
    """The rows that satisfy the contract written in the project file, with the columns that are kept, and `beside`.

    Rows of the project's own source must all do: raises ContractBroken. Of a snapshot that a retraining was given
    (logged requests among them) the others are left out, and told.
    """
    from flyball.data.contracts import check_frame

    frame, features = rows.frame.select([*kept, *beside]), rows.features
    rules = {name: rule for name, rule in task.contract.features.items() if name in kept}
    missing = [name for name in task.contract.features if name not in kept]
    if missing and not task.has_train_steps:
        raise BadInput(
            f"[contract.features] has rules for {', '.join(missing)}, which the data do not have; they have "
            f"{', '.join(features[:20])}",
            columns=missing,
        )
    if not rules:
        return _only(rows, frame, None), []
    violations = check_frame(Contract(features=rules), frame, limit=frame.height * len(rules))
    if not violations:
        return _only(rows, frame, None), []
    violations = [_quotable(violation, task) for violation in violations]
    bad = sorted({violation.row for violation in violations})
    shown = "; ".join(
        f"row {v.row}, {v.feature}: {v.problem}, got {v.got}, expected {v.expected}"
        for v in violations[:MOST_SHOWN]
    )
    sentence = f"{len(bad)} of {frame.height} rows break the contract: {shown}"
    if task.choice["kind"] == "source":
        raise ContractBroken(
            f"{sentence}. Mend the data, or change [contract.features]",
            rows=len(bad),
            violations=[msgspec.to_builtins(violation) for violation in violations[:100]],
        )
    finding = {"kind": "contract", "sentence": f"{sentence}; they are left out", "facts": {"rows": len(bad)}}
    return _only(rows, frame, bad), [finding]


def _quotable(violation: Violation, task: PrepareTask) -> Violation:
    return msgspec.structs.replace(violation, got=HIDDEN) if violation.feature in task.hidden else violation


def _only(rows: Rows, frame: pl.DataFrame, bad: list[int] | None) -> Rows:
    """The rows with this frame, without the bad ones."""
    import polars as pl

    from flyball.data.rows import Rows

    times = rows.times
    if bad is not None:
        is_good = ~pl.int_range(frame.height, eager=True).is_in(bad)
        frame = frame.filter(is_good)
        times = None if times is None else times.filter(is_good)
    return Rows(frame, rows.features, times, rows.classes, rows.positive, rows.findings)


def _contract(train: pl.DataFrame, features: list[str], task: PrepareTask) -> Contract:
    """The rules of the project file and, for features without one, those that the training rows show."""
    from flyball.data.contracts import infer_contract

    inferred = infer_contract(train, features).features
    return Contract(features={name: task.contract.features.get(name, inferred[name]) for name in features})


def _write(parts: dict[str, Any], task: PrepareTask) -> None:
    for name, part in parts.items():
        folder = task.to["held_out"] if name == "test" else task.to["data"]
        if part.height:
            part.write_parquet(Path(folder) / f"{name}.parquet", compression="zstd")


def _range(part: pl.DataFrame, time: str | None) -> dict[str, str] | None:
    from flyball.data.columns import event_times

    if time is None or part.height == 0:
        return None
    times = event_times(part, time)
    return {"from": isoformat(times.min()), "until": isoformat(times.max())}  # type: ignore[arg-type]  # a column of moments
