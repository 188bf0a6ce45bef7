"""The port of code hosts that take change requests, and how one request that changes one file is kept on them.

A branch belongs to one content and is never written over: what is newer gets a branch of its own, and the older request
is closed with a word. So every step can be taken again, whoever was killed, or came second, in between.
"""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

import msgspec

from flyball.backends.egress.comments import LONGEST_WAIT_SECONDS
from flyball.core.digests import digest_bytes
from flyball.core.errors import Conflict, FlyballError, HostRefused, HostUnavailable

MARK = re.compile(r"[0-9a-f]{12}")
ATTEMPTS = 4
PAUSE_SECONDS = 1.0
# What hosts say when somebody else was as quick: what is there then is looked at anew.
_OVERTAKEN = (400, 409, 422)


class HostFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file on the host. id: by which the host tells that somebody changed it since."""

    content: bytes
    id: str


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A pull or merge request. `closed`: without being merged."""

    number: int
    state: Literal["open", "closed", "merged"]
    body: str
    url: str | None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What a branch has that another commit has not: how many commits, and the files that they change.

    merge_base: the commit where it left.
    """

    commits: int
    files: tuple[str, ...]
    merge_base: str


class ChangeHost(ABC):
    """One repository on a code host. Raises EgressRefused, HostRefused (with `status`), HostUnavailable."""

    @abstractmethod
    def default_branch(self) -> str:
        """The name of the branch that requests are to be merged into."""

    @abstractmethod
    def find_commit(self, branch: str) -> str | None:
        """The newest commit of a branch, None where there is no such branch."""

    @abstractmethod
    def read_file(self, path: str, commit: str) -> HostFile:
        """A file as a commit has it. Raises NotFound where it has none, BadInput for what is no file."""

    @abstractmethod
    def list_branches(self, prefix: str) -> list[str]:
        """The branches whose names begin so."""

    @abstractmethod
    def compare(self, commit: str, branch: str) -> Difference:
        """What a branch has that a commit has not."""

    @abstractmethod
    def commit_file(self, change: FileChange) -> None:
        """One commit with another content of a file, on a branch that has none of its own yet."""

    @abstractmethod
    def delete_branch(self, branch: str) -> None:
        """Remove a branch; one that is gone is fine."""

    @abstractmethod
    def list_requests(self, branch: str) -> list[Request]:
        """The newest requests from a branch of this very repository, newest first."""

    @abstractmethod
    def open_request(self, *, branch: str, base: str, title: str, body: str) -> Request:
        """A new request to merge a branch."""

    @abstractmethod
    def describe_request(self, number: int, body: str) -> None:
        """Put another text into a request."""

    @abstractmethod
    def close_request(self, number: int, word: str) -> None:
        """Say a word in a request, and close it unmerged."""


class FileChange(msgspec.Struct, frozen=True, kw_only=True):
    """One commit. base, commit: the branch that it starts from, and where that stood when the file was read.

    is_new: whether the branch is made by it.
    """

    branch: str
    is_new: bool
    base: str
    commit: str
    path: str
    file: HostFile
    content: bytes
    message: str


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The one request that is wanted under a prefix.

    mark: 12 hexadecimal digits of what is asked for; the branch is prefix and mark. edit: the file's new content, the
    same where it says so already; it raises where the file is not the one that is meant. word: to those it replaces.
    """

    prefix: str
    mark: str
    path: str
    edit: Callable[[bytes], bytes]
    title: str
    body: str
    word: str

    @property
    def branch(self) -> str:
        """The branch of the request."""
        return self.prefix + self.mark


State = Literal["opened", "refreshed", "stands", "declined", "taken back", "named"]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """How a wanted request stands. `stands`: it was open already; `refreshed`: and has another text now.

    `declined`: people closed it; `taken back`: it was merged, and the file says something else again; `named`: the
    file on the default branch says so already. closed: numbers of the requests that it replaced.
    """

    state: State
    number: int | None = None
    url: str | None = None
    closed: list[int] = []


