"""The control messages as bytes and as values: parses what shims send, builds what they are answered.

Mirrors libshim/wire/control.h (a test compares every size and offset). Takes and returns bytes only. A packet that
no shim of ours would send raises BadMessage; nothing of it is used. Imported before the first HELLO is answered, which
the program waits for, so it imports little.
"""

from __future__ import annotations

from scone_preload.errors import BadMessage
from scone_preload.frozen import Frozen
from scone_preload.runtime.layouts import LAYOUTS as LAYOUTS
from scone_preload.runtime.layouts import layout as layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    import struct
    from collections.abc import Callable
MAGIC = 0x314E4353
PACKET_MAX = 65536
PATH_MAX = 4096
CALL_COUNT = 512
KEPT_MAX = 256
NO_CALL = 0xFFFFFFFF
AT_FDCWD = -100

HELLO, EXEC, SITES, STATS, TRACE, EVENT, HELPER, CALL, LIVE, KEEP = range(1, 11)
HELPER_LOST = 0x314E4353
FIRST = 1
AFTER_EXEC, WANTS_POLICY = 1, 2
CALL_CUT, CALL_DATAGRAM = 1, 2
EXEC_UNWRAPPED = 1
ABOUT_PATH, ABOUT_ADDRESS, ABOUT_SECOND = 8, 9, 10  # strings that are no argument's: what a call is about
EVENT_KINDS = {1: "denied", 2: "refused", 3: "trap", 4: "stopped", 5: "notice"}

DOORS = ("symbol", "site", "trap", "other")
ROUTES = ("deny", "inside", "runtime", "host")
EXITS = ("gate", "ring")

_HEADER = layout("ctl_header")
_HELLO = layout("ctl_hello")
_EXEC = layout("ctl_exec")
_EXEC_ANSWER = layout("ctl_exec_answer")
_SITES = layout("ctl_sites")
_SITES_ANSWER = layout("ctl_sites_answer")
_TEXT_ANSWER = layout("ctl_text_answer")
_TRACE = layout("ctl_trace")
_TRACE_STRING = layout("ctl_trace_string")
_EVENT = layout("ctl_event")
_HELPER = layout("ctl_helper")
_CALL = layout("ctl_call")
_KEEP = layout("ctl_keep")
_KEPT = layout("ctl_kept")
_STATS = layout("wire_stats")
SITE_SIZE = 24


class Header(Frozen):
    """Who sends; `first`: the process that scone-wrap became."""

    type: int
    first: bool
    pid: int
    tid: int


class Hello(Frozen):
    """A shim has started in a process; with `wants_policy`, `maps` are the lines of its executable mappings."""

    header: Header
    shim_id: int
    nonce: int
    after_exec: bool
    wants_policy: bool
    exe: bytes
    maps: bytes


class Exec(Frozen):
    """A process asks whether it may exec `path`, and with which shim."""

    header: Header
    dirfd: int
    at_flags: int
    path: bytes
    cwd: bytes


class Sites(Frozen):
    """A process mapped a library executable and asks where its syscall instructions are."""

    header: Header
    offset: int
    length: int
    path: bytes


class Stats(Frozen):
    """What one process counted: field name of struct wire_stats -> its values."""

    header: Header
    counters: dict[str, tuple[int, ...]]


class TraceString(Frozen):
    """Bytes that one argument of a traced call points to."""

    arg: int
    received: bool
    data: bytes


class Trace(Frozen):
    """One call, after it returned."""

    header: Header
    nr: int
    door: int
    route: int
    exit: int
    args: tuple[int, ...]
    result: int
    ns: int
    strings: tuple[TraceString, ...] = ()


class Event(Frozen):
    """Something worth reporting: `kind` as in EVENT_KINDS, `nr` the call or NO_CALL."""

    header: Header
    kind: str
    nr: int
    text: bytes


class Helper(Frozen):
    """A process has the helper `pid`; 0: it is about to end the one it has."""

    header: Header
    pid: int


class Live(Frozen):
    """A process counts in the memory file that comes with this message (runtime/live.py)."""

    header: Header


class Call(Frozen):
    """A call that the policy wants decided, or served; `strings` by argument, ABOUT_* among them."""

    header: Header
    nr: int
    args: tuple[int, ...]
    strings: dict[int, bytes]
    is_cut: bool
    is_datagram: bool


