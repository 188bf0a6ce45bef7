"""One suite for the object store on files and S3."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flyball.backends.blobs.store import BlobStore, open_blobs
from flyball.core.digests import digest_bytes
from flyball.core.errors import (
    BadKey,
    BlobsUnavailable,
    CorruptObject,
    ObjectExists,
    ObjectNotFound,
    UnsupportedUrl,
)

DATA = b"some bytes \x00\xff"


def test_an_object_is_found_by_the_digest_of_its_bytes(blobs: BlobStore) -> None:
    digest = blobs.put_object(DATA)
    assert digest == digest_bytes(DATA)
    assert blobs.has_object(digest)
    assert blobs.get_object(digest) == DATA
    assert blobs.list("objects") == [blobs.object_key(digest)]
    assert blobs.size(blobs.object_key(digest)) == len(DATA)


def test_storing_the_same_bytes_again_changes_nothing(blobs: BlobStore) -> None:
    assert blobs.put_object(DATA) == blobs.put_object(DATA)
    assert len(blobs.list("")) == 1


def test_the_empty_object_is_an_object(blobs: BlobStore) -> None:
    assert blobs.get_object(blobs.put_object(b"")) == b""


def test_a_file_is_stored_under_its_digest_and_fetched_to_a_file(blobs: BlobStore, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * 20_000)
    digest = blobs.put_file(source)
    assert digest == digest_bytes(source.read_bytes())
    assert blobs.put_file(source) == digest
    blobs.fetch_object(digest, target)
    assert target.read_bytes() == source.read_bytes()
    assert sorted(path.name for path in tmp_path.glob("*arget*")) == ["target"]


def test_what_is_not_there_is_told_apart_from_what_is_empty(blobs: BlobStore, tmp_path: Path) -> None:
    missing = digest_bytes(b"never stored")
    assert not blobs.has_object(missing)
    assert blobs.find("routes/bike/1.json") is None
    assert not blobs.exists("routes/bike/1.json")
    for ask in (
        lambda: blobs.get_object(missing),
        lambda: blobs.get("routes/bike/1.json"),
        lambda: blobs.size("routes/bike/1.json"),
        lambda: blobs.fetch_object(missing, tmp_path / "target"),
    ):
        with pytest.raises(ObjectNotFound):
            ask()
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("bad", [b"", b"some bytes \x00\xfe", DATA + b"x", DATA[:-1]])
def test_changed_bytes_are_never_handed_out(blobs: BlobStore, tmp_path: Path, bad: bytes) -> None:
    digest = blobs.put_object(DATA)
    blobs.put_latest(blobs.object_key(digest), bad)
    with pytest.raises(CorruptObject) as caught:
        blobs.get_object(digest)
    assert digest in caught.value.message
    assert "backup" in caught.value.message
    with pytest.raises(CorruptObject):
        blobs.fetch_object(digest, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_storing_the_bytes_again_repairs_an_object_that_was_cut_short(
    blobs: BlobStore, tmp_path: Path
) -> None:
    digest = blobs.put_object(DATA)
    blobs.put_latest(blobs.object_key(digest), DATA[:3])
    blobs.put_object(DATA)
    assert blobs.get_object(digest) == DATA
    blobs.put_latest(blobs.object_key(digest), DATA[:3])
    (tmp_path / "file").write_bytes(DATA)
    blobs.put_file(tmp_path / "file")
    assert blobs.get_object(digest) == DATA


def test_a_key_is_created_once(blobs: BlobStore) -> None:
    blobs.create("routes/bike/000000000001.json", b"one")
    with pytest.raises(ObjectExists):
        blobs.create("routes/bike/000000000001.json", b"two")
    assert blobs.get("routes/bike/000000000001.json") == b"one"


def test_of_sixteen_that_create_the_same_key_one_wins(blobs: BlobStore) -> None:
    won: list[int] = []
    lost: list[int] = []
    barrier = threading.Barrier(16)

    def create(number: int) -> None:
        barrier.wait()
        try:
            blobs.create("races/one", b"%d" % number)
            won.append(number)
        except ObjectExists:
            lost.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 15)
    assert blobs.get("races/one") == b"%d" % won[0]


def test_the_latest_bytes_replace_what_was_there(blobs: BlobStore) -> None:
    blobs.put_latest("serving/worker-1.json", b"one")
    blobs.put_latest("serving/worker-1.json", b"second")
    assert blobs.find("serving/worker-1.json") == b"second"


def test_keys_are_listed_by_folder_in_the_order_of_their_bytes(blobs: BlobStore) -> None:
    keys = ["a-b/x", "a/b", "a/b-c", "a/c/1", "a/c/2", "a.z", "ab/1", "a/B"]
    for key in keys:
        blobs.create(key, b"")
    assert blobs.list("") == sorted(keys)
    assert blobs.list("a") == ["a/B", "a/b", "a/b-c", "a/c/1", "a/c/2"]
    assert blobs.list("a/c") == ["a/c/1", "a/c/2"]
    assert blobs.list("nothing/here") == []
    assert blobs.list("a", after="a/b") == ["a/b-c", "a/c/1", "a/c/2"]
    assert blobs.list("a", after="a/b", limit=2) == ["a/b-c", "a/c/1"]
    assert blobs.list("a", limit=1) == ["a/B"]


def test_a_deleted_key_is_gone_and_deleting_it_again_is_fine(blobs: BlobStore) -> None:
    blobs.create("a/b", b"x")
    blobs.delete("a/b")
    blobs.delete("a/b")
    assert blobs.list("") == []
    blobs.create("a/b", b"y")
    assert blobs.get("a/b") == b"y"


def test_two_openings_of_one_url_see_the_same(blobs: BlobStore, objects_url: str) -> None:
    blobs.create("a/b", b"x")
    assert open_blobs(objects_url).get("a/b") == b"x"


BAD_KEYS = [
    *("", "/", "/etc/passwd", "../x", "a/../b", "a/./b", "a//b", "a/", ".tmp/x", "a/.hidden", "a\\b", "a b"),
    *("a\x00b", "a\nb", "a%2e%2e/b", "ä", "a:b", "a*", "a?x=1", "a#b", "~root", "a" * 201, "x/" * 460 + "x"),
]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_text_that_is_no_key_touches_nothing(blobs: BlobStore, key: str, tmp_path: Path) -> None:
    for call in (
        lambda: blobs.create(key, b"x"),
        lambda: blobs.put_latest(key, b"x"),
        lambda: blobs.find(key),
        lambda: blobs.exists(key),
        lambda: blobs.delete(key),
    ):
        with pytest.raises(BadKey):
            call()
    assert blobs.list("") == []


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=40) | st.from_regex(r"(\.{0,3}[/\\%A-Za-z0-9._-]{0,9}){1,5}", fullmatch=True))
def test_any_text_is_a_key_inside_the_folder_or_is_refused(file_blobs: BlobStore, key: str) -> None:
    try:
        file_blobs.put_latest(key, b"x")
    except BadKey:
        return
    except BlobsUnavailable as error:  # a folder where a file should be: two keys that exclude each other
        assert "directory" in error.message
        return
    assert key in file_blobs.list("")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "objects",
        "http://x/y",
        "file://host/x",
        "file:relative",
        "s3://",
        "s3://user:pw@b/x",
        "file:///x?y=1",
    ],
)
def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(UnsupportedUrl):
        open_blobs(url)


def test_a_folder_that_was_a_store_and_vanished_is_not_made_anew(tmp_path: Path) -> None:
    url = f"file://{tmp_path / 'objects'}"
    with pytest.raises(BlobsUnavailable, match="not mounted"):
        open_blobs(url, make=False).put_object(b"x")
    blobs, reader = open_blobs(url), open_blobs(url, make=False)
    digest = blobs.put_object(b"x")
    reader.put_latest("a/b", b"y")
    (tmp_path / "objects").rename(tmp_path / "away")
    for store in (blobs, reader):
        with pytest.raises(BlobsUnavailable, match="not mounted"):
            store.put_latest("a/b", b"z")
    assert not (tmp_path / "objects").exists()
    (tmp_path / "away").rename(tmp_path / "objects")
    assert (blobs.get_object(digest), reader.get("a/b")) == (b"x", b"y")
