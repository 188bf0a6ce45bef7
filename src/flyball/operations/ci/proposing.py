"""Retraining as a change request: candidates that wait for people, each as one line of a deployments file."""

from __future__ import annotations

import codecs
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from flyball.backends.egress.changes import ChangeHost, Wanted, ask_for
from flyball.backends.egress.github_changes import open_repository
from flyball.backends.egress.gitlab_changes import open_project
from flyball.core.errors import (
    BadInput,
    Conflict,
    Corrupt,
    EgressRefused,
    FlyballError,
    HostRefused,
    HostUnavailable,
    NotFound,
    Unavailable,
)
from flyball.operations.ci.proposal_text import write_body, write_title, write_word
from flyball.operations.opening import Backends
from flyball.operations.planning.candidates import Candidate, Nothing, find_candidate
from flyball.operations.planning.files import (
    Asked,
    find_prefix_digits,
    read_document,
    read_files,
    told_environment,
)
from flyball.operations.planning.sites import Sites
from flyball.operations.planning.version_line import change_version
from flyball.pipelines.git_run import find_repository

State = Literal[
    "opened", "refreshed", "stands", "declined", "taken back", "named", "nothing", "printed", "failed"
]
_SAID: dict[str, str] = {
    "opened": "a request is open now",
    "refreshed": "its request is open already, and has a new text",
    "stands": "its request is open already",
    "declined": "people closed its request without merging it, which is a no; it is not opened again",
    "taken back": "its request was merged, and the file names another version again; it is not opened again",
    "named": "the file on the default branch names it already",
    "printed": "this would be proposed; nothing was sent",
}


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one model of a file. change: as a diff of the file; body: of the request, in Markdown.

    closed: numbers of older requests that it replaced. code: of the error, where it failed.
    """

    environment: str | None
    model: str
    file: str
    state: State
    because: str
    version: int | None = None
    digest: str | None = None
    branch: str | None = None
    url: str | None = None
    closed: list[int] = []
    title: str | None = None
    change: str | None = None
    body: str | None = None
    code: str | None = None


class Proposals(msgspec.Struct, frozen=True, kw_only=True):
    """What came of every model. exit_code: 0 done or nothing to do, 2 to be written by hand, 3 a host or store
    said no.
    """

    proposals: list[Proposal]
    exit_code: int


def propose(
    backends: Backends,
    paths: Sequence[Path],
    variables: Mapping[str, str],
    *,
    model: str | None,
    only_print: bool,
) -> Proposals:
    """Open a request for each candidate that waits, on the code host that the variables name. One's failure stops none.

    only_print: with the files as they are here, and nothing is sent. Raises as `read_files`, and BadInput for a model
    that no file names, outside of Git, or where host or token are missing and there is something to propose.
    """
    asked = [one for file in read_files(paths) for one in file.asked if model in (None, one.model)]
    if model is not None and not asked:
        raise BadInput(f"the files name no model {model}", model=model)
    repositories = [find_repository(path.resolve().parent) for path in paths]
    if None in repositories:
        raise BadInput("a request changes a file of a repository, and this one lies in none")
    proposer = _Proposer(variables, only_print)
    with Sites(backends) as sites:
        found = [proposer.propose(sites, one) for one in asked]
    return Proposals(proposals=found, exit_code=proposer.exit_code)


def find_change_host(variables: Mapping[str, str]) -> ChangeHost:
    """The repository that a job's variables name, with its token. Raises BadInput for what is missing."""
    if variables.get("GITHUB_ACTIONS") == "true" or variables.get("GITHUB_REPOSITORY"):
        return open_repository(variables)
    if variables.get("GITLAB_CI") == "true" or variables.get("CI_PROJECT_ID"):
        return open_project(variables)
    raise BadInput(
        "this is no job of GitHub or GitLab, so there is no repository to propose a change to; --print shows the "
        "change, and GITHUB_REPOSITORY or CI_PROJECT_ID names one"
    )


