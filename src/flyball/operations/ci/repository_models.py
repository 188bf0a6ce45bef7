"""The models of a repository: what their project files name, read without a check and without running anything."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from flyball.core.errors import BadInput
from flyball.pipelines.named_projects import list_named, name_of, parse_document, read_limited, table_of
from flyball.pipelines.project_file import FILE_NAME, ProjectFile

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

_IN_A_LOG = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]|#[^\w\s]*#")


class RepositoryModel(msgspec.Struct, frozen=True, kw_only=True):
    """One project of a repository. folder: below the root, "" for the root itself, as is every path.

    entries: modules that a run loads. sources: key of the project file and path or pattern of rows that lie in the
    repository. link: where the project file lies, if it is a link. problem: why nothing else is known of it.
    """

    folder: str
    name: str
    entries: list[str] = []
    sources: list[tuple[str, str]] = []
    link: str | None = None
    problem: str | None = None

    @property
    def file(self) -> str:
        """Its project file."""
        return join(self.folder, FILE_NAME)


def join(folder: str, name: str) -> str:
    """A path below a folder of the repository, or below its root."""
    return f"{folder}/{name}" if folder else name


def folder_of(path: str) -> str:
    """The folder that a path lies in; "" for the root."""
    return path.rpartition("/")[0]


def project_files(files: Iterable[str]) -> list[str]:
    """Those of a repository's files that are project files."""
    return [path for path in files if path.rpartition("/")[2] == FILE_NAME]


def read_models(root: Path, files: Iterable[str], environment: Mapping[str, str]) -> list[RepositoryModel]:
    """The models of project files that are there, in order of their folders.

    Raises BadInput where two have one name: their versions could not be told apart; and for a folder whose name a
    host's log would take for a command, since jobs print which model they check.
    """
    paths = sorted(project_files(files))
    for path in filter(_IN_A_LOG.search, paths):
        raise BadInput(
            f"the folder {folder_of(path)!r} has a line break, another control character or ## in its name, which a "
            "code host can take for a command where its log names the folder; rename it"
        )
    models = [_read_model(root, path, environment) for path in paths if os.path.lexists(root / path)]
    first: dict[str, RepositoryModel] = {}
    for model in models:
        if model.problem is None and first.setdefault(model.name, model) is not model:
            raise two_of_one_name(model.name, first[model.name].file, model.file)
    return models


def two_of_one_name(name: str, first: str, second: str) -> BadInput:
    """What is said of two project files that name their model alike."""
    return BadInput(
        f"two project files name their model {name!r}: {first} and {second}. Versions, champion and traffic go by that "
        "name; give one of them another under [model]",
        model=name,
        files=[first, second],
    )


def renamed_words(path: str, old: str, new: str) -> str:
    """What is said of a project whose model had another name in the base."""
    return (
        f"{path} calls its model {new}, which was {old}: the new name begins without champion and history, so gates "
        f"against the champion pass as for a first version, and what is deployed as {old} stays in service. Keep the "
        f"old name, or deploy {new} once it is registered and let callers ask for it"
    )


def check_name(root: Path, file: ProjectFile) -> None:
    """Raises BadInput where another project file that is committed in the repository names its model alike."""
    name = file.project.model.name
    for path in list_named(root, name):
        if not (root / path).samefile(file.path):
            raise two_of_one_name(name, path, file.path.resolve().relative_to(root.resolve()).as_posix())


def _read_model(root: Path, path: str, environment: Mapping[str, str]) -> RepositoryModel:
    folder = folder_of(path)
    try:
        document = parse_document(read_limited(root / path))
        name = name_of(document)
        data, train = table_of(document, "data"), table_of(document, "train")
        entries = [train.get("entry"), *(step.get("entry") for step in _tables(document, "steps"))]
        named = [("[data].source", data.get("source"))]
        named += [("[[data.join]].source", other.get("source")) for other in _tables(data, "join")]
    except OSError as error:
        return _unknown(root, folder, f"{path} can't be read: {error.strerror}")
    except ValueError as error:
        return _unknown(root, folder, f"{path} can't be read: {error}")
    places = [(key, _place(root, folder, text, environment)) for key, text in named if isinstance(text, str)]
    return RepositoryModel(
        folder=folder,
        name=name,
        entries=[text.partition(":")[0] for text in entries if isinstance(text, str)],
        sources=[(key, place) for key, place in places if place is not None],
        link=_relative(root, os.path.realpath(root / path)) if (root / path).is_symlink() else None,
    )


def _unknown(root: Path, folder: str, problem: str) -> RepositoryModel:
    return RepositoryModel(folder=folder, name=PurePosixPath(folder).name or root.name, problem=problem)


def _tables(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = document.get(key, [])
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ValueError(f"{key} is no list of tables")
    return found


def _place(root: Path, folder: str, source: str, environment: Mapping[str, str]) -> str | None:
    """Path or pattern, below the root, of rows that lie in the repository."""
    text = _VARIABLE.sub(lambda match: environment.get(match[1], match[0]), source)
    text = text.removeprefix("file://").removeprefix("sqlite:///")
    if "://" in text:
        return None
    place = root / folder / Path(text).expanduser()
    return _relative(root, os.path.realpath(place)) or _relative(root, os.path.normpath(place))


def _relative(root: Path, place: str) -> str | None:
    path = Path(place)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else None
