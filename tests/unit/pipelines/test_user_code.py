from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flyball.core.errors import UserCodeFailed
from flyball.pipelines.user_code import call_by_name, load_entry, own_modules


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    known = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def available(**values: Any) -> dict[str, Any]:
    return {name: lambda value=value: value for name, value in values.items()}


def write(source: Path, name: str, text: str) -> None:
    (source / f"{name}.py").write_text(text)


def test_a_function_gets_what_its_parameters_name_and_nothing_else_is_made(source: Path):
    write(source, "mod_a", "def train(X, seed, *, params, extra=5):\n    return X + seed + params + extra\n")
    function = load_entry("mod_a:train", source, "train.entry")
    made: list[str] = []
    thunks = available(X=1, seed=2, params=3) | {"y": lambda: made.append("y")}
    assert call_by_name(function, thunks, source, "train.entry") == 11
    assert made == []


def test_an_unknown_parameter_suggests_the_nearest_one(source: Path):
    write(source, "mod_b", "def train(X, parms): ...\n")
    function = load_entry("mod_b:train", source, "train.entry")
    with pytest.raises(UserCodeFailed, match=r"asks for 'parms'.*did you mean 'params'"):
        call_by_name(function, available(X=1, params={}), source, "train.entry")


def test_a_missing_module_or_function_suggests_the_nearest_one(source: Path):
    write(source, "mod_c", "def train(): ...\n")
    with pytest.raises(UserCodeFailed, match=r"no mod_d\.py; did you mean mod_c\.py"):
        load_entry("mod_d:train", source, "train.entry")
    with pytest.raises(UserCodeFailed, match="no function 'trian'; did you mean 'train'"):
        load_entry("mod_c:trian", source, "train.entry")


def test_an_error_names_its_line_in_the_project_and_leaves_library_frames_out(source: Path):
    write(
        source,
        "mod_e",
        "import json\n\ndef train():\n    return helper()\n\ndef helper():\n    return json.loads('{')\n",
    )
    function = load_entry("mod_e:train", source, "train.entry")
    with pytest.raises(UserCodeFailed) as caught:
        call_by_name(function, {}, source, "train.entry (mod_e:train)")
    message = caught.value.message
    assert "raised JSONDecodeError at mod_e.py:7" in message
    assert "mod_e.py:4: in train: return helper()" in message
    assert "decoder.py" not in message and str(source) not in message


def test_an_error_while_importing_is_told_with_its_line(source: Path):
    write(source, "mod_f", "x = 1\nimport no_such_library\n")
    with pytest.raises(
        UserCodeFailed, match=r"importing mod_f raised ModuleNotFoundError at mod_f.py:2"
    ) as told:
        load_entry("mod_f:train", source, "train.entry")
    assert "imports what lies beside its flyball.toml, and packages that are installed" in told.value.message


def test_a_syntax_error_is_told_with_its_line(source: Path):
    write(source, "mod_g", "def train(:\n    pass\n")
    with pytest.raises(UserCodeFailed, match=r"SyntaxError at mod_g.py:1"):
        load_entry("mod_g:train", source, "train.entry")


def test_leaving_the_process_counts_as_a_failure(source: Path):
    write(source, "mod_h", "import sys\ndef train():\n    sys.exit(3)\n")
    function = load_entry("mod_h:train", source, "train.entry")
    with pytest.raises(UserCodeFailed, match="SystemExit"):
        call_by_name(function, {}, source, "train.entry")


def test_the_projects_own_modules_are_known(source: Path):
    write(source, "mod_i", "import mod_j\n")
    write(source, "mod_j", "def f(): ...\n")
    load_entry("mod_j:f", source, "x")
    assert own_modules(source) == ["mod_j.py"]
