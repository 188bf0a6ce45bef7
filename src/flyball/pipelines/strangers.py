"""What a project may ask for when its files may be anybody's: a pull request from a fork.

FLYBALL_CACHE=read says so. Its code is kept from all it does not need (`reach`); what our own code reads for it, with
the rights of whoever runs it, is held to the repository that the change is one of.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from flyball.core.errors import Refused, SourceUnreadable
from flyball.core.project import DataSection
from flyball.core.settings import Settings
from flyball.data.sources import describe_source, fill_in
from flyball.pipelines.git_run import find_repository

_CLOUDS = ("s3://", "gs://", "az://")
# How it is told that no socket can be made: the error itself, without a file's name behind it, by name look-ups, by
# clients of HTTP and databases, and by what waits for a process that was to listen.
_OF_NETWORK = re.compile(
    r"\[Errno 13\] Permission denied(?!: ['\"])|name resolution|Name or service not known|[Cc]ould not resolve|"
    r"gaierror|URLError|ConnectError|ConnectionError|Max retries exceeded|[Cc]onnection refused|[Cc]ouldn't connect|"
    r"[Cc]ould not connect|[Ss]ocket\b"
)


def is_for_strangers(settings: Settings) -> bool:
    """Whether the code that is run may be anybody's."""
    return settings.cache == "read"


def refuse_deploying(settings: Settings) -> None:
    """Raises Refused where the code that is checked may be anybody's: nothing of it goes into service from there."""
    if is_for_strangers(settings):
        raise Refused(
            "FLYBALL_CACHE=read is for checks of strangers' changes; nothing is deployed from there"
        )


def with_own_database(settings: Settings) -> Settings:
    """The settings, and where the code may be anybody's, the home's own database in place of a shared one.

    What stands in a shared one is the newest version there, an abandoned run to be gone on with, a step to be taken.
    """
    if not is_for_strangers(settings):
        return settings
    own = f"sqlite:///{settings.home / 'flyball.db'}"
    return msgspec.structs.replace(settings, database_url=own)


def refuse_shared_database(settings: Settings) -> None:
    """Raises Refused where a run of code that may be anybody's would stand in a database that others use."""
    if settings != with_own_database(settings):
        raise Refused(
            "FLYBALL_CACHE=read keeps nothing for others, and FLYBALL_DATABASE names a database that others may use; "
            "unset it, so that the run stands in the home's own"
        )


def unprotected(settings: Settings, *, confines: bool, closes_network: bool) -> str | None:
    """What to say where the code may be anybody's and can't be kept apart, or from the network, on this machine."""
    if not is_for_strangers(settings) or (confines and closes_network):
        return None
    if confines:
        return (
            "FLYBALL_CACHE=read is for changes of strangers, and on this machine their code can't be kept from the "
            "network (seccomp, on x86-64 and ARM64): it can send its rows away, and use what answers without a key"
        )
    return (
        "FLYBALL_CACHE=read is for changes of strangers, and this machine's kernel can't keep their code apart "
        "(Landlock, Linux 6.2): it can read, and send away, whatever this job can"
    )


def told_of_network(because: str) -> str:
    """Why something failed in a check of a stranger's change, and what was closed if it may have failed for that."""
    if not _OF_NETWORK.search(because):
        return because
    return f"{because} (the network is closed to a stranger's change, to servers on the same machine, too)"


def refuse_foreign_sources(data: DataSection, folder: Path, settings: Settings) -> None:
    """Raises SourceUnreadable for rows that are neither files of the folder's repository nor in an object store.

    Links are followed first. What lies elsewhere on this machine, and databases, may hold what is no stranger's to see;
    so may the repository's own `.git`, and a home in it.
    """
    root = (find_repository(folder) or folder).resolve()
    kept_back = [Path(path).resolve() for path in settings.state_paths]
    for source in (data.source, *(join.source for join in data.join)):
        place = fill_in(source, os.environ).removeprefix("sqlite:///").removeprefix("file://")
        if place.startswith(_CLOUDS):
            continue
        if "://" in place:
            raise _refused(source, "is no file of the repository")
        for file in _files(folder / Path(place).expanduser()):
            path = file.resolve()
            inside = path.is_relative_to(root) and ".git" not in path.relative_to(root).parts
            if not inside or any(path.is_relative_to(kept) for kept in kept_back):
                raise _refused(source, "leads out of the repository's own files")


def _files(place: Path) -> Iterator[Path]:
    """A place, what it matches as a pattern, and what lies in it as a folder."""
    for found in (place, *map(Path, glob.iglob(str(place), recursive=True))):
        yield found
        if found.is_dir():
            yield from found.rglob("*")


def _refused(source: str, what: str) -> SourceUnreadable:
    return SourceUnreadable(
        f"[data].source: {describe_source(source)} {what}; with FLYBALL_CACHE=read, for changes of strangers, rows "
        "come from files of the repository or from an object store",
        source=describe_source(source),
    )