class Kept(Frozen):
    """A memory file that stays open over an exec, by its number; `same_as`: the first of those that share it."""

    fd: int
    flags: int
    offset: int
    number: int
    same_as: int


class Keep(Frozen):
    """What stays open over the exec that a process was allowed last."""

    header: Header
    files: tuple[Kept, ...]


Message = Hello | Exec | Sites | Stats | Trace | Event | Helper | Live | Call | Keep


def parse(packet: bytes) -> Message:
    """Return the message in one packet; raise BadMessage when any of it is not as control.h says."""
    if not _HEADER.size <= len(packet) <= PACKET_MAX:
        raise _bad(f"{len(packet)} bytes")
    magic, kind, flags, size, pid, tid, reserved = _HEADER.unpack_from(packet)
    if magic != MAGIC or size != len(packet) or reserved != 0 or flags & ~FIRST or pid <= 0 or tid <= 0:
        raise _bad(f"header {packet[: _HEADER.size].hex()}")
    parser = _PARSERS.get(kind)
    if parser is None:
        raise _bad(f"type {kind}")
    return parser(Header(type=kind, first=bool(flags & FIRST), pid=pid, tid=tid), packet)


def _parse_hello(header: Header, packet: bytes) -> Hello:
    _, shim_id, nonce, flags, maps_size = _unpack(_HELLO, packet)
    end = len(packet) - maps_size
    if flags & ~(AFTER_EXEC | WANTS_POLICY) or end < _HELLO.size:
        raise _bad("HELLO flags")
    (exe,) = _strings(packet[:end], _HELLO.size, 1)
    return Hello(
        header=header,
        shim_id=shim_id,
        nonce=nonce,
        after_exec=bool(flags & AFTER_EXEC),
        wants_policy=bool(flags & WANTS_POLICY),
        exe=exe,
        maps=packet[end:],
    )


def _parse_exec(header: Header, packet: bytes) -> Exec:
    _, dirfd, at_flags = _unpack(_EXEC, packet)
    if dirfd < 0 and dirfd != AT_FDCWD:
        raise _bad(f"EXEC dirfd {dirfd}")
    path, cwd = _strings(packet, _EXEC.size, 2)
    return Exec(header=header, dirfd=dirfd, at_flags=at_flags, path=path, cwd=cwd)


def _parse_sites(header: Header, packet: bytes) -> Sites:
    _, offset, length = _unpack(_SITES, packet)
    if offset >= 1 << 48 or length >= 1 << 48:
        raise _bad("SITES range")
    (path,) = _strings(packet, _SITES.size, 1)
    return Sites(header=header, offset=offset, length=length, path=path)


def _parse_stats(header: Header, packet: bytes) -> Stats:
    if len(packet) != _HEADER.size + _STATS.size:
        raise _bad("STATS size")
    values = _STATS.unpack_from(packet, _HEADER.size)
    counters: dict[str, tuple[int, ...]] = {}
    at = 0
    for name, code in LAYOUTS["wire_stats"]:
        count = int(code[:-1] or 1)
        counters[name] = values[at : at + count]
        at += count
    return Stats(header=header, counters=counters)


def _parse_trace(header: Header, packet: bytes) -> Trace:
    _, nr, door, route, exit_, *args, result, ns, count, reserved = _unpack(_TRACE, packet)
    if nr >= CALL_COUNT or door >= len(DOORS) or route >= len(ROUTES) or exit_ >= len(EXITS) or reserved:
        raise _bad("TRACE fields")
    strings = _trace_strings(packet, _TRACE.size, count, 5)
    return Trace(
        header=header,
        nr=nr,
        door=door,
        route=route,
        exit=exit_,
        args=tuple(args),
        result=result,
        ns=ns,
        strings=strings,
    )


def _trace_strings(packet: bytes, at: int, count: int, arg_max: int) -> tuple[TraceString, ...]:
    strings = []
    for _ in range(count):
        if at + _TRACE_STRING.size > len(packet):
            raise _bad("TRACE string count")
        arg, kind, size = _TRACE_STRING.unpack_from(packet, at)
        at += _TRACE_STRING.size
        if arg > arg_max or kind > 1 or at + size > len(packet):
            raise _bad("TRACE string")
        strings.append(TraceString(arg=arg, received=bool(kind), data=packet[at : at + size]))
        at += size
    if at != len(packet):
        raise _bad("TRACE tail")
    return tuple(strings)


