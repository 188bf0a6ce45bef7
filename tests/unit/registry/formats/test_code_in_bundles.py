from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightgbm as lgb
import msgspec
import numpy as np
import polars as pl
import pytest
from flyball_tests_goldens import verify_golden

from flyball.core.errors import BadBundle, NeedsModelProcess, UnsupportedModel
from flyball.registry.bundle import BundleManifest, FeatureSpec, read_folder_manifest
from flyball.registry.formats.custom import ask_custom
from flyball.registry.formats.frames import with_types
from flyball.registry.formats.loading import load_predictor
from flyball.registry.formats.saving import save_estimator
from flyball.registry.formats.signatures import feature_specs, signature_for
from flyball.registry.formats.steps import StepSource

MODEL = '''
    import json
    from pathlib import Path

    import numpy as np

    from {helper} import scale


    class Cities:
        """Mean rentals by city, scaled."""

        def __init__(self, means, factor=1.0):
            self.means, self.factor = means, factor

        @classmethod
        def fit(cls, rows, truth):
            return cls({{str(city): float(np.mean([t for c, t in zip(rows["city"], truth) if c == city]))
                        for city in set(rows["city"])}})

        def predict(self, rows):
            return [scale(self.means.get(str(city), 0.0), self.factor) for city in rows["city"]]

        def save(self, folder):
            (Path(folder) / "means.json").write_text(json.dumps(self.means, sort_keys=True))

        @classmethod
        def load(cls, folder):
            return cls(json.loads((Path(folder) / "means.json").read_text()))
'''
HELPER = """
    def scale(value, factor):
        return value * factor
"""
STEPS = """
    import polars as pl


    def build(rows, params, features):
        return rows.with_columns(
            warmth=pl.col("temp").fill_null(params["fill"]) - pl.col("wind") / 10,
            is_late=pl.col("hour") > 18,
        )


    def narrow(rows, build):
        return rows.select("hour", "warmth", "is_late")


    def centred(rows):
        return rows.with_columns(warmth=pl.col("temp") - pl.col("temp").mean())


    def shorter(rows):
        return rows.head(1)


    def failing(rows):
        return rows.select("rentals")
"""
ASK = """
    import json, sys
    from pathlib import Path
    from flyball.registry.formats.golden import check_golden
    from flyball.registry.formats.loading import load_predictor
    from flyball.registry.bundle import BundleManifest, FeatureSpec, read_folder_manifest
    folder = Path(sys.argv[1])
    predictor = load_predictor(folder, in_model_process=True)
    check_golden(predictor, folder, read_folder_manifest(folder))
    rows = json.load(sys.stdin)
    together = predictor.predict_rows(rows)
    alone = [predictor.predict_rows([row]).predictions[0] for row in rows]
    print(json.dumps([together.predictions, together.scores, alone]))
"""


FINISH = """
    import sys
    from pathlib import Path
    import msgspec
    import polars as pl
    from flyball.core.contract import Contract
    from flyball.registry.formats.package import finish
    from flyball.registry.formats.saving import Saved
    folder, task = Path(sys.argv[1]), sys.argv[2]
    given = msgspec.json.decode(sys.stdin.read())
    finish(
        folder,
        msgspec.convert(given["saved"], Saved),
        model="bike",
        task=task,
        contract=msgspec.convert(given["contract"], Contract),
        rows=pl.read_parquet(folder.parent / "rows.parquet"),
    )
"""


