"""How a model is made from rows: the columns of a request, steps on them, `train`, and files that come of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyball.backends.scratch import ScratchFolder
from flyball.core.contract import Contract
from flyball.core.errors import BadAnswer, BadBundle, FlyballError, UserCodeFailed
from flyball.core.project import Project, StepSection
from flyball.pipelines.children.answering import Held, held_answers
from flyball.pipelines.children.fitting import Workbench, call_train, step_key
from flyball.pipelines.user_code import own_modules, told
from flyball.registry.bundle import FeatureSpec, StepSpec, copy_files, read_file, read_folder_manifest
from flyball.registry.formats.custom import is_custom
from flyball.registry.formats.frames import with_categories, with_types
from flyball.registry.formats.saving import Saved, open_saved, save_estimator
from flyball.registry.formats.signatures import feature_specs, signature_for
from flyball.registry.formats.steps import StepChain, StepSource

if TYPE_CHECKING:
    import polars as pl

SAMPLE_ROWS = 200
PROBED_ROWS = 1000


class ModelMaker:
    """Makes models of one project from one set of prepared rows, all in the same way."""

    def __init__(
        self,
        bench: Workbench,
        function: Callable[..., Any],
        contract: Contract,
        classes: list[Any] | None,
        positive: Any,
        train: pl.DataFrame,
    ) -> None:
        """contract: of a request's columns. train: the training rows, from which is told what the steps give."""
        self.project: Project = bench.project
        self.classes = classes
        self._bench, self._function, self._positive = bench, function, positive
        target = self.project.model.target
        self.signature = signature_for(contract, target=target, classes=classes, positive=positive)
        self._steps = [step for step in self.project.steps if step.at == "both"]
        self._chain = self._load_chain(self._steps)
        self._model_features: tuple[FeatureSpec, ...] = self.signature.features
        if self._chain is not None:
            self._model_features = _features_of(self._behind_steps(train))

    def fit(self, train: pl.DataFrame, validation: pl.DataFrame | None, out: Path | None = None) -> Any:
        """What `train` returns for these rows. Without `out`, its extra files are thrown away."""
        if out is not None:
            return self._call(train, validation, out)
        with ScratchFolder("fold") as folder:
            return self._call(train, validation, folder)

    def save(self, estimator: Any, rows: pl.DataFrame, folder: Path, *, with_onnx: bool = True) -> Saved:
        """The estimator as files, asked with some of the rows. Raises UnsupportedModel, UserCodeFailed."""
        project, source = self.project, self._bench.source
        steps = [
            StepSource(name=step.name, entry=step.entry, params=project.train.params, seed=project.train.seed)
            for step in self._steps
        ]
        with self._own_errors_told(estimator):
            return save_estimator(
                estimator,
                folder,
                task=project.model.task,
                signature=self.signature,
                sample=rows.head(SAMPLE_ROWS),
                frames=project.train.frames,
                steps=steps,
                source=source,
                source_files=own_modules(source),
                step_features=self._model_features if steps else None,
                with_onnx=with_onnx,
            )

    def answers(self, estimator: Any, rows: pl.DataFrame) -> Held:
        """The estimator's answers on rows with a target, given by its saved form. Raises UserCodeFailed."""
        with ScratchFolder("fold") as folder:
            saved = self.save(estimator, rows, folder, with_onnx=False)
            return self.saved_answers(estimator, saved, folder, rows)

    def saved_answers(self, estimator: Any, saved: Saved, folder: Path, rows: pl.DataFrame) -> Held:
        """The answers of what was saved in a folder, on rows with a target. Raises UserCodeFailed."""
        from flyball.registry.formats.loading import custom_asker

        task = self.project.model.task
        given = self._behind_steps(rows)
        try:
            if saved.predictor.kind == "custom":
                # Its class is loaded in this process from the project's folder, and can't be from the package's too.
                with self._own_errors_told(estimator):
                    answers = custom_asker(estimator, saved.predictor, task, saved.signature)(given)
            else:
                answers = open_saved(folder, saved, task=task, skip_steps=True).predict_frame(given)
        except BadAnswer as error:
            raise UserCodeFailed(f"the model that train returned can't be used: {error.message}") from error
        return held_answers(answers, saved.signature.classes, rows, self.project, self._positive)

    def say(self, line: str) -> None:
        """Tell whoever follows the run."""
        sys.stdout.write(line + "\n")

    @contextmanager
    def _own_errors_told(self, estimator: Any) -> Iterator[None]:
        """What a class of the project raises is the project's error, with its line; ours stay ours."""
        try:
            yield
        except (FlyballError, MemoryError):
            raise
        except Exception as error:
            if not is_custom(estimator):
                raise
            what = f"{type(estimator).__name__}, which train returned,"
            raise told(error, self._bench.source, what) from error

    def _call(self, train: pl.DataFrame, validation: pl.DataFrame | None, out: Path) -> Any:
        held = None if validation is None else self._table(validation)
        return call_train(self._bench, self._function, self._table(train), held, out)

    def _table(self, rows: pl.DataFrame) -> pl.DataFrame:
        """What `train` sees: the model's features with the contract's categories, and the target."""
        features = with_categories(self._behind_steps(rows), self._model_features)
        return features.with_columns(rows.get_column(self.project.model.target))

    def _behind_steps(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The columns of a request, typed as a request's are, after the steps that each request goes through."""
        typed = with_types(rows, self.signature.features)
        if self._chain is None:
            return typed
        what = ", ".join(step_key(step) for step in self._steps)
        try:
            return self._chain.run(typed)
        except BadAnswer as error:
            raise UserCodeFailed(f"{what}: {error.message}") from error
        except MemoryError:
            raise
        except Exception as error:
            raise told(error, self._bench.source, what) from error

    def _load_chain(self, steps: list[StepSection]) -> StepChain | None:
        """The very code that serving runs, on the project's own folder."""
        if not steps:
            return None
        train = self.project.train
        specs = [
            StepSpec(
                name=step.name,
                entry=step.entry,
                frames="pandas" if train.frames == "pandas" else "polars",
                params=train.params,
                seed=train.seed,
            )
            for step in steps
        ]
        names = [feature.name for feature in self.signature.features]
        try:
            return StepChain(specs, names, self.project.model.target, self._bench.source)
        except BadBundle as error:
            raise UserCodeFailed(error.message) from error


def open_champion(folder: str | None, source: Path | None = None) -> Any:
    """The model in service as its own library knows it, for a warm start; None without one.

    A LightGBM or XGBoost booster, a scikit-learn estimator, or an object of the project's own class, found in its
    source (the working folder by default).
    """
    if folder is None:
        return None
    path = Path(folder)
    manifest = read_folder_manifest(path)
    spec = manifest.predictor
    if spec.kind == "custom":
        from flyball.registry.formats.custom import load_custom

        with ScratchFolder("champion") as copies:
            copy_files(path, manifest, spec.path, copies)
            return load_custom(spec, copies, source or Path.cwd())
    data = read_file(path, manifest, spec.path)
    if spec.kind == "lightgbm":
        import lightgbm

        return lightgbm.Booster(model_str=data.decode())
    if spec.kind == "xgboost":
        import xgboost

        booster = xgboost.Booster()
        booster.load_model(bytearray(data))
        return booster
    from flyball.registry.formats.sklearn import load_estimator

    return load_estimator(data)


def _features_of(frame: pl.DataFrame) -> tuple[FeatureSpec, ...]:
    """What the model takes where steps make its columns: types, and categories of text, from the training rows."""
    from flyball.data.contracts import infer_contract

    return feature_specs(infer_contract(frame, frame.columns))