def edit_file(content: bytes, asked: Asked, digest: str) -> bytes:
    """A deployments file that names a digest for a model, every other byte as it was; the same where it does already.

    Raises BadInput for a file that is about another environment or model, follows another champion, or can't be changed
    safely.
    """
    mark = codecs.BOM_UTF8 if content.startswith(codecs.BOM_UTF8) else b""
    try:
        text = content.removeprefix(mark).decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"{asked.file} is not UTF-8 text") from error
    document, _ = read_document(text, Path(asked.file), asked.root)
    if document.environment != asked.environment:
        raise BadInput(
            f"{asked.file} is about {told_environment(document.environment)} on the default branch, and about "
            f"{told_environment(asked.environment)} here; check out the default branch",
        )
    if asked.model not in document.deployments:
        raise BadInput(
            f"{asked.file} names no {asked.model} on the default branch; check out the default branch"
        )
    version = document.deployments[asked.model].version
    digits = find_prefix_digits(version)
    if digits is None:
        raise BadInput(
            f'{asked.file} says version = "{version}" of {asked.model} on the default branch, which names no digest; '
            f'write by hand, if it is to be this one: version = "{digest}"'
        )
    if digest.removeprefix("sha256:").startswith(digits):
        return content
    return mark + change_version(text, asked.model, digest).encode()


class _Proposer:
    """Takes one model after the other; the host is looked for when there is something to propose."""

    def __init__(self, variables: Mapping[str, str], only_print: bool) -> None:
        self._variables = variables
        self._only_print = only_print
        self._host: ChangeHost | None = None
        self._away: HostUnavailable | None = None
        self.exit_code = 0

    def propose(self, sites: Sites, asked: Asked) -> Proposal:
        """The edge of one model: what goes wrong with it is told, and the others go on."""
        proposal = Proposal(
            environment=asked.environment, model=asked.model, file=asked.file, state="nothing", because=""
        )
        try:
            found = find_candidate(sites, asked)
        except (Unavailable, Corrupt, BadInput, NotFound, Conflict) as error:
            return self._failed(proposal, error)
        if isinstance(found, Nothing):
            return _replace(proposal, because=found.because)
        version = found.waiting.version
        proposal = _replace(
            proposal,
            version=version.number,
            digest=version.digest,
            branch=_prefix(asked) + _mark(version.digest),
            title=write_title(found),
            body=write_body(found),
        )
        if not self._only_print and self._host is None:
            self._host = find_change_host(self._variables)
        try:
            return (
                self._print(found, proposal) if self._host is None else self._ask(self._host, found, proposal)
            )
        except (BadInput, NotFound, Conflict, EgressRefused, HostRefused, HostUnavailable) as error:
            return self._failed(proposal, error)

    def _print(self, found: Candidate, proposal: Proposal) -> Proposal:
        asked = found.asked
        before = (asked.root / asked.file).read_bytes()
        after = edit_file(before, asked, found.waiting.version.digest)
        return _replace(
            proposal, state="printed", because=_SAID["printed"], change=_diff(asked.file, before, after)
        )

    def _ask(self, host: ChangeHost, found: Candidate, proposal: Proposal) -> Proposal:
        if self._away is not None:
            raise HostUnavailable(f"not tried: {self._away.message}")
        asked, digest = found.asked, found.waiting.version.digest
        seen: list[str] = []

        def edit(content: bytes) -> bytes:
            changed = edit_file(content, asked, digest)
            seen[:] = [_diff(asked.file, content, changed)]
            return changed

        wanted = Wanted(
            prefix=_prefix(asked),
            mark=_mark(digest),
            path=asked.file,
            edit=edit,
            title=proposal.title or "",
            body=proposal.body or "",
            word=write_word(found),
        )
        try:
            done = ask_for(host, wanted)
        except HostUnavailable as error:
            self._away = error
            raise
        change = seen[0] if seen else None
        because = _SAID[done.state]
        return _replace(
            proposal, state=done.state, because=because, url=done.url, closed=done.closed, change=change
        )

    def _failed(self, proposal: Proposal, error: FlyballError) -> Proposal:
        by_hand = isinstance(error, BadInput | NotFound)
        self.exit_code = max(self.exit_code, 2 if by_hand else 3)
        return _replace(proposal, state="failed", because=error.message, code=error.code)


def _replace(proposal: Proposal, **fields: object) -> Proposal:
    return msgspec.structs.replace(proposal, **fields)


def _prefix(asked: Asked) -> str:
    """What the branches of a model's requests begin with. A file without an environment is about one home only."""
    where = "" if asked.environment is None else f"{asked.environment}/"
    return f"flyball/{where}{asked.model}-"


def _mark(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]


def _diff(name: str, before: bytes, after: bytes) -> str:
    """The lines that change, with those around them."""
    old, new = (content.decode(errors="replace").splitlines() for content in (before, after))
    return "\n".join(difflib.unified_diff(old, new, f"a/{name}", f"b/{name}", lineterm=""))