@pytest.fixture
def pack_code(tmp_path: Path, data: Any) -> Callable[..., tuple[Path, BundleManifest]]:
    """Saves an estimator here and finishes its bundle in another process, as runs do; its folder and manifest."""

    def pack(
        estimator: Any, rows: pl.DataFrame, *, source: Path, task: Any = "regression", **options: Any
    ) -> tuple[Path, BundleManifest]:
        contract = options.pop("contract", data.numeric_contract())
        classes = options.pop("classes", None)
        positive = options.pop("positive", None)
        signature = signature_for(contract, target="target", classes=classes, positive=positive)
        folder, rows = tmp_path / "bundle", rows.select(list(contract.features))
        saved = save_estimator(
            estimator, folder, task=task, signature=signature, sample=rows, source=source, **options
        )
        rows.write_parquet(tmp_path / "rows.parquet")
        done = subprocess.run(
            [sys.executable, "-P", "-c", textwrap.dedent(FINISH), str(folder), task],
            input=msgspec.json.encode({"saved": saved, "contract": contract}),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return folder, read_folder_manifest(folder)

    return pack


@pytest.fixture
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Writes modules of a project and imports one. Names are new each time: modules stay in this process."""
    folder = tmp_path / "project"
    folder.mkdir()
    sys.path.insert(0, str(folder))
    mark = f"{abs(hash(request.node.nodeid)):x}"

    def write(text: str, name: str = "train", **names: str) -> Any:
        module = f"{name}_{mark}"
        (folder / f"{module}.py").write_text(textwrap.dedent(text.format(**names) if names else text))
        return __import__(module)

    write.folder = folder
    yield write
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.endswith(mark)]:
        del sys.modules[name]


def ask_elsewhere(folder: Path, rows: list[dict[str, Any]]) -> tuple[list[Any], Any, list[Any]]:
    """The answers of a bundle in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(ASK), str(folder)],
        input=json.dumps(rows),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    predictions, scores, alone = json.loads(done.stdout)
    return predictions, scores, alone


def _cities(project: Any) -> Any:
    helper = project(HELPER, name="helper").__name__
    return project(MODEL, helper=helper).Cities


def test_a_class_of_ones_own_answers_the_same_from_its_package(
    project: Any, pack_code: Any, data: Any
) -> None:
    rows = data.text_rows(300)
    model = _cities(project).fit(rows, rows["rentals"])
    folder, manifest = pack_code(model, rows, contract=data.text_contract(), source=project.folder)
    assert (manifest.predictor.kind, manifest.needs_process, manifest.needs_frame) == ("custom", True, True)
    assert {file.path.split("/")[0] for file in manifest.files} == {"source", "model", "golden.json"}
    requests = rows.select(list(data.text_contract().features)).to_dicts()
    predictions, scores, alone = ask_elsewhere(folder, requests)
    assert predictions == model.predict(rows)
    assert alone == predictions
    assert scores is None


def test_its_code_is_not_run_in_a_model_server(project: Any, pack_code: Any, data: Any) -> None:
    rows = data.text_rows(100)
    model = _cities(project).fit(rows, rows["rentals"])
    folder, _ = pack_code(model, rows, contract=data.text_contract(), source=project.folder)
    with pytest.raises(NeedsModelProcess, match="code of its own"):
        load_predictor(folder)
    assert verify_golden(folder).outcome == "fail"


def test_a_process_that_has_another_module_of_that_name_is_none_for_it(
    project: Any, pack_code: Any, data: Any
) -> None:
    rows = data.text_rows(100)
    model = _cities(project).fit(rows, rows["rentals"])
    folder, _ = pack_code(model, rows, contract=data.text_contract(), source=project.folder)
    with pytest.raises(BadBundle, match="process of its own"):
        load_predictor(folder, in_model_process=True)


def test_code_changed_in_the_cache_is_not_run(project: Any, pack_code: Any, data: Any) -> None:
    rows = data.text_rows(100)
    model = _cities(project).fit(rows, rows["rentals"])
    folder, _ = pack_code(model, rows, contract=data.text_contract(), source=project.folder)
    code = next((folder / "source").glob("train_*.py"))
    code.write_text("raise SystemExit('evil')\n" + code.read_text())
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(ASK), str(folder)],
        input="[]",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "CorruptBundle" in done.stderr
    assert "evil" not in done.stderr.replace(code.name, "")


