"""The rows of a source in parts, for who needs none of them twice: large local files are never in memory as a whole."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flyball.core.digests import digest_json
from flyball.core.errors import SourceUnreadable
from flyball.data.content import canonical_frame, digest_content
from flyball.data.files import LARGE_BYTES, is_text_name, read_table, scan_table
from flyball.data.sources import (
    check_same_columns,
    describe_source,
    fill_in,
    is_delta,
    list_files,
    local_path,
    read_source,
)

if TYPE_CHECKING:
    import polars as pl

_BATCH_ROWS = 20_000


class Batches:
    """The rows of a source in order, with types that are the same for all of them.

    digest: of the files' bytes, or of the rows' content where there are no local files. files: the local ones.
    """

    def __init__(
        self, frame: pl.LazyFrame, columns: list[str], digest: str, files: list[tuple[str, Path]], source: str
    ) -> None:
        self._frame = frame
        self._source = source
        self.columns = columns
        self.digest = digest
        self.files = files

    @property
    def looks(self) -> Mapping[str, pl.DataType]:
        """Types that columns of CSV and TSV files have by their looks only; none of other files."""
        is_text = any(is_text_name(name) for name, _ in self.files)
        return self._frame.collect_schema() if is_text else {}

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """Frames of some thousand rows. Raises SourceUnreadable, for a source without rows too."""
        import polars as pl

        count = 0
        try:
            for frame in self._frame.collect_batches(chunk_size=_BATCH_ROWS, maintain_order=True):
                count += frame.height
                yield canonical_frame(frame)
        except pl.exceptions.PolarsError as error:
            _explain(self.files)
            reason = str(error).strip().splitlines()[0][:300]
            raise SourceUnreadable(f"{self._source} can't be read: {reason}", source=self._source) from error
        if not count:
            raise SourceUnreadable(f"{self._source} holds no rows", source=self._source)


def open_batches(
    source: str,
    *,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    large_bytes: int = LARGE_BYTES,
    texts: Collection[str] = (),
) -> Batches:
    """The rows of a source as `read_source` reads them, in parts.

    Memory is bounded for CSV, TSV, Parquet and JSON lines on this machine that are not compressed, once they have
    `large_bytes` together; anything else is read whole. texts: columns of CSV and TSV that are text whatever they look
    like. Raises SourceUnreadable.
    """
    import polars as pl

    environment = os.environ if environment is None else environment
    place, shown = fill_in(source, environment), describe_source(source)
    path = local_path(place, folder)
    if ("://" in place and urlsplit(place).scheme != "file") or is_delta(path):
        frame = canonical_frame(read_source(source, folder=folder, environment=environment, texts=texts))
        return Batches(frame.lazy(), frame.columns, digest_content(frame), [], shown)
    files = list_files(path, source, "the folder that you are in")
    if sum(file.stat().st_size for _, file in files) < large_bytes:
        frame = read_source(source, folder=folder, environment=environment, texts=texts)
        return Batches(frame.lazy(), frame.columns, _digest_files(files), files, shown)
    try:
        scans = [(name, _scan(name, file, texts)) for name, file in files]
        columns = scans[0][1].collect_schema().names()
        for name, scan in scans[1:]:
            check_same_columns(scans[0][0], columns, name, scan.collect_schema().names())
        whole = pl.concat([scan.select(columns) for _, scan in scans], how="vertical_relaxed")
        whole.collect_schema()
    except pl.exceptions.PolarsError as error:
        _explain(files)
        raise SourceUnreadable(f"{shown} can't be read: {error}", source=shown) from error
    return Batches(whole, columns, _digest_files(files), files, shown)


def digest_file(path: Path) -> str:
    """The digest of a file's bytes."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _scan(name: str, path: Path, texts: Collection[str]) -> pl.LazyFrame:
    scanned = scan_table(name, path, large_bytes=0, texts=texts)
    return read_table(name, path, texts).lazy() if scanned is None else scanned


def _digest_files(files: list[tuple[str, Path]]) -> str:
    """Of one file its own digest, wherever it lies; of several, of their names and digests."""
    if len(files) == 1:
        return digest_file(files[0][1])
    return digest_json([[file.name, digest_file(file)] for _, file in files])


def _explain(files: list[tuple[str, Path]]) -> None:
    """Raises SourceUnreadable if reading a file whole tells better what is wrong with it."""
    for name, file in files:
        read_table(name, file)
