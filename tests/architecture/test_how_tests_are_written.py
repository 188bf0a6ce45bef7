"""A test that asserts nothing, or replaces our own parts, passes whatever the code does."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[1]
ASSERTING_CALLS = ("raises", "assert", "check", "verify", "expect", "fail")


def files_of_tests() -> list[Path]:
    return sorted(TESTS.rglob("test_*.py"))


def asserts_something(function: ast.AST) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if any(word in name for word in ASSERTING_CALLS):
                return True
    return False


def test_every_test_asserts_something():
    silent = [
        f"{path.relative_to(TESTS)}::{node.name}"
        for path in files_of_tests()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not asserts_something(node)
        and path != Path(__file__)
    ]
    assert silent == []


def test_no_test_replaces_our_own_parts_with_mocks():
    users = [
        str(path.relative_to(TESTS))
        for path in files_of_tests()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and {"unittest.mock", "pytest_mock", "mock"}
        & {getattr(node, "module", None), *(a.name for a in node.names)}
    ]
    assert users == []


def test_file_names_of_tests_are_unique():
    names = Counter(path.name for path in files_of_tests())
    assert [name for name, count in names.items() if count > 1] == []


def test_every_kind_of_test_has_its_folder():
    known = {
        "architecture",
        "browser",
        "conformance",
        "docs",
        "extras",
        "faults",
        "statistics",
        "stories",
        "unit",
    }
    assert {path.relative_to(TESTS).parts[0] for path in files_of_tests()} <= known
