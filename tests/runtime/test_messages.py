"""P3: whatever comes by the control socket is understood or dropped; no packet ends the host, or grows it."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scone_preload.errors import BadMessage, HostileHost
from scone_preload.handlers import Call, Deny, File, Result, result
from scone_preload.log import Log
from scone_preload.policy.calls import call_numbered
from scone_preload.policy.effective import parse
from scone_preload.runtime import answers, wire
from scone_preload.runtime.calls import CallServer
from scone_preload.runtime.deciding import address_decision, path_decisions
from scone_preload.runtime.decode import answer_of, decode, outputs_of, pack_struct, room_of
from scone_preload.runtime.files import Files
from scone_preload.runtime.images import mapped_files
from scone_preload.runtime.secrets import Secrets
from scone_preload.spec import load
from scone_preload.spec.model import ArgKind
from tests.helpers.net import wait_until
from tests.runtime import packets
from tests.runtime.host_process import HostProcess

FLOOD = 100_000
SAMPLES = st.sampled_from(sorted(packets.SAMPLES.values()))
POLICY = parse(
    b'version = 1\n[files]\nunlisted = "refuse"\nread = ["/usr/"]\n[network]\nunlisted = "refuse"\n'
    b'[[secret]]\npath = "/run/a"\nfrom = "env:A"\n'
)


def understood(packet: bytes) -> wire.Message | None:
    try:
        return wire.parse(packet)
    except BadMessage:
        return None


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=300))
def test_p3_any_bytes_are_a_message_or_none(packet: bytes) -> None:
    assert understood(packet) is None or packet[:4] == b"SCN1"


@settings(max_examples=2000, deadline=None)
@given(SAMPLES, st.lists(st.tuples(st.integers(0, 2300), st.integers(0, 255)), max_size=6), st.integers(-40, 40))
def test_p3_a_message_with_wrong_bytes_is_a_message_or_none(
    packet: bytes, changes: list[tuple[int, int]], longer: int
) -> None:
    raw = bytearray(packet + bytes(longer) if longer > 0 else packet[: len(packet) + longer])
    for at, value in changes:
        if at < len(raw):
            raw[at] = value
    raw[8:12] = len(raw).to_bytes(4, "little")  # or nothing gets past the header
    message = understood(bytes(raw))
    if isinstance(message, wire.Call):
        decode(message)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=400) | st.text("0123456789abcdef-rxp :/\n", max_size=200).map(str.encode))
def test_p3_any_bytes_are_maps_or_hostile(maps: bytes) -> None:
    with contextlib.suppress(HostileHost):
        for span, path in mapped_files(maps):
            assert span
            assert path


CALLS = sorted(call.nr for call in load().calls)
NUMBERS = st.integers(0, (1 << 64) - 1)
STRINGS = st.dictionaries(st.integers(0, 10), st.binary(max_size=140), max_size=8)


def message_of(nr: int, args: list[int], strings: dict[int, bytes], flags: int = 0) -> wire.Call:
    found = wire.parse(packets.call(nr, tuple(args), strings, flags=flags, pid=os.getpid()))
    assert isinstance(found, wire.Call)
    return found


@settings(max_examples=1000, deadline=None)
@given(st.sampled_from(CALLS), st.lists(NUMBERS, min_size=6, max_size=6), STRINGS, st.integers(0, 3))
def test_p3_any_call_is_decided_and_decoded(nr: int, args: list[int], strings: dict[int, bytes], flags: int) -> None:
    message = message_of(nr, args, strings, flags)
    row = call_numbered(nr)
    assert row is not None
    for path, decision in path_decisions(POLICY, row, message, os.getpid()):
        assert path.startswith("/")
        assert str(decision)
    decided = address_decision(POLICY, row, message, os.getpid())
    assert decided is None or str(decided)
    call = decode(message)
    assert call.name == row.name
    assert call.path == "" or call.path.startswith("/")


ANSWERS = st.one_of(
    st.none(),
    st.binary(max_size=50),
    st.builds(Deny, st.integers(1, 511)),
    st.builds(Result, st.integers(-600, 600), st.dictionaries(st.sampled_from(["buf", "st", "stx"]), st.binary())),
    st.builds(lambda content, mode: File(content=content, mode=mode), st.binary(), st.integers(-1, 0o10001)),
    st.text(max_size=3),
)


@settings(max_examples=1000, deadline=None)
@given(st.sampled_from(CALLS), st.lists(st.integers(0, 4000), min_size=6, max_size=6), ANSWERS)
def test_p3_any_answer_of_a_handler_is_one_that_the_call_can_have_or_refused(
    nr: int, args: list[int], given_answer: object
) -> None:
    message, row = message_of(nr, args, {}), call_numbered(nr)
    assert row is not None
    try:
        answer = answer_of(row, message, given_answer)  # type: ignore[arg-type]
    except ValueError:
        return
    if not isinstance(answer, Result):
        return
    assert answer.value > -512
    for index, content in outputs_of(row, answer):
        room = room_of(row, message, index)
        assert room is None or len(content) <= room
    for packet in answers.give(row, answer):
        assert len(packet) <= wire.PACKET_MAX


def test_bytes_alone_are_what_is_read_as_far_as_there_is_room() -> None:
    read, readv = call_numbered(0), call_numbered(19)
    assert answer_of(read, message_of(0, [3, 7, 2, 0, 0, 0], {}), b"abc") == result(2, buf=b"ab")
    assert answer_of(readv, message_of(19, [3, 7, 1, 0, 0, 0], {}), b"abc") == Result(3, {"vec": b"abc"})


def test_numbers_have_the_signs_of_the_call() -> None:
    call = decode(message_of(257, [(1 << 64) - 100, 0, 0o101, 0o600, 0, 0], {1: b"a", 8: b"/x/../a/."}))
    assert call.args == {"dirfd": -100, "path": "a", "flags": 0o101, "mode": 0o600}
    assert call.path == "/a"
    assert decode(message_of(8, [3, (1 << 64) - 5, 1, 0, 0, 0], {})).args["offset"] == -5
    assert decode(message_of(400, [0] * 6, {})) == Call(
        name="syscall_400", nr=400, pid=os.getpid(), tid=4001, args={}, path="", address=b""
    )


def test_every_struct_that_is_packed_has_the_specs_size() -> None:
    for name, struct in load().structs.items():
        assert len(pack_struct(name, {})) == struct.size
        fields = [field for field in struct.fields if field.scalar]
        if fields:
            raw = pack_struct(name, {fields[-1].name: 1})
            assert raw[fields[-1].offset] == 1


def test_every_buffer_that_handlers_may_fill_has_a_bound() -> None:
    for call in load().calls:
        for index, arg in enumerate(call.args):
            room = room_of(call, message_of(call.nr, [16] * 6, {}), index)
            filled = arg.kind in (ArgKind.OUT, ArgKind.INOUT, ArgKind.OUT_STRUCT, ArgKind.INOUT_STRUCT)
            assert (room is not None) == filled


# ---- a call server by itself ----


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(CALLS), st.lists(NUMBERS, min_size=6, max_size=6), STRINGS)
def test_p3_every_question_is_answered_once_with_one_whole_head(
    nr: int, args: list[int], strings: dict[int, bytes]
) -> None:
    server = CallServer(POLICY, Secrets({b"A": b"1"}, {}), Files(), None, lambda *denial: None,
                        Log(-1).say)  # fmt: skip
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with mine:
        server.take(message_of(nr, args, strings), os.getpid(), theirs)
        head = mine.recv(wire.PACKET_MAX)
        assert len(head) >= wire.layout("ctl_call_answer").size
        assert head[0] in (0, 1, 2)


# ---- the host ----


def host_memory(host: HostProcess) -> int:
    """Its resident memory in KiB."""
    status = Path(f"/proc/{host.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


@pytest.mark.parametrize("kind", ["garbage", "events", "hellos", "questions"])
def test_p3_a_flood_is_dropped_answered_or_counted_and_the_host_goes_on(kind: str) -> None:
    dice = random.Random(5)
    makers = {
        "garbage": lambda at: dice.randbytes(dice.randrange(1, 200)),
        "events": lambda at: packets.event(1, packets.NR_IO_URING_SETUP, b"%d" % at),
        "hellos": lambda at: packets.hello(),
        "questions": lambda at: packets.exec_(b"/nowhere"),
    }
    count = FLOOD if kind in ("hellos", "events") else FLOOD // 20
    with HostProcess() as host:
        assert host.process.stderr is not None
        drain = threading.Thread(target=host.process.stderr.read)
        drain.start()
        assert host.ask(packets.exec_(b"/bin/true"))
        before = 0
        for at in range(count):
            if at == count // 2:
                host.ask(packets.exec_(b"/bin/true"))
                before = host_memory(host)
            host.tell(makers[kind](at))
        assert host.ask(packets.exec_(b"/bin/true"))[:4] == bytes(4)
        assert host_memory(host) - before < 20_000
        assert host.process.poll() is None
        host.control.close()
        host.end_program()
        drain.join()


def test_p3_asked_by_someone_who_never_reads_the_host_goes_on() -> None:
    with HostProcess() as host:
        held = []
        for _ in range(50):
            mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            held.append(mine)
            socket.send_fds(host.control, [packets.exec_(b"/bin/true")], [theirs.fileno()])
            theirs.close()
        mine.close()
        assert host.ask(packets.exec_(b"/bin/true"))[:4] == bytes(4)
        for one in held:
            one.close()


def test_p3_descriptors_that_are_no_sockets_and_empty_packets_do_no_harm() -> None:
    with HostProcess() as host:
        for fd in (0, os.open("/dev/null", os.O_RDONLY), os.open("/", os.O_RDONLY)):
            socket.send_fds(host.control, [packets.exec_(b"/bin/true")], [fd])
        assert host.ask(packets.exec_(b"/bin/true"))[:4] == bytes(4)


def test_the_host_ends_when_the_last_one_has_closed_the_control_socket() -> None:
    with HostProcess() as host:
        host.ask(packets.exec_(b"/bin/true"))
        host.control.close()
        wait_until(lambda: host.process.poll() is not None, "the host ends")
        assert host.process.returncode == 0
        time.sleep(0)