def _parse_call(header: Header, packet: bytes) -> Call:
    _, nr, flags, *args, count, reserved = _unpack(_CALL, packet)
    if nr >= CALL_COUNT or flags & ~(CALL_CUT | CALL_DATAGRAM) or reserved:
        raise _bad("CALL fields")
    strings = {string.arg: string.data for string in _trace_strings(packet, _CALL.size, count, ABOUT_SECOND)}
    return Call(
        header=header,
        nr=nr,
        args=tuple(args),
        strings=strings,
        is_cut=bool(flags & CALL_CUT),
        is_datagram=bool(flags & CALL_DATAGRAM),
    )


def _parse_keep(header: Header, packet: bytes) -> Keep:
    _, count, reserved = _unpack(_KEEP, packet)
    if count > KEPT_MAX or reserved or len(packet) != _KEEP.size + count * _KEPT.size:
        raise _bad("KEEP size")
    files = []
    for index, (*fields, unused) in enumerate(_KEPT.iter_unpack(packet[_KEEP.size :])):
        kept = Kept(*fields)
        if kept.fd < 0 or kept.same_as > index or kept.offset >= 1 << 63 or unused:
            raise _bad("KEEP fields")
        files.append(kept)
    return Keep(header=header, files=tuple(files))


def _parse_event(header: Header, packet: bytes) -> Event:
    _, kind, nr = _unpack(_EVENT, packet)
    if kind not in EVENT_KINDS or (nr >= CALL_COUNT and nr != NO_CALL):
        raise _bad("EVENT fields")
    (text,) = _strings(packet, _EVENT.size, 1)
    return Event(header=header, kind=EVENT_KINDS[kind], nr=nr, text=text)


def _parse_helper(header: Header, packet: bytes) -> Helper:
    _, pid, reserved = _unpack(_HELPER, packet)
    if len(packet) != _HELPER.size or pid < 0 or reserved:
        raise _bad("HELPER fields")
    return Helper(header=header, pid=pid)


def _parse_live(header: Header, packet: bytes) -> Live:
    if len(packet) != _HEADER.size:
        raise _bad("LIVE size")
    return Live(header=header)


_PARSERS: dict[int, Callable[[Header, bytes], Message]] = {
    HELLO: _parse_hello,
    EXEC: _parse_exec,
    SITES: _parse_sites,
    STATS: _parse_stats,
    TRACE: _parse_trace,
    EVENT: _parse_event,
    HELPER: _parse_helper,
    LIVE: _parse_live,
    CALL: _parse_call,
    KEEP: _parse_keep,
}


def build_exec_answer(
    *, error: int, shim: bytes = b"", message: bytes = b"", nonce: int = 0, unwrapped: bool = False
) -> bytes:
    """Return the answer to EXEC: `error` 0 lets it go on under `shim`, with `nonce` for its HELLO, or unwrapped."""
    return (
        _EXEC_ANSWER.pack(error, EXEC_UNWRAPPED if unwrapped else 0, nonce)
        + shim[: PATH_MAX - 1]
        + b"\0"
        + message[: PATH_MAX - 1]
        + b"\0"
    )


def build_sites_answer(sites: bytes) -> bytes:
    """Return the answer to SITES from packed `struct site`s; more than a packet holds are left to the trap."""
    room = (PACKET_MAX - _SITES_ANSWER.size) // SITE_SIZE
    count = min(len(sites) // SITE_SIZE, room)
    return _SITES_ANSWER.pack(count, 0) + sites[: count * SITE_SIZE]


def build_text_answer(text: bytes) -> bytes:
    """Return the answer to STATS: text for the process to write to its standard error."""
    text = text[: PACKET_MAX - _TEXT_ANSWER.size]
    return _TEXT_ANSWER.pack(len(text)) + text


def _unpack(shape: struct.Struct, packet: bytes) -> tuple[int, ...]:
    if len(packet) < shape.size:
        raise _bad("short packet")
    return shape.unpack_from(packet)


def _strings(packet: bytes, at: int, count: int) -> list[bytes]:
    """Return exactly `count` NUL-terminated strings that fill the packet from `at` on."""
    parts = packet[at:].split(b"\0")
    if len(parts) != count + 1 or parts[-1]:
        raise _bad("strings")
    return parts[:-1]


def _bad(what: str) -> BadMessage:
    return BadMessage("control message not understood", what, "the message is dropped; please report this bug")
