"""The champion that only the object store knows, on files and S3."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flyball.core.digests import digest_bytes
from flyball.registry.known_champion import FOLDER, find_known_champion, keep_lineage
from flyball.registry.route_table import RoutedVersion, RouteTable, publish

BUNDLE = digest_bytes(b"a bundle")


def _publish(blobs: Any, revision: int, champion: RoutedVersion | None) -> None:
    at = datetime(2026, 1, revision, tzinfo=UTC)
    table = RouteTable(
        model="m", revision=revision, published_at=at, task="regression", target="y", champion=champion
    )
    publish(blobs, table)


def test_the_newest_routes_name_the_champion_and_what_was_kept_of_its_training_goes_with_it(blobs: Any):
    assert find_known_champion(blobs, "m") is None
    _publish(blobs, 1, RoutedVersion(number=3, bundle=digest_bytes(b"earlier")))
    _publish(blobs, 2, RoutedVersion(number=4, bundle=BUNDLE))
    keep_lineage(blobs, BUNDLE, {"tree": "sha256:t", "trained_rows": "sha256:r"})
    keep_lineage(blobs, BUNDLE, {"tree": "of another run that gave the same bundle"})
    found = find_known_champion(blobs, "m")
    assert found is not None and (found.number, found.digest, found.source_tree) == (4, BUNDLE, "sha256:t")
    assert find_known_champion(blobs, "other") is None
    _publish(blobs, 3, None)
    assert find_known_champion(blobs, "m") is None


def test_a_lineage_that_is_missing_damaged_or_of_another_bundle_is_not_known(blobs: Any):
    _publish(blobs, 1, RoutedVersion(number=1, bundle=BUNDLE))
    found = find_known_champion(blobs, "m")
    assert found is not None and found.lineage == {}
    keep_lineage(blobs, BUNDLE, {"trained_rows": "sha256:r"})
    (place,) = blobs.list(FOLDER)
    good = blobs.get(place)
    other = digest_bytes(b"other").encode()
    for bad in (b"{", good.replace(b"sha256:r", b"sha256:x"), good.replace(BUNDLE.encode(), other)):
        assert bad != good
        blobs.put_latest(place, bad)
        found = find_known_champion(blobs, "m")
        assert found is not None and found.lineage == {}
