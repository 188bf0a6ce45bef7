"""The names of objects."""

from __future__ import annotations

import pytest

from flyball.backends.blobs.keys import check_key, object_key
from flyball.core.digests import digest_bytes
from flyball.core.errors import BadKey


def test_an_object_lies_below_the_first_two_digits_of_its_digest() -> None:
    digest = digest_bytes(b"x")
    name = digest.removeprefix("sha256:")
    assert object_key(digest) == f"objects/sha256/{name[:2]}/{name}"
    assert check_key(object_key(digest)) == object_key(digest)


@pytest.mark.parametrize("text", ["", "sha256:", "sha256:../../x", "md5:" + "a" * 64, "sha256:" + "A" * 64])
def test_what_is_no_digest_names_no_object(text: str) -> None:
    with pytest.raises(BadKey):
        object_key(text)


@pytest.mark.parametrize("key", ["a", "routes/bike-rentals/000000000001.json", "p=1/x_y.seg", "A..b/c"])
def test_what_a_key_may_be(key: str) -> None:
    assert check_key(key) == key
