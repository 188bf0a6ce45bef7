"""Where the program may send to: destinations that were allowed, at addresses of the open internet."""

from __future__ import annotations

import pytest

from flyball.backends.egress.exchange import Egress, is_public, listed_destinations
from flyball.core.errors import EgressRefused, HostUnavailable


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fd00::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
    ],
)  # fmt: skip
def test_addresses_of_this_machine_and_of_private_networks_are_not_public(address: str):
    assert not is_public(address)


def test_addresses_of_the_internet_are_public():
    assert all(map(is_public, ["140.82.112.6", "2606:50c0:8000::153", "::ffff:140.82.112.6"]))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "017700000001", "[::1]", "[::ffff:127.0.0.1]"]
)
def test_every_way_to_write_this_machine_is_refused(host: str):
    url = f"https://{host}/x"
    with pytest.raises((EgressRefused, HostUnavailable)) as refused:
        Egress([url]).send("GET", url)
    assert "address of this machine" in str(refused.value) or "can't be resolved" in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/", "http://api.example/", "https://api.example:444/", "https://api.example.evil/",
        "https://user:word@api.example/", "https://api.example@evil.example/", "ftp://api.example/", "//api.example/",
        "https:///x", "https://api.example:port/",
    ],
)  # fmt: skip
def test_only_the_origins_that_were_allowed_are_reached(url: str):
    with pytest.raises(EgressRefused):
        Egress(["https://api.example/v3"]).send("GET", url)


def test_the_list_of_destinations_is_read_from_the_environment():
    environment = {"FLYBALL_EGRESS": "https://git.corp, http://127.0.0.1:8080"}
    assert listed_destinations(environment) == ["https://git.corp", "http://127.0.0.1:8080"]
    assert listed_destinations({}) == []