@pytest.mark.parametrize(
    ("answer", "task", "expected"),
    [
        ([0.25], "binary", (["no"], [[0.75, 0.25]])),
        (np.full((1, 2), 0.5), "binary", (["no"], [[0.5, 0.5]])),
        (np.array(["yes"]), "binary", (["yes"], None)),
        (pl.Series([2]), "multiclass", ([2], None)),
        (np.array([[0.1, 0.2, 0.7]]), "multiclass", ([2], [[0.1, 0.2, 0.7]])),
        (np.array([3]), "regression", ([3.0], None)),
        (np.ones((1, 1)), "regression", ([1.0], None)),
    ],
)
def test_what_predict_returns_is_understood(answer: Any, task: Any, expected: Any) -> None:
    class Model:
        def predict(self, rows: Any) -> Any:
            return answer

    classes = {"binary": ("no", "yes"), "multiclass": (0, 1, 2), "regression": None}[task]
    found = ask_custom(Model(), None, task, classes, "yes" if task == "binary" else None, 1)
    assert (found.predictions, found.scores) == expected


def test_the_positive_class_is_the_one_that_a_single_probability_means() -> None:
    class Model:
        def predict(self, rows: Any) -> Any:
            return [0.9, 0.2]

        def predict_proba(self, rows: Any) -> Any:
            raise AssertionError("not asked where predict gives probabilities")

    found = ask_custom(Model(), None, "binary", ("bad", "good"), "bad", 2)
    assert found.predictions == ["bad", "good"]
    assert found.scores == [pytest.approx([0.9, 0.1]), pytest.approx([0.2, 0.8])]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return [float('nan')] * len(rows)", "no finite number"),
        ("return [1.0]", "answers for"),
        ("return None", "returned NoneType"),
        ("return ['a'] * len(rows)", "a number is expected"),
        ("return [[1.0, 2.0]] * len(rows)", "one is expected"),
    ],
)
def test_nonsense_is_refused_at_packaging(
    project: Any, pack_code: Any, data: Any, body: str, message: str
) -> None:
    module = project(
        f"""
        class Model:
            def predict(self, rows):
                {body}

            def save(self, folder):
                pass

            @classmethod
            def load(cls, folder):
                return cls()
        """
    )
    with pytest.raises(UnsupportedModel, match=message):
        pack_code(module.Model(), data.numeric_rows(40), source=project.folder)


def test_a_pickle_that_save_wrote_is_refused(project: Any, pack_code: Any, data: Any) -> None:
    module = project(
        """
        import pickle

        class Model:
            def predict(self, rows):
                return [1.0] * len(rows)

            def save(self, folder):
                (folder / "model.bin").write_bytes(pickle.dumps(self))

            @classmethod
            def load(cls, folder):
                return cls()
        """
    )
    with pytest.raises(UnsupportedModel, match=r"model\.bin, which is a pickle"):
        pack_code(module.Model(), data.numeric_rows(40), source=project.folder)


def test_a_class_that_can_not_be_found_again_is_refused(project: Any, pack_code: Any, data: Any) -> None:
    class Here:
        def predict(self, rows: Any) -> list[float]:
            return [1.0] * len(rows)

        def save(self, folder: Path) -> None:
            pass

        @classmethod
        def load(cls, folder: Path) -> Here:
            return cls()

    with pytest.raises(UnsupportedModel, match="inside a function"):
        pack_code(Here(), data.numeric_rows(40), source=project.folder)


def _stepped(project: Any, data: Any, *names: str) -> tuple[list[StepSource], Any]:
    module = project(STEPS, name="steps")
    return [
        StepSource(name=name, entry=f"{module.__name__}:{name}", params={"fill": 4.5}) for name in names
    ], module


