"""The worked bytes of docs/internals.md, section 2: C's structs make them, wire.py reads or makes the same."""

import re
from pathlib import Path

import pytest

from scone_preload import libshim
from scone_preload.elf.model import Site
from scone_preload.elf.sitefile import pack_site
from scone_preload.runtime import verdicts, wire
from scone_preload.runtime.images import hello_answer, volume_packet
from tests.runtime import packets

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "internals.md"
LINE = re.compile(r"^([A-Za-z ]*?)\s+((?:[0-9a-f]{2,}(?:\*\d+)? *)+)$")
PID, TID = 4000, 4001
MAPS = b"1000-2000 r-xp 0 8:1 9 /bin/true\n"
SITE = bytes.fromhex("b8270000000f05")


def worked() -> dict[str, bytes]:
    """The examples by name; a line that begins with spaces goes on with the one before, `00*12` is twelve zeros."""
    section = DOCUMENT.read_text().partition("Worked bytes")[2].partition("\n## ")[0]
    block = section.partition("```\n")[2].partition("```")[0]
    found: dict[str, bytes] = {}
    name = ""
    for line in block.splitlines():
        match = LINE.match(line)
        assert match, line
        name = match[1].strip() or name
        groups = (group.partition("*") for group in match[2].split())
        found[name] = found.get(name, b"") + b"".join(
            bytes.fromhex(text) * int(count or 1) for text, _, count in groups
        )
    return found


def by_c(struct: str, tail: bytes, *, first: bool = False, **values: libshim.Value) -> bytes:
    """A message as the shim makes it: the struct of its type, and what follows."""
    header: dict[str, libshim.Value] = {
        "magic": libshim.constant("CTL_MAGIC"),
        "type": libshim.constant(struct.upper()),
        "flags": libshim.constant("CTL_FIRST") if first else 0,
        "size": libshim.layout(struct).size + len(tail),
        "pid": PID,
        "tid": TID,
    }
    return libshim.pack(struct, header=header, **values) + tail


BY_C = {
    "HELLO": lambda: by_c(
        "ctl_hello",
        b"/bin/true\0" + MAPS,
        first=True,
        shim_id=0x0123456789ABCDEF,
        nonce=7,
        flags=libshim.constant("CTL_WANTS_POLICY"),
        maps_size=len(MAPS),
    ),
    "HELLO answer": lambda: libshim.pack("ctl_hello_answer", error=1) + b"changed\0",
    "VOLUME": lambda: (
        libshim.pack("ctl_volume", flags=libshim.constant("CTL_VOLUME_READONLY"), arena_size=1 << 36) + b"/data\0/srv\0"
    ),
    "EXEC": lambda: by_c("ctl_exec", b"./ls\0/bin\0", dirfd=-100),
    "EXEC answer": lambda: libshim.pack("ctl_exec_answer", error=0, nonce=8) + b"/s.so\0\0",
    "SITES": lambda: by_c("ctl_sites", b"/lib/x.so\0", offset=0x1000, length=0x2000),
    "SITES answer": lambda: (
        libshim.pack("ctl_sites_answer", count=1)
        + libshim.pack("site", offset=0x1234, size=len(SITE), syscall_at=5, bytes=SITE)
    ),
    "STATS": lambda: by_c(
        "ctl_stats", b"", first=True, stats={"calls_by_door": [0, 5], "processes": 1, "calls": [3, 2]}
    ),
    "STATS answer": lambda: libshim.pack("ctl_text_answer", size=3) + b"ok\n",
    "TRACE": lambda: by_c(
        "ctl_trace",
        libshim.pack("ctl_trace_string", arg=1, kind=0, size=4) + b"/etc",
        nr=257,
        door=libshim.constant("DOOR_SITE"),
        route=libshim.constant("ROUTE_HOST"),
        exit=libshim.constant("WIRE_EXIT_RING"),
        args=[0xFFFFFF9C, 0x7000, 0, 0, 0, 0],
        result=-2,
        ns=1500,
        string_count=1,
    ),
    "EVENT": lambda: by_c("ctl_event", b"read: no\0", kind=libshim.constant("CTL_EVENT_REFUSED"), nr=0),
    "HELPER": lambda: by_c("ctl_helper", b"", helper_pid=4002),
    "LIVE": lambda: libshim.pack(
        "ctl_header",
        magic=libshim.constant("CTL_MAGIC"),
        type=libshim.constant("CTL_LIVE"),
        size=libshim.layout("ctl_header").size,
        pid=PID,
        tid=TID,
    ),
    "KEEP": lambda: by_c("ctl_keep", libshim.pack("ctl_kept", fd=5, offset=2, number=9), count=1),
    "CALL": lambda: by_c(
        "ctl_call",
        libshim.pack("ctl_trace_string", arg=libshim.constant("CTL_ABOUT_PATH"), size=4) + b"/etc",
        nr=257,
        args=[0xFFFFFF9C, 0x7000, 0, 0, 0, 0],
        string_count=1,
    ),
    "CALL answer": lambda: libshim.pack("ctl_call_answer", verdict=libshim.constant("CTL_RESULT"), result=-13),
}


