"""Source of a project in a bundle: which files go in, and how a model process imports from a verified copy."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from flyball.core.errors import BadBundle, UnsupportedModel
from flyball.registry.manifest import SOURCE_FOLDER

MOST_FILES = 2_000
LARGEST_BYTES = 20 * 1024 * 1024
_LEFT_OUT = frozenset({"__pycache__", "node_modules", "site-packages"})


def copy_source(source: Path, folder: Path, files: Sequence[str] | None = None) -> list[str]:
    """Copy a project's Python files (or those named) below the bundle's `source`; their paths, sorted.

    Hidden folders, virtual environments and links are left out. Raises UnsupportedModel when there is too much.
    """
    paths = sorted(files) if files is not None else _python_files(source)
    if not paths:
        raise UnsupportedModel(f"{source.name} holds no Python files to package")
    if len(paths) > MOST_FILES:
        raise UnsupportedModel(
            f"{source.name} holds {len(paths)} Python files; at most {MOST_FILES} are packaged"
        )
    size = 0
    for path in paths:
        origin = source / path
        if not origin.resolve().is_relative_to(source.resolve()) or not origin.is_file():
            raise UnsupportedModel(f"{path} is no file of the project")
        size += origin.stat().st_size
        if size > LARGEST_BYTES:
            raise UnsupportedModel(
                f"the project's Python files have more than {LARGEST_BYTES // 2**20} MB; keep data in save(folder)"
            )
        target = folder / SOURCE_FOLDER / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(origin, target)
    return paths


def load_entry(entry: str, source: Path) -> Any:
    """What `module:name` means in a source folder, which goes first on the import path of this process.

    Only for processes that may run the project's code. Raises BadBundle when it is not there, or when a module of that
    name from elsewhere is loaded already.
    """
    module_name, colon, name = entry.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module_name.split("."), *name.split("."))):
        raise BadBundle(f"{entry!r} is no module:name")
    found: Any = _import(module_name, source)
    for part in name.split("."):
        if not hasattr(found, part):
            raise BadBundle(f"the packaged module {module_name} has no {name!r}")
        found = getattr(found, part)
    return found


def entry_of(kind: type, source: Path) -> str:
    """`module:Class` of a class that is defined in a project. Raises UnsupportedModel."""
    module = sys.modules.get(kind.__module__)
    file = getattr(module, "__file__", None)
    if "<locals>" in kind.__qualname__:
        raise UnsupportedModel(
            f"the class {kind.__name__} is defined inside a function; define it at the top of its module, so that it "
            "can be found again"
        )
    if file is None or not Path(file).resolve().is_relative_to(source.resolve()):
        raise UnsupportedModel(
            f"the class {kind.__name__} comes from {kind.__module__}, which is not in the project; define it in a "
            "module beside the training code"
        )
    path = Path(file).resolve().relative_to(source.resolve())
    parts = list(path.with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return f"{'.'.join(parts)}:{kind.__qualname__}"


def _import(name: str, source: Path) -> ModuleType:
    known = sys.modules.get(name)
    if known is not None and not _is_below(known, source):
        raise BadBundle(
            f"this process has another module {name!r} loaded; a bundle's code needs a process of its own"
        )
    if str(source) not in sys.path:
        sys.path.insert(0, str(source))
    importlib.invalidate_caches()
    module = importlib.import_module(name)
    if not _is_below(module, source):
        raise BadBundle(f"{name!r} was found outside the bundle; give the project's module another name")
    return module


def _is_below(module: ModuleType, source: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).resolve().is_relative_to(source.resolve())


def _python_files(source: Path) -> list[str]:
    found: list[str] = []
    waiting = [source]
    while waiting:
        folder = waiting.pop()
        for path in folder.iterdir():
            if path.is_symlink() or path.name.startswith(".") or path.name in _LEFT_OUT:
                continue
            if path.is_dir() and not (path / "pyvenv.cfg").exists():
                waiting.append(path)
            elif path.is_file() and path.suffix == ".py":
                found.append(path.relative_to(source).as_posix())
        if len(found) > MOST_FILES:
            break
    return sorted(found)
