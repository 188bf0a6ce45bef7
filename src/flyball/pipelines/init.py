"""`flyball init`: a project that runs at once, from a table or from a built-in example."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from flyball.core.contract import Contract
from flyball.core.errors import BadInput, FilesExist
from flyball.core.refs import MODEL_NAME
from flyball.pipelines import templates
from flyball.pipelines.project_file import FILE_NAME

if TYPE_CHECKING:
    import polars as pl

TEMPLATES = ("orders",)
TRAIN_FILE = "train.py"


class InitReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was written and what was taken from the data; `excluded`: columns left out, with the reason."""

    files: list[str]
    task: str
    target: str
    name: str
    positive: str | int | bool | None
    time: str | None
    entity: str | None
    features: list[str]
    excluded: dict[str, str]


def init_project(
    folder: Path,
    *,
    data: Path | None = None,
    target: str | None = None,
    name: str | None = None,
    template: str | None = None,
) -> InitReport:
    """Write flyball.toml and train.py (and, without data, a small made-up table) into a folder.

    Raises FilesExist, with nothing written, when one of them is there; BadInput when data or target can't be used.
    """
    if template is not None and template not in TEMPLATES:
        raise BadInput(f"there is no template {template!r}; one of {', '.join(TEMPLATES)}", template=template)
    if template is not None and data is not None:
        raise BadInput("a template brings its own data; give either --template or --data")
    written = [FILE_NAME, TRAIN_FILE] + ([templates.EXAMPLE_FILE] if data is None else [])
    if existing := [str(folder / file) for file in written if (folder / file).exists()]:
        raise FilesExist(
            f"{', '.join(existing)} exists already; nothing was written. Choose another folder, or move it away",
            files=existing,
        )
    contents: dict[str, str] = {}
    if data is None:
        contents[templates.EXAMPLE_FILE] = templates.example_table()
        target = templates.EXAMPLE_TARGET if target is None else target
        frame, source = _read_text(contents[templates.EXAMPLE_FILE]), templates.EXAMPLE_FILE
    else:
        frame, source = _read(data), _source_path(data, folder)
    draft, features = _draft(frame, target, source, name or _name(folder))
    learner: templates.Learner = "lightgbm" if importlib.util.find_spec("lightgbm") else "scikit-learn"
    contents[FILE_NAME] = templates.project_text(draft)
    contents[TRAIN_FILE] = templates.training_text(draft.task, learner)
    _write_all(folder, contents)
    return InitReport(
        files=[str(folder / file) for file in written],
        task=draft.task,
        target=draft.target,
        name=draft.name,
        positive=draft.positive,
        time=draft.time,
        entity=draft.entity,
        features=features,
        excluded=draft.excluded,
    )


def _draft(
    frame: pl.DataFrame, target: str | None, source: str, name: str
) -> tuple[templates.Draft, list[str]]:
    from flyball.data.contracts import infer_contract
    from flyball.data.leaks import find_leaks
    from flyball.pipelines import guesses

    target = guesses.guess_target(frame, target)
    task = guesses.guess_task(frame, target)
    time = guesses.guess_time(frame, target)
    entity = guesses.guess_entity(frame, {target, *([time] if time else [])})
    taken = {column for column in (target, time, entity) if column is not None}
    excluded = guesses.guess_excluded(frame, taken)
    features = [column for column in frame.columns if column not in taken and column not in excluded]
    for finding in find_leaks(frame, features, target, task):
        excluded |= dict.fromkeys(finding.facts["features"], "gives the target away")
    contract = infer_contract(frame, [column for column in features if column not in excluded])
    for column, rule in contract.features.items():
        if rule.type == "string" and rule.values is None:
            count = frame.get_column(column).n_unique()
            excluded[column] = f"text with {count} different values; needs a step that makes numbers of it"
    features = [column for column in features if column not in excluded]
    if not features:
        raise BadInput(f"no column of the data can be a feature: {excluded}", excluded=excluded)
    draft = templates.Draft(
        name=name,
        task=task,
        target=target,
        source=source,
        positive=guesses.guess_positive(frame, target) if task == "binary" else None,
        entity=entity,
        time=time,
        excluded=excluded,
        pace=guesses.guess_pace(frame, time),
        contract=Contract(features={name: contract.features[name] for name in features}),
    )
    return draft, features


def _read(data: Path) -> pl.DataFrame:
    from flyball.data.sources import read_source

    frame = read_source(str(data.resolve()), folder=Path.cwd())
    if frame.height < 10:
        raise BadInput(f"{data} has {frame.height} rows; a model needs more to learn from", rows=frame.height)
    return frame


def _read_text(text: str) -> pl.DataFrame:
    import polars as pl

    return pl.read_csv(text.encode(), try_parse_dates=True)


def _source_path(data: Path, folder: Path) -> str:
    """The data's path as the project file names it: relative to the project, so that both can move together."""
    return Path(os.path.relpath(data.resolve(), folder.resolve())).as_posix()


def _name(folder: Path) -> str:
    name = re.sub(r"[^a-z0-9-]+", "-", folder.resolve().name.lower()).strip("-")[:63]
    return name if MODEL_NAME.match(name) else "my-model"


def _write_all(folder: Path, contents: dict[str, str]) -> None:
    """All files or none: what was written is taken back if one can't be."""
    written: list[Path] = []
    try:
        for name, text in contents.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(text)
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        raise BadInput(f"{folder} can't be written to: {error}", folder=str(folder)) from error
