from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.core.digests import canonical_json, digest_bytes, digest_file, digest_json, is_digest


def test_a_digest_is_the_sha256_of_the_bytes():
    assert digest_bytes(b"flyball") == "sha256:" + hashlib.sha256(b"flyball").hexdigest()


def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 300_000)

    assert digest_file(path) == digest_bytes(b"x" * 300_000)


def test_the_order_of_keys_does_not_change_canonical_json():
    assert canonical_json({"b": 1, "a": [1, {"d": 0, "c": 0}]}) == canonical_json(
        {"a": [1, {"c": 0, "d": 0}], "b": 1}
    )
    assert canonical_json({"b": 1, "a": 2}) == b'{"a":2,"b":1}'


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans() | st.none()))
def test_equal_values_have_equal_digests_in_whatever_order_they_were_put_together(values: dict[str, object]):
    backwards = dict(reversed(list(values.items())))

    assert digest_json(values) == digest_json(backwards)


@pytest.mark.parametrize(
    "text", ["", "sha256:", "sha256:" + "g" * 64, "md5:" + "0" * 64, "sha256:" + "0" * 65]
)
def test_other_text_is_no_digest(text: str):
    assert not is_digest(text)
    assert is_digest("sha256:" + "0" * 64)
