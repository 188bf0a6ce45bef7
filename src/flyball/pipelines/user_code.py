"""Functions of the project: found by `module:function`, called with what their parameters name, errors told shortly."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import FunctionType, ModuleType, TracebackType
from typing import Any

from flyball.core.errors import UserCodeFailed
from flyball.pipelines.frame_advice import advice_for
from flyball.pipelines.shape import nearest

MOST_FRAMES = 4
_MISSING_MODULE = (
    "a project's code imports what lies beside its flyball.toml, and packages that are installed"
)
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def enter_source(source: Path) -> None:
    """Make a project's folder the working folder and the first place to import from."""
    os.chdir(source)
    sys.path.insert(0, str(source))


def load_entry(entry: str, source: Path, key: str) -> Callable[..., Any]:
    """The function that `module:function` names. Raises UserCodeFailed, telling key, file and line."""
    module_name, _, name = entry.partition(":")
    module = _load_module(module_name, source, key)
    function = getattr(module, name, None)
    if callable(function):
        return function  # type: ignore[no-any-return]  # the user's own type
    known = [other for other, value in vars(module).items() if isinstance(value, FunctionType)]
    near = nearest(name, known)
    raise UserCodeFailed(
        f"{key} names {entry!r}, but {module_name} has no function {name!r}"
        + (f"; did you mean {near!r}?" if near else f"; it has {', '.join(known) or 'none'}"),
        key=key,
        entry=entry,
    )


def _load_module(name: str, source: Path, key: str) -> ModuleType:
    location = source.joinpath(*name.split("."))
    if not location.with_suffix(".py").is_file() and not (location / "__init__.py").is_file():
        known = [path.stem for path in source.glob("*.py")]
        near = nearest(name, known)
        raise UserCodeFailed(
            f"{key} names the module {name!r}, but the project has no {name.replace('.', '/')}.py"
            + (f"; did you mean {near}.py?" if near else ""),
            key=key,
            module=name,
        )
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise told(error, source, f"{key}: importing {name}") from error


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a function that are filled by name."""
    return [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in _BY_NAME
    ]


def check_parameters(function: Callable[..., Any], known: Iterable[str], key: str) -> None:
    """Raises UserCodeFailed if a function asks for what there is not."""
    names = list(known)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise UserCodeFailed(
                f"{key}: parameter {parameter.name!r} can't be passed by name; remove the /", key=key
            )
        if (
            parameter.kind not in _BY_NAME
            or parameter.name in names
            or parameter.default is not parameter.empty
        ):
            continue
        near = nearest(parameter.name, names)
        raise UserCodeFailed(
            f"{key} asks for {parameter.name!r}, which there is not"
            + (f"; did you mean {near!r}?" if near else "")
            + f" It can ask for {', '.join(names)}.",
            key=key,
            parameter=parameter.name,
        )


def call_by_name(
    function: Callable[..., Any], available: Mapping[str, Callable[[], Any]], source: Path, key: str
) -> Any:
    """What a function returns for the arguments its parameters name; each is made only if it is asked for."""
    check_parameters(function, available, key)
    wanted = [parameter.name for parameter in parameters_of(function) if parameter.name in available]
    arguments = {name: available[name]() for name in wanted}
    try:
        return function(**arguments)
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:
        raise told(error, source, key) from error


def told(error: BaseException, source: Path, what: str) -> UserCodeFailed:
    """An error of user code in a few lines: what it was, and the lines of the project that led there."""
    if isinstance(error, SyntaxError) and error.filename:
        where = [f"{_shown(error.filename, source)}:{error.lineno}: {(error.text or '').strip()}"]
    else:
        where = _frames(error.__traceback__, source)
    name = type(error).__name__
    words = str(error).strip() or "without a message"
    if len(words) > 1000:
        words = words[:1000] + " …"
    at = f" at {where[-1].split(': ')[0]}" if where else ""
    lines = "".join(f"\n  {line}" for line in where)
    advice = _MISSING_MODULE if isinstance(error, ModuleNotFoundError) else advice_for(words)
    advice = f"\n{advice}" if advice else ""
    return UserCodeFailed(f"{what} raised {name}{at}: {words}{lines}{advice}", error=name, where=where)


def _frames(trace: TracebackType | None, source: Path) -> list[str]:
    """The project's own lines of a traceback, outermost first; the last lines at all where none is the project's."""
    frames = traceback.extract_tb(trace)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(source)]
    return [
        f"{_shown(frame.filename, source)}:{frame.lineno}: in {frame.name}: {frame.line or ''}".rstrip()
        for frame in (own or list(frames)[-1:])[-MOST_FRAMES:]
    ]


def _shown(file: str, source: Path) -> str:
    path = Path(file)
    return str(path.relative_to(source)) if path.is_relative_to(source) else path.name


def own_modules(source: Path) -> list[str]:
    """The files of the project that were imported so far, as paths below it, sorted."""
    below = f"{source}{os.sep}"
    files = set()
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.startswith(below) and file.endswith(".py"):
            files.add(Path(file).relative_to(source).as_posix())
    return sorted(files)


def check_entries(payload: dict[str, Any]) -> dict[str, Any]:
    """Import each entry of a project and look at its parameters; what is wrong with each, as text."""
    source = Path(payload["source"])
    enter_source(source)
    problems = []
    for item in payload["entries"]:
        try:
            check_parameters(load_entry(item["entry"], source, item["key"]), item["known"], item["key"])
        except UserCodeFailed as error:
            problems.append(error.message)
    return {"problems": problems}
