from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from flyball.core import ids
from flyball.core.ids import derived_id, is_id, new_id


def test_a_new_id_has_its_prefix_and_the_form_of_an_id():
    assert is_id(new_id("run"), "run")
    assert not is_id(new_id("run"), "ver")


def test_an_id_is_a_uuid_of_version_7_that_holds_the_time():
    value = int(new_id("evt").removeprefix("evt_"), 16)

    assert (value >> 76) & 0xF == 7
    assert (value >> 62) & 0b11 == 0b10
    assert abs((value >> 80) - time.time() * 1000) < 60_000


def test_ids_of_many_threads_differ_and_sort_by_creation_within_a_thread():
    def make(_: int) -> list[str]:
        return [new_id("prd") for _ in range(500)]

    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(make, range(8)))

    assert len({name for batch in batches for name in batch}) == 4000
    assert all(batch == sorted(batch) for batch in batches)


def test_ids_go_on_growing_when_the_clock_is_turned_back(monkeypatch: pytest.MonkeyPatch):
    before = new_id("run")
    monkeypatch.setattr(ids.time, "time_ns", lambda: 1_000_000_000)

    assert new_id("run") > before


def test_a_derived_id_is_the_same_for_the_same_parts_only():
    assert derived_id("prd", "bike", "order-1") == derived_id("prd", "bike", "order-1")
    assert derived_id("prd", "bike", "order-1") != derived_id("prd", "bike", "order-2")
    assert derived_id("prd", "ab", "c") != derived_id("prd", "a", "bc")
    assert is_id(derived_id("prd", "bike", "order-1"), "prd")


@pytest.mark.parametrize(
    "text", ["", "run_", "run_xyz", "RUN_" + "0" * 32, "run_" + "0" * 31, "run-" + "0" * 32]
)
def test_other_text_is_no_id(text: str):
    assert not is_id(text)
