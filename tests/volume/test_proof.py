"""P3: proofs fit one meeting only, and what isn't said as it should be is nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_preload.volume.proof import Answer, Hello, Meeting, Request, parse_answer, parse_hello, parse_request
from scone_preload.volume.slots import join_key

KEY = join_key(b"\1" * 32, b"\2" * 16)
MEETING = Meeting(Hello(b"\3" * 32, 4), Hello(b"\5" * 32, 6), 7, 8)
OTHERS = [
    replace(MEETING, joiner=Hello(b"\5" * 32, 4)),
    replace(MEETING, holder=Hello(b"\3" * 32, 6)),
    replace(MEETING, joiner=Hello(b"\3" * 32, 5)),
    replace(MEETING, joiner_pid=8),
    replace(MEETING, holder_pid=9),
    Meeting(MEETING.holder, MEETING.joiner, 8, 7),
]


def test_a_proof_fits_what_was_said_in_one_meeting_by_one_side() -> None:
    proof = MEETING.prove(KEY, b"request", b"said")
    assert MEETING.is_proven(KEY, b"request", proof, b"said")
    assert not MEETING.is_proven(KEY, b"request", proof, b"sai")
    assert not MEETING.is_proven(KEY, b"answer", proof, b"said")
    assert not MEETING.is_proven(join_key(b"\1" * 32, b"\3" * 16), b"request", proof, b"said")
    assert not MEETING.is_proven(KEY, b"request", proof[:31], b"said")


@pytest.mark.parametrize("other", OTHERS)
def test_it_fits_no_other_meeting(other: Meeting) -> None:
    assert not other.is_proven(KEY, b"request", MEETING.prove(KEY, b"request", b"said"), b"said")


@given(st.binary(max_size=100))
def test_what_is_read_is_what_was_said(raw: bytes) -> None:
    hello = parse_hello(raw)
    assert hello is None or hello[0].packed() + hello[1] == raw
    request = parse_request(raw)
    assert request is None or request.packed() == raw
    answer = parse_answer(raw)
    assert answer is None or isinstance(answer.arena_size, int)


def test_all_that_is_said_is_read() -> None:
    assert parse_hello(MEETING.joiner.packed() + b"rest") == (MEETING.joiner, b"rest")
    assert parse_hello(b"X" + MEETING.joiner.packed()[1:]) is None
    for request in (Request(bytes(32), "/data"), Request(bytes(32), "/\udcff")):
        assert parse_request(request.packed()) == request
    for answer in (Answer(5), Answer(5, "no: why")):
        assert parse_answer(answer.packed()) == answer
    assert parse_answer(Answer(5, "no").packed()[:16]) is None
