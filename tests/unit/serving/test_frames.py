"""The stream between worker and model process: cut anywhere, it gives the same messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.serving.frames import (
    HEAD,
    LONGEST_FRAME,
    Ask,
    FrameReader,
    Reply,
    decode_ask,
    decode_reply,
    pack,
)

ROWS = st.lists(
    st.dictionaries(
        st.text(max_size=5), st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text()
    ),
    max_size=3,
)


@given(st.lists(ROWS, min_size=1, max_size=4), st.lists(st.integers(1, 40), min_size=1))
def test_messages_arrive_whole_however_the_stream_is_cut(asked: list[list[dict]], cuts: list[int]):
    stream = b"".join(pack(Ask(number, rows)) for number, rows in enumerate(asked, start=1))
    reader, got, position, turn = FrameReader(), [], 0, 0
    while position < len(stream):
        size = cuts[turn % len(cuts)]
        got += [decode_ask(frame) for frame in reader.feed(stream[position : position + size])]
        position, turn = position + size, turn + 1
    assert got == [Ask(number, rows) for number, rows in enumerate(asked, start=1)]


def test_a_reply_keeps_numbers_and_problems():
    reply = Reply(3, [1.5, 2], [[0.25, 0.75]], None, None)
    (frame,) = FrameReader().feed(pack(reply))
    assert decode_reply(frame) == reply


def test_a_frame_of_absurd_length_is_refused_before_it_is_read():
    with pytest.raises(ValueError, match="was announced"):
        list(FrameReader().feed(HEAD.pack(LONGEST_FRAME + 1)))


def test_a_fault_kind_nobody_knows_is_refused():
    import msgspec

    with pytest.raises(msgspec.ValidationError):
        decode_reply(msgspec.msgpack.encode([1, None, None, "problem", "sabotage"]))
