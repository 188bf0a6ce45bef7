from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.backends.blobs.files import FileBlobs
from flyball.core.contract import Contract, FeatureRule
from flyball.core.digests import canonical_json, digest_bytes
from flyball.core.errors import Corrupt, NewerFormat, RouteConflict
from flyball.core.project import LogSection
from flyball.registry.route_table import (
    RoutedVersion,
    RouteTable,
    choose,
    find_next,
    list_routed_models,
    publish,
    read_table,
    route_key,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "route-table-1.json"


def table(**changes: Any) -> RouteTable:
    values: dict[str, Any] = {
        "model": "bike",
        "revision": 3,
        "published_at": datetime(2026, 11, 21, 12, 0, tzinfo=UTC),
        "task": "binary",
        "target": "late",
        "entity": "rider",
        "time": "ts",
        "champion": RoutedVersion(number=4, bundle=digest_bytes(b"four")),
        "candidate": RoutedVersion(number=5, bundle=digest_bytes(b"five"), isolated=True),
        "candidate_role": "canary",
        "share": 0.25,
        "previous": RoutedVersion(number=2, bundle=digest_bytes(b"two")),
        "salt": "rol_1",
        "contract": Contract(features={"hr": FeatureRule(type="int", min=0, max=23)}),
        "on_violation": "reject",
        "positive": 1,
        "threshold": 0.3,
        "log": LogSection(hash=["rider"]),
    }
    return RouteTable(**{**values, **changes})


def test_the_golden_file_of_format_1_reads_as_it_always_did() -> None:
    assert read_table(GOLDEN.read_bytes()) == table()
    assert canonical_json(table()) == GOLDEN.read_bytes().strip()


def test_a_field_of_a_later_release_is_passed_over() -> None:
    document = msgspec.json.decode(GOLDEN.read_bytes())
    assert read_table(msgspec.json.encode({**document, "region": "eu"})) == table()


def test_a_later_format_is_told_as_one() -> None:
    with pytest.raises(NewerFormat, match="update Flyball"):
        read_table(b'{"format": 2, "everything": "else"}')


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"format": 1}', b"\x80\x04K\x01.", b'{"format": 1, "model": 7}']
)
def test_what_is_no_route_table_is_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        read_table(data)


@given(key=st.text(), salt=st.text(max_size=300), share=st.floats(0, 1))
def test_a_key_is_always_answered_by_the_same_arm(key: str, salt: str, share: float) -> None:
    routes = table(salt=salt, share=share)
    assert choose(routes, key) == choose(read_table(canonical_json(routes)), key)


@given(key=st.text(), low=st.floats(0, 1), high=st.floats(0, 1))
def test_raising_the_share_never_moves_a_candidates_key_back(key: str, low: float, high: float) -> None:
    low, high = sorted((low, high))
    if choose(table(share=low), key) == "candidate":
        assert choose(table(share=high), key) == "candidate"


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.25, 0.5, 0.9, 1.0])
def test_the_share_of_keys_is_what_was_asked(share: float) -> None:
    routes, count = table(share=share), 20_000
    got = sum(choose(routes, f"rider-{number}") == "candidate" for number in range(count)) / count
    # Five standard errors of a binomial share.
    assert abs(got - share) <= 5 * (share * (1 - share) / count) ** 0.5


def test_another_salt_divides_the_keys_anew() -> None:
    keys = [f"rider-{number}" for number in range(20_000)]
    first, second = (
        {k for k in keys if choose(table(salt=salt, share=0.5), k) == "candidate"} for salt in "ab"
    )
    assert len(first & second) / len(keys) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(
    "changes", [{"candidate": None, "candidate_role": None}, {"candidate_role": "shadow"}]
)
def test_without_a_canary_the_champion_answers_everybody(changes: Any) -> None:
    assert choose(table(share=1.0, **changes), "rider-1") == "champion"


def test_half_a_surrogate_pair_is_a_key_like_any_other() -> None:
    assert choose(table(), "\ud83d") in ("champion", "candidate")


def test_a_revision_is_published_once(blobs: Any) -> None:
    publish(blobs, table())
    publish(blobs, table())
    with pytest.raises(RouteConflict, match="revision 3 of bike"):
        publish(blobs, table(share=0.5))
    assert read_table(blobs.get(route_key("bike", 3))).share == 0.25
    assert list_routed_models(blobs) == ["bike"]


def test_a_reader_gets_the_newest_revision_above_its_own(blobs: Any) -> None:
    assert find_next(blobs, "bike", 0) is None
    for revision in (1, 2, 3):
        publish(blobs, table(revision=revision))
    assert [getattr(find_next(blobs, "bike", after), "revision", None) for after in range(5)] == [
        3,
        3,
        3,
        None,
        None,
    ]
    assert find_next(blobs, "boat", 0) is None


def test_a_reader_far_behind_catches_up(file_blobs: Any) -> None:
    for revision in range(1, 60):
        file_blobs.create(route_key("bike", revision), canonical_json(table(revision=revision)))
    found = find_next(file_blobs, "bike", 2)
    assert found is not None and found.revision == 59


def test_a_table_in_another_models_place_is_not_followed(file_blobs: Any) -> None:
    file_blobs.create(route_key("boat", 1), canonical_json(table(revision=1)))
    with pytest.raises(Corrupt, match="boat"):
        find_next(file_blobs, "boat", 0)


class CountingBlobs(FileBlobs):
    """Objects in files, counting what is asked of the disk."""

    asked = 0

    def find(self, key: str) -> bytes | None:
        self.asked += 1
        return super().find(key)

    def list(self, prefix: str = "", after: str | None = None, limit: int | None = None) -> list[str]:
        self.asked += 1000
        return super().list(prefix, after, limit)


def test_asking_for_a_revision_that_is_not_there_costs_one_look_however_many_there_are(
    tmp_path: Path,
) -> None:
    blobs = CountingBlobs(f"file://{tmp_path}")
    for revision in range(1, 40):
        blobs.create(route_key("bike", revision), canonical_json(table(revision=revision)))
    assert find_next(blobs, "bike", 39) is None
    assert blobs.asked == 1
