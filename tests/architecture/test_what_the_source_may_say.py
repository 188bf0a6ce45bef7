"""Rules of the house that a look at the syntax tree can hold."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "flyball"
UNSAFE = {"_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
LONGEST_FILE = 450  # lines: one topic that fits in a head
# One tree of errors, one class after the other: a list to look things up in, not a text to follow.
LISTS = {"src/flyball/core/errors.py"}


def source_files(folder: Path = SOURCE) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported_packages(tree: ast.Module) -> Iterator[str]:
    """The top-level name of every import anywhere in a file, those inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_package_init_files_hold_a_docstring_and_nothing_else():
    wordy = []
    for path in source_files():
        if path.name != "__init__.py" or path.parent == SOURCE:
            continue
        body = parse(path).body
        if len(body) != 1 or ast.get_docstring(parse(path)) is None:
            wordy.append(named(path))
    assert wordy == []


def test_every_folder_of_python_files_is_a_package_with_an_init_file():
    folders = {path.parent for path in source_files()}
    assert sorted(named(folder) for folder in folders if not (folder / "__init__.py").exists()) == []


def test_every_file_says_what_it_holds():
    silent = [named(path) for path in source_files() if ast.get_docstring(parse(path)) is None]
    assert silent == []


def test_nothing_reads_or_writes_pickles():
    users = [named(path) for path in source_files() if UNSAFE & set(imported_packages(parse(path)))]
    assert users == []


def test_no_process_is_started_through_a_shell():
    found = []
    for path in source_files():
        for node in ast.walk(parse(path)):
            if not isinstance(node, ast.Call):
                continue
            through_shell = any(
                keyword.arg == "shell"
                and not (isinstance(keyword.value, ast.Constant) and not keyword.value.value)
                for keyword in node.keywords
            )
            if through_shell or ast.unparse(node.func) in {"os.system", "os.popen", "subprocess.getoutput"}:
                found.append(f"{named(path)}:{node.lineno}")
    assert found == []


def test_nothing_evaluates_text_as_code():
    found = [
        f"{named(path)}:{node.lineno}"
        for path in source_files()
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec"}
    ]
    assert found == []


def test_core_imports_message_structs_and_the_standard_library_only():
    allowed = sys.stdlib_module_names | {"flyball", "msgspec"}
    strangers = {
        named(path): sorted(set(imported_packages(parse(path))) - allowed)
        for path in source_files(SOURCE / "core")
    }
    assert {path: names for path, names in strangers.items() if names} == {}


def test_judge_imports_numpy_and_scipy_and_nothing_else_from_outside():
    allowed = sys.stdlib_module_names | {"flyball", "msgspec", "numpy", "scipy"}
    strangers = {
        named(path): sorted(set(imported_packages(parse(path))) - allowed)
        for path in source_files(SOURCE / "judge")
    }
    assert {path: names for path, names in strangers.items() if names} == {}


def test_no_file_outgrows_one_topic():
    long = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in source_files()}
    assert {path: lines for path, lines in long.items() if lines > LONGEST_FILE and path not in LISTS} == {}


def test_nothing_is_left_unfinished():
    marks = ("NotImplemented" + "Error", "TO" + "DO", "FIX" + "ME", "X" * 3)
    found = [
        f"{named(path)}:{number}"
        for path in source_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if any(mark in line for mark in marks)
    ]
    assert found == []


@pytest.mark.parametrize("lock", ["requirements.lock", "bootstrap.lock"])
def test_a_lock_pins_every_package_by_hash_and_names_no_index(lock: str):
    lines = [
        line
        for line in (ROOT / lock).read_text(encoding="utf-8").splitlines()
        if not line.lstrip().startswith("#")
    ]
    assert not [line for line in lines if "://" in line or "--index" in line or "--find-links" in line]
    pins = [number for number, line in enumerate(lines) if not line.startswith(" ")]
    assert pins
    assert not [lines[number] for number in pins if "==" not in lines[number]]
    assert not [
        lines[number] for number in pins if not lines[number + 1].lstrip().startswith("--hash=sha256:")
    ]
