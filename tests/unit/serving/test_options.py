"""How a server is told to run, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyball.core.errors import BadInput, Refused
from flyball.core.settings import Settings
from flyball.serving.options import ServeOptions, is_loopback, read_options

NEAR = Settings(home=Path("/h"), database_url="sqlite:////h/flyball.db", objects_url="file:///h/objects")
FAR = Settings(home=Path("/h"), database_url="sqlite:////h/flyball.db", objects_url="s3://bucket/x")


def options(
    settings: Settings = NEAR, environment: dict[str, str] | None = None, **given: object
) -> ServeOptions:
    chosen = {"host": "127.0.0.1", "port": 8081, "workers": 1, "models": None, **given}
    return read_options(settings, environment or {}, **chosen)


def test_local_objects_are_polled_five_times_a_second_and_remote_ones_less():
    assert options().poll_seconds == 0.2
    assert options(FAR).poll_seconds == 1.0
    assert options(FAR, {"FLYBALL_ROUTE_POLL_SECONDS": "0.5"}).poll_seconds == 0.5


@pytest.mark.parametrize("text", ["soon", "-1", "0", "nan", "1e9"])
def test_a_setting_that_is_no_number_of_seconds_is_named(text: str):
    with pytest.raises(BadInput, match="FLYBALL_SEGMENT_SECONDS"):
        options(environment={"FLYBALL_SEGMENT_SECONDS": text})


def test_a_worker_may_hang_for_half_a_minute_and_never_less_than_a_second():
    assert options().hang_seconds == 30.0
    assert options(environment={"FLYBALL_WORKER_HANG_SECONDS": "2.5"}).hang_seconds == 2.5
    with pytest.raises(BadInput, match="from 1 to 3600"):
        options(environment={"FLYBALL_WORKER_HANG_SECONDS": "0.5"})


def test_a_host_that_others_can_reach_needs_plain_words():
    with pytest.raises(Refused, match="FLYBALL_SERVE_ANONYMOUS"):
        options(host="0.0.0.0")
    assert options(environment={"FLYBALL_SERVE_ANONYMOUS": "1"}, host="0.0.0.0").host_names is None


def test_host_names_are_our_own_and_those_that_were_given():
    environment = {"FLYBALL_SERVE_HOSTS": "models.example.com, Other.example"}
    assert {"localhost", "127.0.0.1", "models.example.com", "other.example"} <= (
        options(environment=environment).host_names or set()
    )


@pytest.mark.parametrize("given", [{"workers": 0}, {"workers": 257}, {"port": -1}, {"port": 65536}])
def test_numbers_out_of_range_are_refused(given: dict[str, int]):
    with pytest.raises(BadInput):
        options(**given)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("x", False),
    ],
)
def test_loopback_is_what_only_this_machine_can_reach(host: str, local: bool):
    assert is_loopback(host) is local
