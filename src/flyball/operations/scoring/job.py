"""`flyball score`: the rows of a source through a model server, one row of output for each row of input."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.core.errors import BadInput, FilesExist, NotFound, Unavailable
from flyball.core.ids import derived_id, keyed_id, new_id
from flyball.core.settings import Settings
from flyball.data.batches import Batches, digest_file, open_batches
from flyball.governance.job_keys import check_same_job
from flyball.operations.cells import texts_of
from flyball.operations.scoring.answers import Answers, Asker, ServedModel
from flyball.operations.scoring.columns import Columns
from flyball.operations.scoring.keys import FileKeys, HomeKeys, Keys
from flyball.operations.scoring.output import Draft, check_output, open_draft

if TYPE_CHECKING:
    import polars as pl

AT_ONCE = 4
TOLD_PROBLEMS = 5
_TELL_SECONDS = 5.0

Say = Callable[[str], None]


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a job. versions: how many rows each answered. problems: of the first rows that got no prediction.

    refused: rows without a prediction; flagged: rows with one that break the contract.
    """

    model: str
    key: str
    rows: int
    refused: int
    flagged: int
    flags: dict[str, int]
    versions: list[dict[str, int]]
    problems: list[dict[str, Any]]
    seconds: float
    output: str
    digest: str


class _Counted:
    """What is counted of a job on its way."""

    def __init__(self, say: Say) -> None:
        self.rows = 0
        self.refused = 0
        self.flagged = 0
        self.flags: Counter[str] = Counter()
        self.versions: Counter[int] = Counter()
        self.problems: list[dict[str, Any]] = []
        self.started = self._told = time.monotonic()
        self._say = say

    def add(self, answers: Answers) -> None:
        for place, (version, problem) in enumerate(zip(answers.versions, answers.problems, strict=True), 1):
            if version is not None:
                self.versions[version] += 1
                continue
            self.refused += 1
            if len(self.problems) < TOLD_PROBLEMS:
                self.problems.append({"row": self.rows + place, "problem": problem})
        for flags in answers.flags:
            if flags:
                self.flagged += 1
                self.flags.update(flags)
        self.rows += len(answers.versions)
        now = time.monotonic()
        if now - self._told > _TELL_SECONDS:
            self._told = now
            self._say(f"{self.rows:,} rows, {self.rows / (now - self.started):,.0f} a second")


def score(
    model: str,
    source: str,
    output: Path,
    *,
    place: Settings | str,
    folder: Path,
    say: Say,
    key: str | None = None,
    timeout_seconds: float | None = None,
    force: bool = False,
) -> Scored:
    """Score the rows of a source into a file; under a key that was used for the same, what came of it then.

    place: the home whose model server is asked, or a server's address. folder: what relative sources lie in.
    Raises SourceUnreadable, UnknownColumn, BadInput, FilesExist, KeyInUse, ModelNotFound, NoChampion, StorageFull, and
    Unavailable where the server fails or the time is over; the output is not touched then.
    """
    path = check_output(output)
    if path.parent == (folder / source).resolve():
        raise BadInput(f"OUTPUT {path} would be part of INPUT; write it to another place", output=str(path))
    check = _time_limit(timeout_seconds)
    name = key or new_id("scr")
    keyed_id("scr", name)
    batches = open_batches(source, folder=folder)
    if any(file.resolve() == path for _, file in batches.files):
        raise BadInput(f"OUTPUT {path} is part of INPUT; write it to another place", output=str(path))
    asked = {"model": model, "input": batches.digest, "output": str(path)}
    with (
        _opened(place, model, path, check, say) as (keys, server),
        open_draft(path, name, check, say) as draft,
    ):
        known = keys.find(name)
        if known is not None:
            check_same_job(name, known, asked)
            if known.answer is not None and (answer := _standing(known.answer, path, say)) is not None:
                return answer
        elif path.exists() and not force:
            of_key = ", and not of this key" if key is not None else ""
            raise FilesExist(
                f"{path} is there already{of_key}; name another file, or write over it with --force"
            )
        with server as url, closing(Asker(url, model, check)) as asker:
            served = asker.describe()
            columns = Columns(batches.columns, served)
            batches = _with_texts(batches, served, source, folder)
            keys.begin(name, asked)
            if key is None:
                say(f"key {name}")
            scored = _score(asker, columns, batches, draft, path, name, say)
        keys.end(name, asked, msgspec.to_builtins(scored))
        return scored


