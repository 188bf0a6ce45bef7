"""What was scored under which key: in the home's database, or in a file beside the output where there is no home."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import msgspec

from flyball.governance.job_keys import KeptJob, begin_job, check_same_job, end_job, find_job
from flyball.operations.opening import Backends
from flyball.operations.scoring.output import told


class Keys(Protocol):
    """Where keys are kept."""

    def find(self, key: str) -> KeptJob | None:
        """The job of a key, or None."""

    def begin(self, key: str, asked: dict[str, str]) -> None:
        """Let a key stand for a job. Raises KeyInUse if it stands for another one."""

    def end(self, key: str, asked: dict[str, str], answer: dict[str, Any]) -> None:
        """Keep a job's answer."""


class HomeKeys:
    """Keys of a home: a key is known for every output, on every machine that shares the database."""

    def __init__(self, backends: Backends) -> None:
        self._database = backends.database
        self._clock = backends.clock

    def find(self, key: str) -> KeptJob | None:
        with self._database.read() as conn:
            return find_job(conn, f"score:{key}")

    def begin(self, key: str, asked: dict[str, str]) -> None:
        with self._database.write() as conn:
            begin_job(conn, f"score:{key}", asked, self._clock.now())

    def end(self, key: str, asked: dict[str, str], answer: dict[str, Any]) -> None:
        with self._database.write() as conn:
            end_job(conn, f"score:{key}", asked, answer)


class _Note(msgspec.Struct, frozen=True):
    key: str
    job: KeptJob


class FileKeys:
    """The key that an output was last made under, in a hidden file beside it."""

    def __init__(self, output: Path) -> None:
        self._path = output.with_name(f".{output.name}.scored.json")

    def find(self, key: str) -> KeptJob | None:
        try:
            note = msgspec.json.decode(self._path.read_bytes(), type=_Note)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        return note.job if note.key == key else None

    def begin(self, key: str, asked: dict[str, str]) -> None:
        known = self.find(key)
        if known is not None:
            check_same_job(key, known, asked)
        else:
            self._write(key, KeptJob(asked))

    def end(self, key: str, asked: dict[str, str], answer: dict[str, Any]) -> None:
        self._write(key, KeptJob(asked, answer))

    def _write(self, key: str, job: KeptJob) -> None:
        draft = self._path.with_suffix(f".{os.getpid()}")
        with told(self._path):
            # No link: who may write to the folder, too, could lead it to a file that is not theirs.
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666)
            with open(descriptor, "wb") as file:
                file.write(msgspec.json.encode(_Note(key, job)))
            os.replace(draft, self._path)
