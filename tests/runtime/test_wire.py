"""The control messages: the same layout as C's, and nothing malformed gets through."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_preload import libshim
from scone_preload.errors import BadMessage
from scone_preload.runtime import statistics, wire
from tests.runtime import packets
from tests.runtime.packets import SAMPLES

CONSTANTS = {
    "CTL_MAGIC": wire.MAGIC,
    "CTL_PACKET_MAX": wire.PACKET_MAX,
    "CTL_PATH_MAX": wire.PATH_MAX,
    "CTL_CALL_COUNT": wire.CALL_COUNT,
    "CTL_HELLO": wire.HELLO,
    "CTL_EXEC": wire.EXEC,
    "CTL_SITES": wire.SITES,
    "CTL_STATS": wire.STATS,
    "CTL_TRACE": wire.TRACE,
    "CTL_EVENT": wire.EVENT,
    "CTL_HELPER": wire.HELPER,
    "CTL_CALL": wire.CALL,
    "CTL_LIVE": wire.LIVE,
    "CTL_CALL_CUT": wire.CALL_CUT,
    "CTL_EXEC_UNWRAPPED": wire.EXEC_UNWRAPPED,
    "CTL_ABOUT_PATH": wire.ABOUT_PATH,
    "CTL_ABOUT_ADDRESS": wire.ABOUT_ADDRESS,
    "CTL_WANTS_POLICY": wire.WANTS_POLICY,
    "CTL_HELPER_LOST": wire.HELPER_LOST,
    "CTL_FIRST": wire.FIRST,
    "CTL_AFTER_EXEC": wire.AFTER_EXEC,
    "CALL_COUNT": wire.CALL_COUNT,
}
SIZES = {"H": 2, "I": 4, "i": 4, "Q": 8, "q": 8, "B": 1, "s": 1}


def python_layout(name: str) -> libshim.Layout:
    """A structure as wire.py packs it."""
    fields, at = {}, 0
    for field, code in wire.LAYOUTS[name]:
        fields[field] = libshim.Place(at, SIZES[code[-1]] * int(code[:-1] or 1))
        at += fields[field].size
    return libshim.Layout(at, fields)


@pytest.mark.parametrize("name", wire.LAYOUTS)
def test_the_layout_is_that_of_control_h(name: str) -> None:
    assert python_layout(name) == libshim.layout(name)
    assert wire.layout(name).size == libshim.layout(name).size


def test_every_counter_of_the_report_is_one_that_the_shim_counts() -> None:
    counted = libshim.layout("wire_stats").fields
    assert {counter for _, counter, _ in statistics.ROWS} <= set(counted)
    for name, code in wire.LAYOUTS["wire_stats"]:
        assert statistics.width(code) * SIZES[code[-1]] == counted[name].size


def test_doors_routes_and_exits_are_named_in_cs_order() -> None:
    assert [libshim.constant(f"DOOR_{name.upper()}") for name in wire.DOORS] == [0, 1, 2, 3]
    assert [f"ROUTE_{name.upper()}" for name in wire.ROUTES] == list(libshim.enumerators("call_route"))
    assert [libshim.constant(f"WIRE_EXIT_{name.upper()}") for name in wire.EXITS] == [0, 1]


def test_the_kinds_of_events_are_those_of_control_h() -> None:
    kinds = {f"CTL_EVENT_{name.upper()}": number for number, name in wire.EVENT_KINDS.items()}
    assert kinds == libshim.enumerators("ctl_event_kind")


@pytest.mark.parametrize("name", CONSTANTS)
def test_the_number_is_that_of_c(name: str) -> None:
    assert libshim.constant(name) == CONSTANTS[name]


def test_a_hello_is_understood() -> None:
    message = wire.parse(packets.hello(b"/usr/bin/redis-server", flags=wire.AFTER_EXEC))
    assert isinstance(message, wire.Hello)
    assert (message.exe, message.after_exec, message.shim_id) == (b"/usr/bin/redis-server", True, 7)
    assert (message.header.pid, message.header.tid, message.header.first) == (4000, 4001, False)


def test_an_exec_is_understood() -> None:
    message = wire.parse(packets.exec_(b"x/y", dirfd=9, cwd=b"/home"))
    assert isinstance(message, wire.Exec)
    assert (message.path, message.dirfd, message.cwd) == (b"x/y", 9, b"/home")


def test_stats_keep_every_counter_apart() -> None:
    message = wire.parse(packets.stats(first=True, denied=3, bytes_out=10, execs=2, calls={0: 5, 511: 6}))
    assert isinstance(message, wire.Stats)
    assert message.header.first
    found = message.counters
    assert (found["denied"], found["bytes_out"], found["execs"]) == ((3,), (10,), (2,))
    assert (found["calls"][0], found["calls"][511], sum(found["calls"])) == (5, 6, 11)


def test_a_trace_carries_its_strings() -> None:
    message = wire.parse(SAMPLES["trace"])
    assert isinstance(message, wire.Trace)
    assert (message.nr, message.result, message.ns) == (packets.NR_OPENAT, 3, 1500)
    assert [(s.arg, s.received, s.data) for s in message.strings] == [(1, False, b"/etc/passwd"), (1, True, b"")]


@pytest.mark.parametrize("name", SAMPLES)
def test_no_cut_short_packet_is_understood(name: str) -> None:
    whole = SAMPLES[name]
    for size in range(len(whole)):
        cut = whole[:size]
        fixed = cut[:8] + len(cut).to_bytes(4, "little") + cut[12:] if size >= 12 else cut
        for attempt in (cut, fixed):
            with pytest.raises(BadMessage):
                wire.parse(attempt)


@pytest.mark.parametrize("name", SAMPLES)
def test_no_packet_with_a_tail_is_understood(name: str) -> None:
    longer = SAMPLES[name] + b"x\0"
    with pytest.raises(BadMessage):
        wire.parse(longer[:8] + len(longer).to_bytes(4, "little") + longer[12:])


BROKEN_HEADERS = {
    "wrong magic": (0, b"XXXX"),
    "type 0": (4, b"\0\0"),
    "type 7": (4, b"\7\0"),
    "unknown flag": (6, b"\2\0"),
    "wrong size": (8, b"\xff\0\0\0"),
    "pid 0": (12, bytes(4)),
    "negative tid": (16, b"\xff\xff\xff\xff"),
    "reserved set": (20, b"\1\0\0\0"),
}


@pytest.mark.parametrize("broken", BROKEN_HEADERS)
def test_a_wrong_header_is_not_understood(broken: str) -> None:
    at, data = BROKEN_HEADERS[broken]
    good = SAMPLES["hello"]
    with pytest.raises(BadMessage):
        wire.parse(good[:at] + data + good[at + len(data) :])


BROKEN_BODIES = {
    "a call number past the table": packets.trace(512, (), 0),
    "an argument past the sixth": packets.trace(0, (), 0, ((6, 0, b"x"),)),
    "an unknown event": packets.event(99, 0, b""),
    "a descriptor below zero": packets.exec_(b"x", dirfd=-5),
    "three strings": packets.exec_(b"a\0b", cwd=b"c"),
    "a range beyond memory": packets.sites(b"x", offset=1 << 60, length=1),
}


@pytest.mark.parametrize("broken", BROKEN_BODIES)
def test_a_wrong_body_is_not_understood(broken: str) -> None:
    with pytest.raises(BadMessage):
        wire.parse(BROKEN_BODIES[broken])


@given(st.binary(max_size=300))
def test_random_bytes_are_refused_or_understood_but_never_crash(body: bytes) -> None:
    for kind in range(8):
        try:
            message = wire.parse(packets.packet(kind, body))
        except BadMessage:
            continue
        assert message.header.type == kind


@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_changed_bytes_are_refused_or_understood_but_never_crash(name: str, data: st.DataObject) -> None:
    changed = bytearray(SAMPLES[name])
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadMessage):
        assert wire.parse(bytes(changed)).header.type == changed[4]


def test_answers_fit_a_packet() -> None:
    assert len(wire.build_sites_answer(bytes(wire.SITE_SIZE * 10_000))) <= wire.PACKET_MAX
    assert len(wire.build_text_answer(bytes(100_000))) == wire.PACKET_MAX
    assert len(wire.build_exec_answer(error=0, shim=b"x" * 9000, message=b"y" * 9000)) == 16 + 2 * wire.PATH_MAX


def test_a_sites_answer_says_how_many_it_holds() -> None:
    answer = wire.build_sites_answer(b"a" * wire.SITE_SIZE * 3)
    assert answer[:8] == b"\3\0\0\0\0\0\0\0"
    assert len(answer) == 8 + 3 * wire.SITE_SIZE


def test_an_exec_answer_ends_its_strings() -> None:
    answer = wire.build_exec_answer(error=13, shim=b"", message=b"no")
    assert answer == b"\x0d" + bytes(15) + b"\0no\0"
