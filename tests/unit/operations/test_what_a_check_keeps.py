"""What a check keeps of what it found: once for the same inputs, on any machine, as FLYBALL_CACHE says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flyball_tests_repositories import git

from flyball.core.digests import digest_bytes
from flyball.core.settings import read_settings
from flyball.operations.ci.checks import _key, own_tests_once
from flyball.operations.ci.git import read_git
from flyball.operations.ci.keeping import made_once
from flyball.operations.opening import Backends, open_backends
from flyball.pipelines.project_file import read_project
from flyball.pipelines.shared_steps import entry_key

KEY = digest_bytes(b"what a check rests on")


@pytest.fixture
def backends(tmp_path: Path) -> Iterator[Backends]:
    """Stores below a home of this test's own."""
    opened = open_backends(read_settings(tmp_path, {"FLYBALL_HOME": str(tmp_path / "home")}))
    yield opened
    opened.close()


def with_cache(backends: Backends, cache: Any) -> Any:
    return replace(backends, settings=msgspec.structs.replace(backends.settings, cache=cache))


def make(answer: int) -> Any:
    return lambda: {"answer": answer}


def test_what_was_found_for_a_key_is_not_looked_for_again(backends: Backends):
    assert made_once(backends, KEY, "check", make(1)) == ({"answer": 1}, False)
    assert made_once(backends, KEY, "check", make(2)) == ({"answer": 1}, True)


def test_what_has_no_key_or_may_not_be_kept_is_made_each_time(backends: Backends):
    for answer in (1, 2):
        assert made_once(backends, None, "check", make(answer)) == ({"answer": answer}, False)
        made = made_once(backends, KEY, "check", make(answer), keeps=lambda made: False)
        assert made == ({"answer": answer}, False)


def test_a_cache_that_is_only_read_is_read_and_one_that_is_off_is_neither_read_nor_written(
    backends: Backends,
):
    for cache in ("read", "off"):
        assert made_once(with_cache(backends, cache), KEY, "check", make(1)) == ({"answer": 1}, False)
        assert backends.blobs.find(entry_key(KEY)) is None
    made_once(backends, KEY, "check", make(2))
    assert made_once(with_cache(backends, "read"), KEY, "check", make(3)) == ({"answer": 2}, True)
    assert made_once(with_cache(backends, "off"), KEY, "check", make(3)) == ({"answer": 3}, False)


def test_an_entry_that_was_tampered_with_is_made_again_and_replaced(backends: Backends):
    made_once(backends, KEY, "check", make(1))
    place = entry_key(KEY)
    backends.blobs.put_latest(place, backends.blobs.get(place).replace(b'"answer":1', b'"answer":7'))
    assert made_once(backends, KEY, "check", make(2)) == ({"answer": 2}, False)
    assert made_once(backends, KEY, "check", make(3)) == ({"answer": 2}, True)


def test_the_check_of_a_project_rests_on_its_files_and_on_its_rows(make_project: Callable[..., Path]):
    folder = make_project()
    first = _key(read_project(folder))
    assert first == _key(read_project(folder))
    with (folder / "rows.csv").open("a") as rows:
        rows.write("2025-12-01T00:00:00Z,1.0,a,3.0\n")
    second = _key(read_project(folder))
    (folder / "train.py").write_text((folder / "train.py").read_text() + "\n")
    assert len({first, second, _key(read_project(folder))}) == 3


def test_own_tests_of_which_one_gave_no_answer_or_that_lie_uncommitted_are_run_again(
    backends: Backends, make_project: Callable[..., Path]
):
    folder = make_project()
    (folder / "tests").mkdir()
    (folder / "tests" / "test_later.py").write_text(
        "import pytest\n\n\ndef test_later():\n    pytest.skip('later')\n"
    )
    git(folder, "init", "--quiet", ".")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "a test")
    for _ in range(2):
        results, cached = own_tests_once(backends, read_project(folder), read_git(folder, None, {}))
        assert ([test.outcome for test in results], cached) == (["skipped"], False)
    (folder / "tests" / "test_later.py").write_text("def test_now():\n    pass\n")
    for _ in range(2):  # git knows of no such files: another change could look the same
        results, cached = own_tests_once(backends, read_project(folder), read_git(folder, None, {}))
        assert ([test.outcome for test in results], cached) == (["pass"], False)
