"""Requests to a code host's API, and what it answers: decoded, or an error that says what to do."""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from flyball.backends.egress.exchange import Answer, Egress, listed_destinations
from flyball.core.errors import BadInput, HostRefused, HostUnavailable


class Purpose(msgspec.Struct, frozen=True, kw_only=True):
    """What requests are for, as it is told when the host says no.

    host: its name. denied: what its no to a token keeps one from. thing: what its no to a request is about. needs: what
    the token has to be allowed.
    """

    host: str
    denied: str
    thing: str
    needs: str


class HostApi:
    """An API at an address. The headers, with the token, go to its own origin and nowhere else."""

    def __init__(self, egress: Egress, url: str, headers: Mapping[str, str], purpose: Purpose) -> None:
        self._egress = egress
        self._url = url.rstrip("/")
        self._headers = {"user-agent": "flyball", **headers}
        self._purpose = purpose

    def send(self, method: str, path: str, content: Any = None) -> Any:
        """The decoded answer to a request. Raises EgressRefused, HostRefused, HostUnavailable."""
        body = None if content is None else msgspec.json.encode(content)
        answer = self._egress.send(method, self._url + path, headers=self._headers, body=body)
        return read_answer(answer, self._purpose, now=time.time())

    def find(self, path: str) -> Any:
        """What is at a path, None where there is nothing. Raises as `send`."""
        try:
            return self.send("GET", path)
        except HostRefused as error:
            if error.facts.get("status") != 404:
                raise
            return None


def open_host_api(
    url: str, environment: Mapping[str, str], headers: Mapping[str, str], purpose: Purpose
) -> HostApi:
    """The API at an address, which is allowed by being that of the job's own host."""
    return HostApi(Egress([url], listed_destinations(environment)), url, headers, purpose)


def find_token(environment: Mapping[str, str], variable: str) -> str | None:
    """The token in a variable; None without one, or for what can't stand in a header."""
    token = environment.get(variable, "").strip()
    return token if re.fullmatch(r"[\x21-\x7e]+", token) else None


def read_answer(answer: Answer, purpose: Purpose, *, now: float) -> Any:
    """The decoded body of an answer that says yes. Raises HostRefused, HostUnavailable with what to do.

    now: seconds since 1970, for a host's hour of reset.
    """
    status, name, needs = answer.status, purpose.host, purpose.needs
    if status in (200, 201, 204):
        try:
            return msgspec.json.decode(answer.body) if answer.body else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise HostUnavailable(f"{name} answered with something that is no JSON") from None
    wait = _wait(answer.headers, now) if status in (403, 429) else None
    if wait is not None or status == 429:
        when = f"again in {wait} seconds" if wait is not None else "try again later"
        raise HostUnavailable(f"{name} takes no more requests for now: {when}", retry_seconds=wait)
    if status == 401:
        raise HostRefused(
            f"{name} does not know the token: it has expired or was revoked; {needs}", status=status
        )
    if status in (403, 404):
        raise HostRefused(f"{name} does not let this token {purpose.denied}: {needs}", status=status)
    if 400 <= status < 500:
        raise HostRefused(f"{name} does not take {purpose.thing} (status {status})", status=status)
    raise HostUnavailable(f"{name} does not answer as it should (status {status})")


def decode_content(text: str) -> bytes:
    """The bytes of a file as hosts write them, in base64. Raises BadInput."""
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError) as error:
        raise BadInput("the code host sent a file that is no base64") from error


def _wait(headers: Mapping[str, str], now: float) -> int | None:
    if (seconds := _whole(headers, "retry-after")) is not None:
        return seconds
    # GitHub tells the moment instead, where the hour's requests are used up.
    reset = _whole(headers, "x-ratelimit-reset")
    if headers.get("x-ratelimit-remaining") == "0" and reset is not None:
        return max(1, int(reset - now))
    return None


def _whole(headers: Mapping[str, str], name: str) -> int | None:
    told = headers.get(name, "")
    # A host may answer with any digits: "²" is one, and no number.
    return int(told[:12]) if told.isascii() and told.isdigit() else None