def _with_texts(batches: Batches, served: ServedModel, source: str, folder: Path) -> Batches:
    """The rows with codes of digits as text where the model takes text."""
    texts = texts_of(batches.looks, served.types)
    if not texts:
        return batches
    again = open_batches(source, folder=folder, texts=texts)
    if again.digest != batches.digest:
        raise BadInput("INPUT was changed while it was read; score it again")
    return again


def _standing(answer: dict[str, Any], path: Path, say: Say) -> Scored | None:
    """What was answered before, if its output still is what was written."""
    scored = msgspec.convert(answer, Scored)
    if path.is_file() and digest_file(path) == scored.digest:
        say("made before under this key, and still there: nothing is done again")
        return scored
    say(f"{path.name} is {'not what was written there' if path.exists() else 'gone'}: it is made again")
    return None


def _score(
    asker: Asker, columns: Columns, batches: Batches, draft: Draft, path: Path, key: str, say: Say
) -> Scored:
    counted = _Counted(say)
    try:
        for frame, answers in _answered(asker, columns, batches, derived_id("scr", key)):
            draft.write(columns.answered(frame, answers))
            counted.add(answers)
    except Unavailable as error:
        error.message += (
            f". {path.name} was not written; the same command with --key {key} begins again safely"
        )
        error.args = (error.message,)
        raise
    draft.finish()
    return Scored(
        model=asker.model,
        key=key,
        rows=counted.rows,
        refused=counted.refused,
        flagged=counted.flagged,
        flags=dict(counted.flags.most_common()),
        versions=[{"version": number, "rows": rows} for number, rows in sorted(counted.versions.items())],
        problems=counted.problems,
        seconds=round(time.monotonic() - counted.started, 3),
        output=str(path),
        digest=digest_file(path),
    )


def _answered(
    asker: Asker, columns: Columns, batches: Batches, job: str
) -> Iterator[tuple[pl.DataFrame, Answers]]:
    """Chunks of rows with their answers, in order; a few are asked about at once."""
    pool = ThreadPoolExecutor(AT_ONCE)
    waiting: deque[tuple[pl.DataFrame, Future[Answers]]] = deque()
    number = 0

    def ask(chunk: pl.DataFrame, first: int) -> Answers:
        rows, problems = columns.rows_of(chunk)
        ids = [f"{job}/{first + place}" for place in range(len(rows))]
        return asker.ask(columns.sent, rows, ids, problems)

    try:
        for chunk in _chunks(batches, asker):
            waiting.append((chunk, pool.submit(ask, chunk, number + 1)))
            number += chunk.height
            if len(waiting) > AT_ONCE:
                frame, answers = waiting.popleft()
                yield frame, answers.result()
        while waiting:
            frame, answers = waiting.popleft()
            yield frame, answers.result()
    finally:
        asker.close()
        pool.shutdown(cancel_futures=True)


def _chunks(batches: Batches, asker: Asker) -> Iterator[pl.DataFrame]:
    for frame in batches:
        start = 0
        while start < frame.height:
            chunk = frame.slice(start, asker.size)
            yield chunk
            start += chunk.height


@contextmanager
def _opened(
    place: Settings | str, model: str, path: Path, check: Callable[[], float | None], say: Say
) -> Iterator[tuple[Keys, AbstractContextManager[str]]]:
    """Where keys are kept, and the server, which is looked for when its block is entered."""
    if isinstance(place, str):
        yield FileKeys(path), nullcontext(place)
        return
    if not place.home.is_dir():
        raise NotFound(
            f"there is no home at {place.home}; run this in the project's folder, or name a server with --url"
        )
    from flyball.operations.opening import open_backends
    from flyball.operations.scoring.server import server_of

    backends = open_backends(place)
    try:
        yield HomeKeys(backends), server_of(backends, model, check, say)
    finally:
        backends.close()


def _time_limit(seconds: float | None) -> Callable[[], float | None]:
    """Gives the seconds that are left, and raises Unavailable once there are none."""
    end = None if seconds is None else time.monotonic() + seconds

    def check() -> float | None:
        if end is None or seconds is None:
            return None
        left = end - time.monotonic()
        if left <= 0:
            raise Unavailable(f"not done within {seconds:g} s")
        return left

    return check