def header(kind: int, *, first: bool = False) -> wire.Header:
    return wire.Header(type=kind, first=first, pid=PID, tid=TID)


UNDERSTOOD: dict[str, wire.Message] = {
    "HELLO": wire.Hello(
        header=header(wire.HELLO, first=True),
        shim_id=0x0123456789ABCDEF,
        nonce=7,
        after_exec=False,
        wants_policy=True,
        exe=b"/bin/true",
        maps=MAPS,
    ),
    "EXEC": wire.Exec(header=header(wire.EXEC), dirfd=wire.AT_FDCWD, at_flags=0, path=b"./ls", cwd=b"/bin"),
    "SITES": wire.Sites(header=header(wire.SITES), offset=0x1000, length=0x2000, path=b"/lib/x.so"),
    "TRACE": wire.Trace(
        header=header(wire.TRACE),
        nr=packets.NR_OPENAT,
        door=wire.DOORS.index("site"),
        route=wire.ROUTES.index("host"),
        exit=wire.EXITS.index("ring"),
        args=(0xFFFFFF9C, 0x7000, 0, 0, 0, 0),
        result=-2,
        ns=1500,
        strings=(wire.TraceString(arg=1, received=False, data=b"/etc"),),
    ),
    "EVENT": wire.Event(header=header(wire.EVENT), kind="refused", nr=packets.NR_READ, text=b"read: no"),
    "HELPER": wire.Helper(header=header(wire.HELPER), pid=4002),
    "LIVE": wire.Live(header=header(wire.LIVE)),
    "CALL": wire.Call(
        header=header(wire.CALL),
        nr=packets.NR_OPENAT,
        args=(0xFFFFFF9C, 0x7000, 0, 0, 0, 0),
        strings={wire.ABOUT_PATH: b"/etc"},
        is_cut=False,
        is_datagram=False,
    ),
    "KEEP": wire.Keep(header=header(wire.KEEP), files=(wire.Kept(fd=5, flags=0, offset=2, number=9, same_as=0),)),
}
ANSWERED = {
    "HELLO answer": hello_answer(b"", error=1, message=b"changed"),
    "VOLUME": volume_packet("/data", "/srv", arena_size=1 << 36, is_readonly=True, fds=(8, 9)),
    "EXEC answer": wire.build_exec_answer(error=0, shim=b"/s.so", nonce=8),
    "SITES answer": wire.build_sites_answer(pack_site(Site(0x1234, 5, SITE, (39,)))),
    "STATS answer": wire.build_text_answer(b"ok\n"),
    "CALL answer": wire.layout("ctl_call_answer").pack(verdicts.RESULT, 0, -13, 0, 0, 0, 0, 0, 0, 0),
}


@pytest.mark.parametrize("name", BY_C)
def test_the_worked_bytes_are_those_of_cs_structs(name: str) -> None:
    assert worked()[name].hex(" ") == BY_C[name]().hex(" ")


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_the_worked_bytes_are_understood(name: str) -> None:
    assert wire.parse(worked()[name]) == UNDERSTOOD[name]


@pytest.mark.parametrize("name", ANSWERED)
def test_the_worked_bytes_are_what_the_runtime_answers(name: str) -> None:
    assert worked()[name].hex(" ") == ANSWERED[name].hex(" ")


def test_the_worked_statistics_are_understood() -> None:
    message = wire.parse(worked()["STATS"])
    assert isinstance(message, wire.Stats)
    assert message.header == header(wire.STATS, first=True)
    counted = {name: values for name, values in message.counters.items() if any(values)}
    assert counted.pop("calls")[:3] == (3, 2, 0)
    assert counted == {"calls_by_door": (0, 5, 0, 0), "processes": (1,)}


def test_there_is_one_example_of_each_type_and_of_each_answer() -> None:
    types = {name.removeprefix("CTL_") for name in libshim.enumerators("ctl_type")}
    assert set(worked()) == set(BY_C) == types | set(ANSWERED)
    assert set(UNDERSTOOD) | {"STATS"} == types
