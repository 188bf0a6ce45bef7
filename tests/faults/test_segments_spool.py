from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flyball.core.errors import BadInput, SpoolFull
from flyball.data.spool import SpoolWriter, close_abandoned, folder_bytes, list_closed, read_segment, ship

WRITER = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from flyball.core.records import PredictionRecord
from flyball.data.spool import SpoolWriter

writer = SpoolWriter(Path(sys.argv[1]), sys.argv[2], max_bytes=20_000, max_seconds=0.05, sync_seconds=0.01)
now = datetime.now(UTC)
for number in range(10**9):
    batch = [
        PredictionRecord(
            format=1, id=f"{sys.argv[2]}.{number}.{part}", model="bike", at=now, received_at=now, role="champion",
            asked=1, input={"text": "x" * (number % 300), "value": number / 7},
        )
        for part in range(1 + number % 3)
    ]
    if number % 5 == 4:
        writer.append_synced(batch).result()
    else:
        writer.append(batch)
    os.write(1, "".join(record.id + "\\n" for record in batch).encode())   # acknowledged
"""

SHIPPER = """
import sys
from pathlib import Path
from flyball.backends.blobs.store import open_blobs
from flyball.data.spool import ship

blobs = open_blobs(sys.argv[2])
while True:
    ship(Path(sys.argv[1]), blobs, limit=3)
