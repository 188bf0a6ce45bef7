"""Deployments files: which version of which model is to be in service in an environment, with which settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from flyball.core.digests import digest_bytes
from flyball.core.errors import ProjectError
from flyball.core.project import Section
from flyball.core.refs import MODEL_NAME
from flyball.pipelines.git_run import find_head, find_repository, git
from flyball.pipelines.positions import Lines
from flyball.pipelines.shape import Fault, fill
from flyball.pipelines.toml_file import faulty, parse, read_text

_DIGEST = re.compile(r"^(?:sha256:)?([0-9a-f]{12,64})\Z")
_SHORT_DIGEST = re.compile(r"^(?:sha256:)?[0-9a-f]*[a-f][0-9a-f]*\Z")
_NUMBER = re.compile(r"^(?:[a-z0-9][a-z0-9-]*@)?\d{1,11}\Z")
_FOLLOWS = re.compile(r"^champion of ([A-Za-z0-9][A-Za-z0-9-]*)\Z")
_ENVIRONMENT = re.compile(r"^[A-Za-z0-9][A-Za-z0-9-]{0,62}\Z")
_EXPECTED = 'a digest such as "sha256:1f9a2c…" (12 digits at least), or "champion of ENVIRONMENT"'
# Words one might look for here, and where what they mean is said.
_ELSEWHERE = {
    "roles": "is not known here: there are no roles in this release",
    "policies": "is not known here: policies are sections of the project file ([rollout], [retrain], [[gates]])",
}


class DeploymentSection(Section, frozen=True, kw_only=True):
    """[deployments.MODEL]: the version that is to be in service, and the project folder whose settings hold then."""

    version: str | int
    project: str | None = None
    why: str = ""


class DeploymentsDocument(Section, frozen=True, kw_only=True):
    """A deployments file; without `environment` it is about this home."""

    environment: str | None = None
    deployments: dict[str, DeploymentSection]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a file asks for one model: a version by its digest's first digits (hex), or the champion elsewhere.

    Exactly one of `prefix` and `follows` (an environment) is given. project: the folder of the project file whose
    settings are to hold; those that the version carries, without. line: in the file, of the model's table. root: of the
    file's repository.
    """

    environment: str | None
    model: str
    prefix: str | None
    follows: str | None
    project: Path | None
    why: str
    file: str
    line: int
    root: Path


class DeploymentsFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was read. name: as it is told, from the repository's root where there is one.

    commit: the one checked out, None outside of Git or while the file differs from it.
    """

    name: str
    digest: str
    commit: str | None
    environment: str | None
    asked: list[Asked]


def read_files(paths: Sequence[Path]) -> list[DeploymentsFile]:
    """What files want, each file once. Raises ProjectError with every fault of a file, BadInput for no file.

    A model that is named twice for one environment, and champions that follow each other in a circle, are errors that
    name the places.
    """
    files = [_read_file(given, path) for path, given in {path.resolve(): path for path in paths}.items()]
    asked = [one for file in files for one in file.asked]
    _refuse_repeats(asked)
    _refuse_circles(asked)
    return files


def _read_file(given: Path, path: Path) -> DeploymentsFile:
    text = read_text(given)
    repository = find_repository(path.parent)
    root = repository or Path.cwd()
    filled, lines = read_document(text, given, root)
    name = str(path.relative_to(root)) if path.is_relative_to(root) else path.name
    return DeploymentsFile(
        name=name,
        digest=digest_bytes(text.encode()),
        commit=None if repository is None else _commit_of(path),
        environment=filled.environment,
        asked=[_asked(filled, model, name, lines, root) for model in sorted(filled.deployments)],
    )


def read_document(text: str, given: Path, root: Path) -> tuple[DeploymentsDocument, Lines]:
    """What the text of a file says, and where. root: of its repository. Raises ProjectError with every fault."""
    document, lines = parse(text, given)
    strangers = [Fault(path=(name,), problem=text) for name, text in _ELSEWHERE.items() if name in document]
    known = {name: value for name, value in document.items() if name not in _ELSEWHERE}
    filled, faults = fill(DeploymentsDocument, known)
    if filled is not None:
        faults = list(_broken_rules(filled, root))
    if filled is None or faults or strangers:
        raise faulty(given, strangers + faults, lines, {})
    return filled, lines


def find_prefix_digits(version: str | int) -> str | None:
    """The first digits of the digest that a file names, None where it names none."""
    found = _DIGEST.match(str(version))
    return found[1] if found else None


def _commit_of(path: Path) -> str | None:
    if git(path.parent, "status", "--porcelain", "--", path.name) != "":
        return None
    return find_head(path.parent)


def _broken_rules(document: DeploymentsDocument, root: Path) -> Iterator[Fault]:
    environment = document.environment
    if environment is not None and not _ENVIRONMENT.match(environment):
        yield Fault(
            path=("environment",),
            problem=f'is "{environment[:60]}"',
            expected="a name of letters, digits and hyphens",
        )
    for model, section in document.deployments.items():
        where = ("deployments", model)
        if not MODEL_NAME.match(model):
            yield Fault(
                path=where, problem="is no model's name", expected="2 to 63 characters of a-z, 0-9, -"
            )
        yield from _version_faults(section.version, environment, (*where, "version"))
        if section.project is not None and not _folder(root, section.project).is_relative_to(root.resolve()):
            yield Fault(
                path=(*where, "project"),
                problem=f'is "{section.project[:60]}", which lies outside',
                expected="a folder below the repository's root",
            )


def _version_faults(
    version: str | int, environment: str | None, path: tuple[str | int, ...]
) -> Iterator[Fault]:
    text = str(version)
    if isinstance(version, int) or _NUMBER.match(text):
        problem = f"is {text[:60]}, a number: the same number is another version in another home"
    elif _DIGEST.match(text):
        return
    elif followed := _FOLLOWS.match(text):
        if followed[1] != environment:
            return
        problem = f'is "{text}", which is this very environment'
    elif _SHORT_DIGEST.match(text):
        problem = f'is "{text[:60]}", too few digits to name one version for good'
    else:
        problem = f'is "{text[:60]}"'
    yield Fault(path=path, problem=problem, expected=_EXPECTED)


def _asked(document: DeploymentsDocument, model: str, name: str, lines: Lines, root: Path) -> Asked:
    section = document.deployments[model]
    followed = _FOLLOWS.match(str(section.version))
    return Asked(
        environment=document.environment,
        model=model,
        prefix=find_prefix_digits(section.version),
        follows=followed[1] if followed else None,
        project=None if section.project is None else _folder(root, section.project),
        why=section.why,
        file=name,
        line=lines.get(("deployments", model), 1),
        root=root,
    )


def _folder(root: Path, project: str) -> Path:
    return (root / project).resolve()


def _refuse_repeats(asked: list[Asked]) -> None:
    seen: dict[tuple[str | None, str], Asked] = {}
    for one in asked:
        first = seen.setdefault((one.environment, one.model), one)
        if first is not one:
            problem = f"{one.model} is deployed to {told_environment(one.environment)} twice"
            raise _of_places(problem, [first, one])


def _refuse_circles(asked: list[Asked]) -> None:
    following = {(one.environment, one.model): one for one in asked if one.follows is not None}
    for start in following.values():
        way = [start]
        while (after := following.get((way[-1].follows, start.model))) is not None:
            if after in way:
                names = ", ".join(told_environment(one.environment) for one in way)
                raise _of_places(f"{start.model} follows itself: {names}", way)
            way.append(after)


def told_environment(name: str | None) -> str:
    """An environment as it is told; the one without a name is the home one works in."""
    return "this home" if name is None else name


def _of_places(problem: str, places: list[Asked]) -> ProjectError:
    where = [f"{one.file}:{one.line}" for one in places]
    problems = [
        {"file": one.file, "line": one.line, "key": f"deployments.{one.model}", "problem": problem}
        for one in places
    ]
    return ProjectError(f"{' and '.join(where)}: {problem}", problems)
