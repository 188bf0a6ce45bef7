"""The edge of the analysis process: whatever a command raises comes back as an answer."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from flyball.core.errors import BlobsUnavailable
from flyball.operations import analyst, tracing


@pytest.mark.parametrize(
    ("line", "words"),
    [(b'{"command": "nonsense"}', "ValueError: unknown command 'nonsense'"), (b"{", "DecodeError: ")],
)
def test_what_nobody_foresaw_is_logged_and_answered(
    line: bytes, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = analyst._answer(None, None, line)
    assert (answer["ok"], answer["code"]) == (False, "internal")
    assert answer["message"].startswith(words)
    assert "failed" in caplog.text


def test_an_error_of_our_own_keeps_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise BlobsUnavailable("the store is away")

    monkeypatch.setattr(tracing, "recent_predictions", away)
    line = b'{"command": "recent", "model": "rides", "limit": 1}'
    answer = analyst._answer(None, None, line)
    assert answer == {"ok": False, "code": "blobs_unavailable", "message": "the store is away"}