"""


def run(code: str, *arguments: str, environment: dict[str, str], **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment, **options)


def ids_in(segments: list[bytes]) -> list[str]:
    return [record.id for data in segments for record in read_segment(data).records]


def stored(blobs: Any) -> list[bytes]:
    return [blobs.get(key) for key in blobs.list("segments")]


def test_a_killed_writer_loses_no_acknowledged_record_and_doubles_none(
    tmp_path: Path, file_blobs: Any, child_environment: dict[str, str]
):
    seed = random.Random(7)
    acknowledged: list[str] = []
    for round_number in range(20):
        writer = run(
            WRITER,
            str(tmp_path / "spool"),
            f"w{round_number}",
            environment=child_environment,
            stdout=subprocess.PIPE,
        )
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(seed.uniform(0, 0.12))
        writer.send_signal(signal.SIGKILL)
        lines = (first + writer.stdout.read()).split(b"\n")
        writer.wait()
        acknowledged += [line.decode() for line in lines[:-1]]
        ship(tmp_path / "spool", file_blobs, limit=1000)

    written = ids_in(stored(file_blobs))

    assert len(acknowledged) > 1000
    assert len(set(written)) == len(written)
    assert set(acknowledged) <= set(written)
    # What was written and not acknowledged is at most the batch at which the writer was killed.
    assert len(written) - len(acknowledged) <= 3 * 20
    assert {path.suffix for path in (tmp_path / "spool").iterdir()} <= {".draft"}  # swept once they are old


def test_what_a_writer_left_that_was_killed_while_it_began_a_segment_is_swept(tmp_path: Path):
    old, fresh = tmp_path / "w-1.draft", tmp_path / "w-2.draft"
    for path in (old, fresh):
        path.write_bytes(b"FLYSEG1")
    os.utime(old, (time.time() - 3600, time.time() - 3600))

    assert close_abandoned(tmp_path) == []
    assert list(tmp_path.iterdir()) == [fresh]


def test_a_dead_writers_segment_whose_headers_length_is_damaged_keeps_its_records(
    tmp_path: Path, log_book: Any
):
    data = bytearray(log_book.segment([log_book.prediction(1)]))
    data[8:12] = b"\xff\xff\xff\x7f"
    (tmp_path / "w-1.open").write_bytes(data)

    (closed,) = close_abandoned(tmp_path)
    assert ids_in([closed.read_bytes()]) == ["prd_1"]


def test_a_killed_shipper_sends_each_segment_once(
    tmp_path: Path, file_blobs: Any, child_environment: dict[str, str], log_book: Any
):
    seed = random.Random(11)
    writer = SpoolWriter(tmp_path / "spool", "w", max_bytes=400)
    shipped = 0
    for round_number in range(20):
        shipper = run(SHIPPER, str(tmp_path / "spool"), file_blobs.url, environment=child_environment)
        for _ in range(15):
            writer.append([log_book.prediction(shipped)])
            shipped += 1
            time.sleep(0.002)
        time.sleep(seed.uniform(0.05, 0.25) if round_number % 2 else seed.uniform(0, 0.05))
        shipper.send_signal(signal.SIGKILL)
        shipper.wait()
    writer.close()
    ship(tmp_path / "spool", file_blobs, limit=1000)

    assert sorted(ids_in(stored(file_blobs))) == sorted(f"prd_{number}" for number in range(shipped))
    assert list_closed(tmp_path / "spool") == []


def test_two_shippers_at_once_do_no_harm(
    tmp_path: Path, file_blobs: Any, child_environment: dict[str, str], log_book: Any
):
    writer = SpoolWriter(tmp_path / "spool", "w", max_bytes=300)
    for number in range(200):
        writer.append([log_book.prediction(number)])
    writer.close()
    shippers = [
        run(SHIPPER, str(tmp_path / "spool"), file_blobs.url, environment=child_environment) for _ in range(2)
    ]
    deadline = time.monotonic() + 60
    while list_closed(tmp_path / "spool") and time.monotonic() < deadline:
        time.sleep(0.02)
    ended = [shipper.poll() for shipper in shippers]
    for shipper in shippers:
        shipper.kill()
        shipper.wait()

    assert ended == [None, None]
    assert sorted(ids_in(stored(file_blobs))) == sorted(f"prd_{number}" for number in range(200))


def test_a_segment_torn_at_every_byte_of_its_last_frame_is_closed_shipped_and_read_up_to_there(
    tmp_path: Path, file_blobs: Any, log_book: Any
):
    whole = log_book.segment([log_book.prediction(1), log_book.prediction(2)])
    kept = len(log_book.segment([log_book.prediction(1)]))
    spool = tmp_path / "spool"
    spool.mkdir()
    for length in range(kept, len(whole)):
        (spool / f"w{length}-1.open").write_bytes(whole[:length])

    assert ship(spool, file_blobs, limit=10_000) == len(whole) - kept
    for data in stored(file_blobs):
        segment = read_segment(data)
        assert [record.id for record in segment.records] == ["prd_1"]
        assert segment.torn_bytes == len(data) - kept


def test_a_living_writers_segment_is_left_to_it(tmp_path: Path, log_book: Any):
    writer = SpoolWriter(tmp_path, "w", max_seconds=60)
    writer.append([log_book.prediction(1)])

    assert close_abandoned(tmp_path) == []
    writer.append([log_book.prediction(2)])
    writer.close()

    assert ids_in([path.read_bytes() for path in list_closed(tmp_path)]) == ["prd_1", "prd_2"]


def test_a_segment_in_which_nothing_was_written_leaves_no_file(tmp_path: Path, log_book: Any):
    data = log_book.segment([])
    (tmp_path / "w-1.open").write_bytes(data)
    (tmp_path / "w-2.open").write_bytes(data[:5])
    writer = SpoolWriter(tmp_path, "v")
    writer.append([])
    writer.close()

    assert close_abandoned(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_refuses_the_record_leaves_no_half_of_it_and_ends_by_itself(
    tmp_path: Path, log_book: Any, file_size_limit: Any
):
    writer = SpoolWriter(tmp_path, "w", max_seconds=60)
    writer.append([log_book.prediction(1)])
    (path,) = tmp_path.glob("*.open")
    size = path.stat().st_size

    file_size_limit(size + 100)
    with pytest.raises(SpoolFull, match="no room"):
        writer.append([log_book.prediction(2)])
    with pytest.raises(SpoolFull, match="no room"):
        writer.append_synced([log_book.prediction(3)])
    assert path.stat().st_size == size
    file_size_limit(None)
    writer.append([log_book.prediction(4)])
    writer.close()

    segments = [read_segment(closed.read_bytes()) for closed in list_closed(tmp_path)]
    assert [record.id for segment in segments for record in segment.records] == ["prd_1", "prd_4"]
    assert all(segment.torn_bytes == segment.damaged_frames == 0 for segment in segments)


def test_a_disk_without_room_for_a_new_segment_refuses_too(
    tmp_path: Path, log_book: Any, file_size_limit: Any
):
    writer = SpoolWriter(tmp_path, "w")
    file_size_limit(10)
    with pytest.raises(SpoolFull, match="begin a segment"):
        writer.append([log_book.prediction(1)])
    file_size_limit(None)
    writer.append([log_book.prediction(2)])
    writer.close()

    assert ids_in([path.read_bytes() for path in list_closed(tmp_path)]) == ["prd_2"]
    assert [path.suffix for path in tmp_path.iterdir()] == [".seg"]


def test_the_limit_of_the_folder_refuses_until_segments_were_shipped(
    tmp_path: Path, file_blobs: Any, log_book: Any
):
    writer = SpoolWriter(tmp_path / "spool", "w", max_bytes=2_000, limit_bytes=10_000)
    written = 0
    with pytest.raises(SpoolFull, match="limit"):
        for written in range(1000):
            writer.append([log_book.prediction(written)])
    assert 5_000 < folder_bytes(tmp_path / "spool") <= 10_000

    deadline = time.monotonic() + 10
    while True:
        ship(tmp_path / "spool", file_blobs, limit=1000)
        try:
            writer.append([log_book.prediction(written)])
            break
        except SpoolFull:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    writer.close()
    ship(tmp_path / "spool", file_blobs, limit=1000)

    assert sorted(ids_in(stored(file_blobs))) == sorted(f"prd_{number}" for number in range(written + 1))


def test_old_records_become_a_closed_segment_without_anything_being_asked(tmp_path: Path, log_book: Any):
    writer = SpoolWriter(tmp_path, "w", max_seconds=0.1)
    writer.append([log_book.prediction(1)])
    deadline = time.monotonic() + 10
    while not list_closed(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)

    assert ids_in([path.read_bytes() for path in list_closed(tmp_path)]) == ["prd_1"]
    writer.close()


def test_workers_share_a_folder_and_segments_of_one_are_named_in_the_order_of_writing(
    tmp_path: Path, log_book: Any
):
    writers = [SpoolWriter(tmp_path, name, max_bytes=600) for name in ("w1", "w2")]
    for number in range(30):
        writers[number % 2].append([log_book.prediction(number)])
    for writer in writers:
        writer.close()

    closed = list_closed(tmp_path)
    assert len(closed) > 4
    for name, parity in (("w1", 0), ("w2", 1)):
        mine = sorted(path for path in closed if path.name.startswith(name + "-"))
        assert ids_in([path.read_bytes() for path in mine]) == [
            f"prd_{n}" for n in range(30) if n % 2 == parity
        ]


def test_a_worker_id_used_twice_overwrites_nothing(tmp_path: Path, file_blobs: Any, log_book: Any):
    for number in range(5):
        writer = SpoolWriter(tmp_path / "spool", "same")
        writer.append([log_book.prediction(number)])
        writer.close()
        time.sleep(0.002)
    (other,) = {path.name for path in list_closed(tmp_path / "spool")[:1]}
    file_blobs.create(f"segments/{other}", log_book.segment([log_book.prediction(77)]))

    ship(tmp_path / "spool", file_blobs)

    assert sorted(ids_in(stored(file_blobs))) == sorted([*(f"prd_{number}" for number in range(5)), "prd_77"])


def test_values_that_no_format_holds_cost_no_record(tmp_path: Path, log_book: Any):
    writer = SpoolWriter(tmp_path, "w")
    writer.append([log_book.prediction(1), log_book.prediction(2, input={"n": 2**70, "s": "\ud800"})])
    writer.append([log_book.prediction(3)])
    writer.close()

    records = [record for path in list_closed(tmp_path) for record in read_segment(path.read_bytes()).records]
    assert [record.id for record in records] == ["prd_1", "prd_2", "prd_3"]
    assert records[1].input == {"n": str(2**70), "s": "?"}


def test_an_ended_writer_refuses_and_a_name_that_is_none_is_refused(tmp_path: Path, log_book: Any):
    writer = SpoolWriter(tmp_path, "w")
    writer.close()
    with pytest.raises(SpoolFull, match="ending"):
        writer.append([log_book.prediction(1)])
    with pytest.raises(BadInput, match="worker"):
        SpoolWriter(tmp_path, "../w")


@pytest.fixture
def file_size_limit() -> Iterator[Any]:
    """Sets how large a file of this process may grow, as a full disk would; None takes the limit away."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int | None) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, before if size is None else (size, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_spool_loads_nothing_heavy(child_environment: dict[str, str]):
    code = (
        "import sys, flyball.data.spool\n"
        "heavy = {'polars', 'sqlalchemy', 'deltalake', 'obstore', 'numpy', 'dbos'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=child_environment, capture_output=True, check=False
    )

    assert (done.returncode, os.fsdecode(done.stderr)) == (0, "")
