"""Two stores as one, over a shared one on files and S3 that is never written to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flyball.backends.blobs.layered import layered_url
from flyball.backends.blobs.store import open_blobs
from flyball.core.errors import CorruptObject, ObjectExists


@pytest.fixture
def layered(blobs: Any, tmp_path: Path) -> Any:
    """An own store over the shared one `blobs`."""
    return open_blobs(layered_url(f"file://{tmp_path / 'own'}", blobs.url))


def test_what_the_shared_store_holds_is_read_and_what_is_written_stays_out_of_it(
    layered: Any, blobs: Any, tmp_path: Path
):
    shared = blobs.put_object(b"shared")
    blobs.create("a/one", b"1")
    before = {key: blobs.get(key) for key in blobs.list()}
    assert layered.get_object(shared) == b"shared" and layered.get("a/one") == b"1"
    with pytest.raises(ObjectExists):
        layered.create("a/one", b"other")
    own = layered.put_object(b"own")
    (tmp_path / "file").write_bytes(b"a file")
    from_file = layered.put_file(tmp_path / "file")
    layered.create("a/two", b"2")
    layered.put_latest("a/one", b"changed")
    layered.delete("a/one")
    assert layered.get_object(own) == b"own" and layered.get_object(from_file) == b"a file"
    assert layered.get("a/one") == b"1"  # its own copy is deleted, the shared one can't be
    assert layered.list("a") == ["a/one", "a/two"] and layered.list("a", limit=1) == ["a/one"]
    assert layered.list("a", after="a/one") == ["a/two"]
    assert {key: blobs.get(key) for key in blobs.list()} == before


def test_an_object_that_is_damaged_in_the_shared_store_is_whole_once_it_was_stored_again(
    layered: Any, blobs: Any
):
    digest = blobs.put_object(b"a model")
    blobs.put_latest(blobs.object_key(digest), b"another")
    with pytest.raises(CorruptObject):
        layered.get_object(digest)
    assert layered.put_object(b"a model") == digest
    layered.check_object(digest)
    assert layered.get_object(digest) == b"a model"
    with pytest.raises(CorruptObject):
        blobs.get_object(digest)


def test_another_process_opens_both_by_one_url(layered: Any, blobs: Any):
    layered.create("x", b"own")
    assert open_blobs(layered.url).get("x") == b"own" and not blobs.exists("x")
