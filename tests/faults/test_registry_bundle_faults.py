"""Damaged caches, racing processes and kills: a bundle is whole or is not there, and never served otherwise."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import polars as pl
import pytest
from flyball_tests_goldens import verify_golden

from flyball.core.contract import Contract, FeatureRule
from flyball.core.errors import BadBundle, CorruptBundle, CorruptObject, FlyballError
from flyball.registry.bundle import check_objects, fetch, pack, read_folder_manifest
from flyball.registry.formats.loading import load_predictor
from flyball.registry.formats.package import package
from flyball.registry.formats.signatures import signature_for

CONTRACT = Contract(features={"a": FeatureRule(type="float"), "b": FeatureRule(type="float")})
ROWS = pl.DataFrame({"a": np.arange(300.0), "b": np.arange(300.0) % 7})


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packaged LightGBM model."""
    folder = tmp_path_factory.mktemp("made") / "bundle"
    model = lgb.LGBMRegressor(n_estimators=5, verbose=-1).fit(ROWS, ROWS["b"].to_numpy())
    signature = signature_for(CONTRACT, target="y")
    package(model, folder, model="bike", task="regression", signature=signature, contract=CONTRACT, rows=ROWS)
    return folder


@pytest.fixture
def cached(bundle: Path, file_blobs: Any, tmp_path: Path) -> tuple[str, Path]:
    """The bundle in the store and in a cache: digest and cache folder."""
    digest = pack(bundle, file_blobs)
    fetch(digest, file_blobs, tmp_path / "cache")
    return digest, tmp_path / "cache"


def _damage(path: Path, kind: str, source: random.Random) -> None:
    data = bytearray(path.read_bytes())
    if kind == "flip":
        data[source.randrange(len(data))] ^= 1 << source.randrange(8)
    elif kind == "cut":
        del data[source.randrange(len(data)) :]
    elif kind == "grow":
        data += b"\x00"
    elif kind == "pickle":
        data[:] = b"\x80\x04K\x01."
    path.unlink()
    if kind != "gone":
        path.write_bytes(bytes(data))


@pytest.mark.parametrize("name", ["model.txt", "golden.json", "model.onnx", "bundle.json"])
@pytest.mark.parametrize("kind", ["flip", "cut", "grow", "pickle", "gone"])
def test_a_damaged_file_is_found_and_repaired_from_the_store(
    cached: tuple[str, Path], file_blobs: Any, name: str, kind: str
) -> None:
    digest, cache = cached
    folder = cache / digest.removeprefix("sha256:")
    _damage(folder / name, kind, random.Random(f"{name}{kind}"))
    if name == "bundle.json":
        with pytest.raises(CorruptBundle):
            read_folder_manifest(folder, digest)
    assert fetch(digest, file_blobs, cache) == folder
    read_folder_manifest(folder, digest)
    assert verify_golden(folder).passed


def test_100_flipped_bytes_are_100_times_found(cached: tuple[str, Path]) -> None:
    digest, cache = cached
    folder = cache / digest.removeprefix("sha256:")
    source = random.Random(7)
    for _ in range(100):
        name = source.choice(["model.txt", "golden.json", "bundle.json"])
        kept = (folder / name).read_bytes()
        _damage(folder / name, "flip", source)
        with pytest.raises(FlyballError) as told:
            read_folder_manifest(folder, digest)
            from flyball.registry.formats.golden import check_golden

            check_golden(load_predictor(folder), folder, read_folder_manifest(folder, digest))
        assert name in told.value.message
        (folder / name).write_bytes(kept)
    assert verify_golden(folder).passed


def test_a_corrupt_object_in_the_store_is_not_installed(
    bundle: Path, file_blobs: Any, tmp_path: Path
) -> None:
    digest = pack(bundle, file_blobs)
    manifest = read_folder_manifest(bundle)
    victim = next(file for file in manifest.files if file.path == "model.txt")
    data = bytearray(file_blobs.get_object(victim.digest))
    data[100] ^= 1
    file_blobs.put_latest(file_blobs.object_key(victim.digest), bytes(data))
    with pytest.raises(CorruptObject):
        fetch(digest, file_blobs, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_manifest_that_lies_about_a_size_is_not_installed(
    file_blobs: Any, tmp_path: Path, bundle: Path
) -> None:
    import msgspec

    from flyball.core.digests import canonical_json

    pack(bundle, file_blobs)
    manifest = read_folder_manifest(bundle)
    lies = tuple(msgspec.structs.replace(file, size_bytes=file.size_bytes + 1) for file in manifest.files)
    digest = file_blobs.put_object(canonical_json(msgspec.structs.replace(manifest, files=lies)))
    with pytest.raises(BadBundle, match="its manifest says"):
        fetch(digest, file_blobs, tmp_path / "cache")


def test_many_fetch_at_once_and_all_get_the_whole_bundle(
    bundle: Path, file_blobs: Any, tmp_path: Path
) -> None:
    digest = pack(bundle, file_blobs)
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: fetch(digest, file_blobs, tmp_path / "cache"), range(24)))
    assert len(set(folders)) == 1
    assert verify_golden(folders[0]).passed
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [folders[0].name]