def test_steps_before_a_model_answer_the_same_from_the_package(
    project: Any, pack_code: Any, data: Any
) -> None:
    rows = data.numeric_rows(1000)
    steps, module = _stepped(project, data, "build", "narrow")
    typed = with_types(rows, feature_specs(data.numeric_contract()))
    built = module.narrow(module.build(typed, {"fill": 4.5}, []), None)
    model = lgb.LGBMRegressor(n_estimators=20, verbose=-1, n_jobs=1).fit(built, rows["rentals"].to_numpy())
    made = [
        FeatureSpec(name="hour", type="int"),
        FeatureSpec(name="warmth", type="float"),
        FeatureSpec(name="is_late", type="bool"),
    ]
    folder, manifest = pack_code(model, rows, steps=steps, source=project.folder, step_features=made)
    assert (manifest.needs_process, manifest.derived, manifest.refused_forms) == (True, (), ())
    assert [feature.name for feature in manifest.signature.features] == data.features
    assert [feature.name for feature in manifest.predictor.features] == ["hour", "warmth", "is_late"]
    predictions, _, alone = ask_elsewhere(folder, rows.select(data.features).to_dicts())
    assert predictions == model.predict(built).tolist()
    assert alone == predictions


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("centred", "may look at its own row only"),
        ("shorter", "returned 1 rows for 16"),
        ("failing", r"do not run on a request's columns"),
    ],
)
def test_a_step_that_does_not_go_row_by_row_is_refused(
    project: Any, pack_code: Any, data: Any, step: str, message: str
) -> None:
    rows = data.numeric_rows(100)
    steps, _ = _stepped(project, data, step)
    model = lgb.LGBMRegressor(n_estimators=2, verbose=-1).fit(
        rows.select(data.features), rows["rentals"].to_numpy()
    )
    with pytest.raises(UnsupportedModel, match=message):
        pack_code(model, rows, steps=steps, source=project.folder)


def test_only_python_files_of_the_project_are_packaged(project: Any, pack_code: Any, data: Any) -> None:
    rows = data.text_rows(60)
    model = _cities(project).fit(rows, rows["rentals"])
    (project.folder / ".env").write_text("TOKEN=1")
    (project.folder / "data.csv").write_text("a,b")
    (project.folder / "venv").mkdir()
    (project.folder / "venv" / "pyvenv.cfg").write_text("")
    (project.folder / "venv" / "big.py").write_text("")
    (project.folder / "below").mkdir()
    (project.folder / "below" / "more.py").write_text("")
    (project.folder / "link.py").symlink_to("/etc/passwd")
    folder, _ = pack_code(model, rows, contract=data.text_contract(), source=project.folder)
    packed = sorted(
        path.relative_to(folder / "source").as_posix() for path in (folder / "source").rglob("*.*")
    )
    assert packed[0] == "below/more.py"
    assert [name.split("_")[0] for name in packed[1:]] == ["helper", "train"]
    assert len(read_folder_manifest(folder).files) == 5


@pytest.mark.parametrize("name", ["../elsewhere.py", "/etc/passwd", "missing.py"])
def test_a_named_file_outside_the_project_is_not_packaged(
    project: Any, pack_code: Any, data: Any, name: str
) -> None:
    rows = data.text_rows(60)
    model = _cities(project).fit(rows, rows["rentals"])
    (project.folder.parent / "elsewhere.py").write_text("")
    with pytest.raises(UnsupportedModel, match="no file of the project"):
        pack_code(model, rows, contract=data.text_contract(), source=project.folder, source_files=[name])


def test_frames_of_training_reach_a_class_of_ones_own(project: Any, pack_code: Any, data: Any) -> None:
    module = project(
        """
        class Model:
            def predict(self, rows):
                assert type(rows).__module__.startswith("pandas"), type(rows)
                return rows["wind"] * 2

            def save(self, folder):
                pass

            @classmethod
            def load(cls, folder):
                return cls()
        """
    )
    rows = data.numeric_rows(40)
    folder, _ = pack_code(module.Model(), rows, source=project.folder, frames="pandas")
    predictions, _, _ = ask_elsewhere(folder, rows.select(data.features).to_dicts())
    assert predictions == (rows["wind"] * 2).to_list()
    assert isinstance(rows, pl.DataFrame)
