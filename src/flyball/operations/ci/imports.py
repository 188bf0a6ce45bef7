"""What files of a repository import of one another, by their syntax trees; nothing is imported or run."""

from __future__ import annotations

import ast
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from flyball.operations.ci.repository_models import folder_of, join
from flyball.pipelines.named_projects import read_limited

# A folder with one of these can be installed in place, so what lies in it, or in its `src`, may be imported by name.
_PACKAGING = ("pyproject.toml", "setup.py", "setup.cfg")
_DYNAMIC = ("import_module", "__import__")
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


class ImportGraph:
    """Which files of a repository a file leads to.

    files: all of them, as paths below the root. folders: those of its models. A name is looked for as a run would:
    in the model's own folder first; then at the root and in whatever can be installed from the repository; then, for
    paths that tools set, in any folder of the repository that is no model's. Installed packages are not looked at.
    """

    def __init__(self, root: Path, files: Iterable[str], folders: Iterable[str]) -> None:
        self._root = root
        self.files = set(files)
        self._python = {path for path in self.files if path.endswith(".py")}
        self._own = set(folders)
        self._folders = {""}
        for path in self._python:
            self._folders.update(folders_above(path))
        self._places = self._named_places()
        self._roots = {"", "src"}
        for path in self.files:
            folder, _, name = path.rpartition("/")
            if name in _PACKAGING:
                self._roots |= {folder, join(folder, "src")}
        self._targets: dict[str, list[tuple[int, str]] | None] = {}
        self._elsewhere: dict[str, list[str]] = {}
        self.unparsed: dict[str, str] = {}

    def owner(self, path: str) -> str | None:
        """The folder of the nearest model that a file lies in, or None."""
        return next((folder for folder in folders_above(path) if folder in self._own), None)

    def entry_files(self, folder: str, modules: Iterable[str]) -> list[str]:
        """The files of a model's folder that loading its entries loads first."""
        return [path for module in modules for path in self._walk(folder, module.split("."))]

    def reached(self, folder: str, starts: Iterable[str]) -> dict[str, str | None]:
        """Every file that a model's files lead to, and the file that imports it; nearest first."""
        found: dict[str, str | None] = dict.fromkeys(starts)
        waiting = deque(found)
        while waiting:
            path = waiting.popleft()
            for target in self._imported_by(folder, path):
                if target not in found:
                    found[target] = path
                    waiting.append(target)
        return found

    def _imported_by(self, folder: str, path: str) -> Iterator[str]:
        if path not in self._targets:
            self._targets[path] = self._read(path)
        for level, name in self._targets[path] or ():
            parts = name.split(".") if name else []
            if level:
                base: str | None = folder_of(path)
                for _ in range(level - 1):
                    base = folder_of(base) if base else base
                yield from self._walk(base or "", parts)
            else:
                yield from self._find(folder, parts)

    def _find(self, folder: str, parts: list[str]) -> list[str]:
        name = ".".join(parts)
        own = self._walk(folder, parts)
        if own or parts[0] in sys.stdlib_module_names:
            return own
        if name not in self._elsewhere:
            places = sorted(self._places.get(parts[0], ()))
            known = [place for place in places if place in self._roots]
            found = [path for place in known for path in self._walk(place, parts)]
            if not found:
                others = [place for place in places if self.owner(join(place, parts[0])) is None]
                found = [path for place in others for path in self._walk(place, parts)]
            self._elsewhere[name] = found
        return self._elsewhere[name]

    def _walk(self, base: str, parts: list[str]) -> list[str]:
        """The files that importing a dotted name below a folder runs, packages first, as far as they are there."""
        found, at = [], base
        for part in parts:
            if part == "*":
                found += self._modules_in(at)
                break
            at = join(at, part)
            found += [path for path in (f"{at}.py", f"{at}/__init__.py") if path in self._python]
            if at not in self._folders:
                break
        return found

    def _modules_in(self, folder: str) -> list[str]:
        return sorted(
            path
            for path in self._python
            if folder_of(path) == folder
            or (path.endswith("/__init__.py") and folder_of(folder_of(path)) == folder)
        )

    def _read(self, path: str) -> list[tuple[int, str]] | None:
        """Level and dotted name of all that a file imports; None where that can't be told."""
        try:
            text = read_limited(self._root / path)
            return sorted(set(_imports(ast.parse(text), b"import_module" in text or b"__import__" in text)))
        except FileNotFoundError:
            return []  # it was there before the change
        except SyntaxError as error:
            self.unparsed[path] = f"line {error.lineno}: {error.msg}"
        except (OSError, ValueError, RecursionError, MemoryError) as error:
            self.unparsed[path] = str(error)
        return None

    def _named_places(self) -> dict[str, set[str]]:
        """By name of a module or package: the folders that it lies in."""
        places: dict[str, set[str]] = {}
        for path in self._python:
            places.setdefault(path.rpartition("/")[2].removesuffix(".py"), set()).add(folder_of(path))
        for folder in self._folders - {""}:
            places.setdefault(folder.rpartition("/")[2], set()).add(folder_of(folder))
        return places


def folders_above(path: str) -> Iterator[str]:
    """The folders a path lies in, nearest first; the root, "", comes last."""
    while path:
        path = folder_of(path)
        yield path


def _imports(tree: ast.Module, is_dynamic: bool) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree) if is_dynamic else _statements(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            before = f"{node.module}." if node.module else ""
            yield from ((node.level, before + alias.name) for alias in node.names)
        elif is_dynamic and isinstance(node, ast.Call):
            yield from _imported_by_call(node)


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Every statement, wherever it stands; expressions, which are most of a tree, are not walked."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for name in _BLOCKS:
            waiting += getattr(node, name, ())


def _imported_by_call(node: ast.Call) -> Iterator[tuple[int, str]]:
    name = getattr(node.func, "attr", getattr(node.func, "id", None))
    first = node.args[0] if node.args else None
    if name in _DYNAMIC and isinstance(first, ast.Constant) and isinstance(first.value, str):
        module = first.value.lstrip(".")
        if module:
            yield len(first.value) - len(module), module
