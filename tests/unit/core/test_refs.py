from __future__ import annotations

import pytest

from flyball.core.errors import InvalidReference
from flyball.core.refs import ModelRef, parse_ref


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("churn", ModelRef("churn")),
        ("churn@3", ModelRef("churn", number=3)),
        ("churn@champion", ModelRef("churn", alias="champion")),
        ("churn@1f9a2c", ModelRef("churn", digest_prefix="1f9a2c")),
        ("churn@sha256:1f9a2cdd", ModelRef("churn", digest_prefix="1f9a2cdd")),
        ("churn@123456", ModelRef("churn", number=123456)),
        ("c1-x@my.alias_2", ModelRef("c1-x", alias="my.alias_2")),
    ],
)
def test_references_are_read_as_people_type_them(text: str, ref: ModelRef):
    assert parse_ref(text) == ref


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@3",
        "c",
        "Churn",
        "churn@",
        "churn@-1",
        "churn@²",
        "../etc@1",
        "churn@@3",
        "churn@a/b",
        "a" * 64,
        "churn@1 ",
        "churn\n",
        "churn@champion\n",
        "churn@1f9a2c\n",
    ],
)
def test_what_is_no_reference_says_what_one_looks_like(text: str):
    with pytest.raises(InvalidReference, match=r"reference|after @"):
        parse_ref(text)