def test_a_folder_in_the_place_of_a_file_and_a_file_in_the_place_of_the_folder_are_put_right(
    cached: tuple[str, Path], file_blobs: Any
) -> None:
    digest, cache = cached
    folder = cache / digest.removeprefix("sha256:")
    (folder / "model.txt").unlink()
    (folder / "model.txt").mkdir()
    (folder / "model.txt" / "x").write_text("x")
    assert verify_golden(fetch(digest, file_blobs, cache)).passed
    shutil.rmtree(folder)
    folder.write_text("not a folder")
    assert verify_golden(fetch(digest, file_blobs, cache)).passed


FETCH = """
import sys
from pathlib import Path
from flyball.backends.blobs.store import open_blobs
from flyball.registry.bundle import fetch
print("ready", flush=True)
while True:
    import shutil
    shutil.rmtree(Path(sys.argv[3]) / sys.argv[2].removeprefix("sha256:"), ignore_errors=True)
    fetch(sys.argv[2], open_blobs(sys.argv[1]), Path(sys.argv[3]))
"""


def test_a_fetch_that_is_killed_leaves_a_whole_bundle_or_none(
    bundle: Path, file_blobs: Any, tmp_path: Path
) -> None:
    digest = pack(bundle, file_blobs)
    cache, source = tmp_path / "cache", random.Random(3)
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", FETCH, file_blobs.url, digest, str(cache)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(source.random() * 0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        folder = fetch(digest, file_blobs, cache)
        assert verify_golden(folder).passed


PUBLISH = """
import sys
from datetime import UTC, datetime
import flyball.registry.routes as routes
from flyball.backends.blobs.store import open_blobs
from flyball.backends.db.database import open_database
database, blobs = open_database(sys.argv[1]), open_blobs(sys.argv[2])
print("ready", flush=True)
while True:
    routes.publish_wanted(database, blobs, datetime.now(UTC))
"""


def test_a_publisher_that_is_killed_anywhere_publishes_each_revision_once(
    sqlite_database: Any, file_blobs: Any
) -> None:
    import threading
    from datetime import UTC, datetime

    import msgspec

    import flyball.registry.routes as routes
    from flyball.backends.db.metadata import metadata
    from flyball.core.digests import digest_bytes
    from flyball.core.project import DataSection, ModelSection, Project, TrainSection
    from flyball.core.values import Actor
    from flyball.registry.route_table import find_next
    from flyball.registry.versions import NewVersion, register_version

    anna = Actor("anna")
    project = msgspec.to_builtins(
        Project(
            model=ModelSection(name="bike", task="regression", target="y"),
            data=DataSection(source="x.parquet"),
            train=TrainSection(entry="train:train"),
        )
    )
    with sqlite_database.write() as conn:
        metadata.create_all(conn)
        for content in (b"one", b"two"):
            new = NewVersion(
                model="bike",
                task="regression",
                digest=digest_bytes(content),
                state="registered",
                author="anna",
            )
            register_version(conn, new, anna, datetime.now(UTC))
    stop = threading.Event()
    wanted = 0

    def keep_wanting() -> None:
        nonlocal wanted
        while not stop.is_set():
            with sqlite_database.write() as conn:
                swapped = routes.Wanted(
                    champion=1 + wanted % 2, previous=None, salt="", rollout_id=None, project=project
                )
                wanted = routes.want(conn, "bike", swapped, actor=anna, why="swap", now=datetime.now(UTC))
            time.sleep(0.004)

    thread = threading.Thread(target=keep_wanting)
    thread.start()
    source = random.Random(5)
    try:
        for _ in range(8):
            process = subprocess.Popen(
                [sys.executable, "-c", PUBLISH, str(sqlite_database.url), file_blobs.url],
                stdout=subprocess.PIPE,
            )
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(source.random() * 0.1)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    finally:
        stop.set()
        thread.join()
    routes.publish_wanted(sqlite_database, file_blobs, datetime.now(UTC))
    with sqlite_database.read() as conn:
        states = routes.list_revisions(conn, "bike", limit=10_000)
    assert [state.revision for state in states] == list(range(wanted, 0, -1))
    assert all(state.published_at is not None for state in states)
    assert len(file_blobs.list("routes/bike")) == wanted
    newest = find_next(file_blobs, "bike", 0)
    assert newest is not None and newest.revision == wanted
    assert newest.champion is not None and newest.champion.number == states[0].champion


def test_a_damaged_object_of_a_bundle_is_found_without_fetching_it(
    bundle: Path, file_blobs: Any, tmp_path: Path
) -> None:
    digest = pack(bundle, file_blobs)
    check_objects(digest, file_blobs)
    for file in read_folder_manifest(bundle).files:
        path = Path(file_blobs.url.removeprefix("file://"), file_blobs.object_key(file.digest))
        whole = path.read_bytes()
        _damage(path, "flip", random.Random(1))
        with pytest.raises(CorruptObject, match=file.digest):
            check_objects(digest, file_blobs)
        path.write_bytes(whole)
    check_objects(digest, file_blobs)
