"""One request to a destination that was allowed, at an address that was checked; nothing is followed."""

from __future__ import annotations

import ipaddress
import queue
import socket
import ssl
import threading
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import msgspec

from flyball.core.errors import EgressRefused, HostUnavailable

DEADLINE_SECONDS = 5.0
MOST_ANSWER_BYTES = 1024 * 1024
SETTING = "FLYBALL_EGRESS"

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_PORTS = {"https": 443, "http": 80}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a host answered. Header names are in small letters. The body is read by adapters and never shown."""

    status: int
    headers: dict[str, str]
    body: bytes


class Egress:
    """The way out to some destinations.

    destinations: addresses whose origins (scheme, host, port) may be reached, by https and at public addresses.
    listed: the same, listed by who runs this machine (FLYBALL_EGRESS): also by http, and at private addresses.
    """

    def __init__(self, destinations: Iterable[str], listed: Iterable[str] = ()) -> None:
        self._listed = frozenset(_origin(url) for url in listed)
        self._allowed = frozenset(_origin(url) for url in destinations) | self._listed

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """The answer of at most 1 MiB, after at most 5 seconds in all, whatever its status; redirects are not followed.

        Raises EgressRefused before anything is sent where the destination is not allowed, HostUnavailable when there
        is no answer in time or it is too large.
        """
        origin = _origin(url)
        if origin not in self._allowed:
            raise EgressRefused(
                f"{_shown(origin)} is no destination; {SETTING} lists those that may be reached"
            )
        if origin[0] != "https" and origin not in self._listed:
            raise EgressRefused(f"{_shown(origin)} is not encrypted; use https, or list it in {SETTING}")
        # In a thread, because neither name resolution nor a host that drips bytes keeps to a time-out of its own.
        answers: queue.SimpleQueue[Answer | Exception] = queue.SimpleQueue()
        threading.Thread(
            target=self._send, args=(answers, origin, method, url, dict(headers or {}), body), daemon=True
        ).start()
        try:
            answer = answers.get(timeout=DEADLINE_SECONDS)
        except queue.Empty:
            raise HostUnavailable(
                f"{_shown(origin)} did not answer within {DEADLINE_SECONDS:g} seconds"
            ) from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _send(self, answers: Any, origin: tuple[str, str, int], *request: Any) -> None:
        try:
            answers.put(_exchange(origin, _checked_address(origin, origin in self._listed), *request))
        except (EgressRefused, HostUnavailable) as error:
            answers.put(error)
        except Exception as error:  # noqa: BLE001 - the thread's edge: told to the caller, by kind only, never silent
            # Messages of the HTTP library may hold headers, and so a token.
            answers.put(HostUnavailable(f"{_shown(origin)} could not be reached ({type(error).__name__})"))


def listed_destinations(environment: Mapping[str, str]) -> list[str]:
    """The addresses in FLYBALL_EGRESS, separated by commas or spaces."""
    return environment.get(SETTING, "").replace(",", " ").split()


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the open internet, also when it stands inside another one.

    >>> is_public("140.82.112.6"), is_public("::ffff:169.254.169.254"), is_public("64:ff9b::7f00:1")
    (True, False, False)
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def _checked_address(origin: tuple[str, str, int], is_listed: bool) -> str:
    """The address to connect to: the first one, after every one was looked at."""
    _, host, port = origin
    try:
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except OSError:
        raise HostUnavailable(f"the name {host} can't be resolved") from None
    if not is_listed and not all(map(is_public, found)):
        raise EgressRefused(
            f"{host} is an address of this machine or a private network; {SETTING}={_shown(origin)} allows it"
        )
    return found[0]


def _exchange(
    origin: tuple[str, str, int],
    address: str,
    method: str,
    url: str,
    headers: dict[str, str],
    body: bytes | None,
) -> Answer:
    import httpx2 as httpx

    scheme, host, port = origin
    parts = urlsplit(url)
    shown = f"[{address}]" if ":" in address else address
    name = host if port == _PORTS[scheme] else f"{host}:{port}"
    # Compressed answers could grow without end, so none is asked for.
    headers = {**headers, "host": name, "accept-encoding": "identity"}
    target = f"{scheme}://{shown}:{port}{parts.path}{'?' + parts.query if parts.query else ''}"
    # Whoever asked waits for all of it together, and has gone by the time a single wait ends the thread.
    client = httpx.Client(
        verify=_certificates(), trust_env=False, follow_redirects=False, timeout=DEADLINE_SECONDS + 1.0
    )
    with client:
        request = client.build_request(method, target, headers=headers, content=body)
        # The certificate has to be the name's, although the connection goes to the address.
        request.extensions["sni_hostname"] = host
        answer = client.send(request, stream=True)
        try:
            read = bytearray()
            for piece in answer.iter_raw():
                read += piece
                if len(read) > MOST_ANSWER_BYTES:
                    raise HostUnavailable(f"{_shown(origin)} answered with more than 1 MiB", too_large=True)
            return Answer(status=answer.status_code, headers=dict(answer.headers), body=bytes(read))
        finally:
            answer.close()


@cache
def _certificates() -> ssl.SSLContext:
    """The authorities to trust, read once: that takes longer than a request."""
    import httpx2 as httpx

    return httpx.create_ssl_context(trust_env=False)


def _origin(url: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in _PORTS or not parts.hostname or parts.username or parts.password:
        raise EgressRefused(
            "an address to send to needs http or https, a host, and no name or password in it"
        )
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]


def _shown(origin: tuple[str, str, int]) -> str:
    scheme, host, port = origin
    return f"{scheme}://{host}" if port == _PORTS[scheme] else f"{scheme}://{host}:{port}"