def ask_for(host: ChangeHost, wanted: Wanted, sleep: Callable[[float], None] = time.sleep) -> Asked:
    """Bring about the one request that is wanted: opened, gone on with, or left as people left it.

    Raises what `edit` raises, Conflict for a branch of that name with other commits, HostRefused, HostUnavailable.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _attempt(host, wanted)
        except HostUnavailable as error:
            wait = error.facts.get("retry_seconds")
            if attempt > 1 or wait is None or wait > LONGEST_WAIT_SECONDS:
                raise
            sleep(wait)
        except HostRefused as error:
            if attempt == ATTEMPTS or error.facts.get("status") not in _OVERTAKEN:
                raise
            sleep(PAUSE_SECONDS)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            # Adapters take answers apart as the host's API describes them.
            raise HostUnavailable("the code host answered in another form than its API describes") from error
    raise AssertionError("the last attempt returns or raises")


def with_mark(body: str) -> str:
    """A text behind a hidden line that tells later whether it is another one by then.

    What people write into it meanwhile stays until then.
    """
    return f"<!-- flyball text={digest_bytes(body.encode())[7:23]} -->\n{body}"


def _attempt(host: ChangeHost, wanted: Wanted) -> Asked:
    base = host.default_branch()
    commit = host.find_commit(base)
    if commit is None:
        raise HostRefused(f"the default branch {base} has no commit")
    file = host.read_file(wanted.path, commit)
    content = wanted.edit(file.content)
    if content == file.content:
        return Asked(state="named")
    requests = host.list_requests(wanted.branch)
    asked = next((one for one in requests if one.state == "open"), None)
    if asked is not None:
        state = _refresh(host, asked, wanted)
        return _told(host, wanted, commit, state, asked)
    if requests:
        return _told(host, wanted, commit, "taken back" if _is_merged(requests) else "declined", requests[0])
    is_made = _prepare_branch(host, wanted, base, commit, file, content)
    body = with_mark(wanted.body)
    try:
        opened = host.open_request(branch=wanted.branch, base=base, title=wanted.title, body=body)
    except HostRefused as error:
        if is_made and error.facts.get("status") not in _OVERTAKEN:
            # A token that may write branches and open no requests: the branch alone would be nothing to anybody.
            with suppress(HostRefused, HostUnavailable):
                host.delete_branch(wanted.branch)
        raise
    return _told(host, wanted, commit, "opened", opened)


def _is_merged(requests: list[Request]) -> bool:
    return requests[0].state == "merged"


def _told(host: ChangeHost, wanted: Wanted, commit: str, state: State, request: Request) -> Asked:
    closed = _close_older(host, wanted, commit)
    return Asked(state=state, number=request.number, url=request.url, closed=closed)


def _refresh(host: ChangeHost, request: Request, wanted: Wanted) -> State:
    """Put the new text in where there is one; what people wrote over our own line stays."""
    text = with_mark(wanted.body)
    first = request.body.splitlines()[:1]
    if first == text.splitlines()[:1] or not first or not first[0].startswith("<!-- flyball text="):
        return "stands"
    host.describe_request(request.number, text)
    return "refreshed"


def _prepare_branch(
    host: ChangeHost, wanted: Wanted, base: str, commit: str, file: HostFile, content: bytes
) -> bool:
    """See to the branch with the one commit; whether it was made now. Raises Conflict where it has anything else."""
    is_new = host.find_commit(wanted.branch) is None
    if not is_new:
        own = host.compare(commit, wanted.branch)
        if own.commits:
            if not _is_ours(host, wanted, own):
                raise Conflict(
                    f"the branch {wanted.branch} has other commits than ours, and is left as it is; rename or delete "
                    "it, or open the request from it yourself",
                    branch=wanted.branch,
                )
            return False
    change = FileChange(
        branch=wanted.branch,
        is_new=is_new,
        base=base,
        commit=commit,
        path=wanted.path,
        file=file,
        content=content,
        message=wanted.title,
    )
    host.commit_file(change)
    return is_new


def _is_ours(host: ChangeHost, wanted: Wanted, own: Difference) -> bool:
    """Whether a branch has exactly what we would write from where it left."""
    if own.files != (wanted.path,):
        return False
    tip = host.find_commit(wanted.branch)
    if tip is None:
        return False
    try:
        before = host.read_file(wanted.path, own.merge_base).content
        return host.read_file(wanted.path, tip).content == wanted.edit(before)
    except (HostRefused, HostUnavailable):
        raise
    except FlyballError:
        return False


def _close_older(host: ChangeHost, wanted: Wanted, commit: str) -> list[int]:
    """Close the open requests for what is older, and remove their branches where nobody else has worked on them."""
    closed = []
    for branch in host.list_branches(wanted.prefix):
        mark = branch.removeprefix(wanted.prefix)
        if mark == wanted.mark or not MARK.fullmatch(mark):
            continue
        still_open = [one for one in host.list_requests(branch) if one.state == "open"]
        for request in still_open:
            host.close_request(request.number, wanted.word)
            closed.append(request.number)
        if still_open:
            own = host.compare(commit, branch)
            if own.commits <= 1 and set(own.files) <= {wanted.path}:
                host.delete_branch(branch)
    return closed
