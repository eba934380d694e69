"""Lies and truths about what only a predicate judges: what the host leaves in memory, for the calls of the tests.

tests/hostile/arguments.h makes those calls: counts are 100; what is polled or selected asks for nothing; times are 5
seconds; a message offers 128 bytes for the address, 64 for control messages, and one vector of 100 bytes, the messages
after the first of an array have none; options are 128 bytes. A change here changes both.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from struct import pack

from scone_preload.spec.model import ArgKind, Call

COUNT, ADDRESS, CONTROLS, SECONDS = 100, 128, 64, 5
POLLIN, POLLHUP, SOL_SOCKET, SCM_RIGHTS = 1, 16, 1, 1
HEADER, CONTROL_AT = 56, 32
INT_MAX = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Write:
    """`data` at `offset` of what argument `arg` points to, or of where the pointer at `via - 1` in it leads."""

    arg: int
    offset: int
    data: bytes
    via: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """One reply; `what` says what is wrong with it, and is empty if nothing is."""

    what: str
    result: int
    writes: tuple[Write, ...]


def told(call: Call) -> Iterator[Told]:
    """All replies for a call with a predicate."""
    yield from CONTENTS[call.predicate](call)
    for index, arg in enumerate(call.args):
        if arg.kind is ArgKind.INOUT_STRUCT:
            yield from _remaining(call, index)


def _remaining(call: Call, arg: int) -> Iterator[Told]:
    result = 1 if call.predicate == "received_messages" else 0
    before = _header(0, control=0) if call.predicate == "received_messages" else ()
    for what, seconds, fraction in (
        ("", SECONDS, 0),
        ("", SECONDS - 1, 999_999),
        ("", 0, 0),
        ("a longer time", SECONDS, 1),
        ("a longer time", SECONDS + 1, 0),
        ("a longer time", (1 << 63) - 1, 0),
        ("a negative time", -1, 0),
    ):
        yield Told(what, result, (*before, Write(arg, 0, pack("<qq", seconds, fraction))))


def _record(name_at: int, size: int, name: bytes) -> bytes:
    """An entry of 32 bytes that says it has `size`; its type stands before the name, or behind it."""
    return (pack("<QQH", 1, 1, size).ljust(name_at, b"\x08") + name).ljust(32, b"\0")[:32]


def _listing(name_at: int) -> Callable[[Call], Iterator[Told]]:
    def replies(_: Call) -> Iterator[Told]:
        good = _record(name_at, 32, b"one")
        yield Told("", 64, (Write(1, 0, good + good),))
        yield Told("", 0, ())
        for size in (0, 1, name_at, 31, 33, 64, 65535):
            yield Told("a record's size", 64, (Write(1, 0, good + _record(name_at, size, b"two")),))
        for what, name in (("an empty name", b""), ("a path", b"../etc"), ("a name without an end", b"x" * 32)):
            yield Told(what, 64, (Write(1, 0, good + _record(name_at, 32, name)),))
        for size in (33, 40, 63):
            yield Told("half a record", size, (Write(1, 0, good + good),))

    return replies


def _rights(*, size: int = 32, fd: int = 5) -> bytes:
    return pack("<Qiiiiii", size, SOL_SOCKET, SCM_RIGHTS, 3, fd, 7, 8)


def _header(index: int, *, name: int = 0, control: int = 32) -> tuple[Write, ...]:
    at = index * (HEADER + 8)
    return Write(1, at + 8, pack("<I", name)), Write(1, at + 40, pack("<Q", control))


def _headers(result: int, *lengths: Write) -> Iterator[Told]:
    """What is believed of a received message's header."""

    def reply(what: str, header: tuple[Write, ...], rights: bytes) -> Told:
        return Told(what, result, (*header, Write(1, 0, rights, via=CONTROL_AT + 1), *lengths))

    yield reply("", _header(0, name=ADDRESS), _rights())
    yield reply("", _header(0, control=0), _rights(size=0))
    for size in (ADDRESS + 1, 1 << 31, (1 << 32) - 1):
        yield reply("an address size", _header(0, name=size), _rights())
    for size in (CONTROLS + 1, 1 << 32, (1 << 64) - 1):
        yield reply("a control size", _header(0, control=size), _rights())
    for size in (0, 15, 33, 1 << 32, (1 << 64) - 8, (1 << 64) - 1):
        yield reply("a control message's size", _header(0), _rights(size=size))
    for fd in (-1, -(1 << 31)):
        yield reply("a received descriptor", _header(0), _rights(fd=fd))


def _message(_: Call) -> Iterator[Told]:
    return _headers(1)


def _length(index: int, length: int) -> Write:
    return Write(1, index * (HEADER + 8) + HEADER, pack("<I", length))


def _lengths(*before: Write) -> Iterator[Told]:
    """What is believed of a message's length, as far as the rest is right."""
    yield Told("", 1, (*before, _length(0, COUNT)))
    yield Told("", 2, (*before, _length(0, COUNT), _length(1, 0)))
    for length in (COUNT + 1, INT_MAX, INT_MAX + 1, (1 << 32) - 1):
        yield Told("a message's length", 1, (*before, _length(0, length)))
    yield Told("a length without vectors", 2, (*before, _length(0, COUNT), _length(1, 1)))


def _sent(_: Call) -> Iterator[Told]:
    return _lengths()


def _received(_: Call) -> Iterator[Told]:
    yield from _lengths(*_header(0, control=0))
    yield from _headers(1, _length(0, COUNT))
    yield Told("a control size of nothing", 2, (_length(0, COUNT), *_header(0, control=0), *_header(1, control=1)))


def _option(_: Call) -> Iterator[Told]:
    for what, size in (("", 0), ("", ADDRESS), ("a size", ADDRESS + 1), ("a size", 1 << 31), ("a size", (1 << 32) - 1)):
        yield Told(what, 0, (Write(4, 0, pack("<I", size)),))


def _ready(index: int, events: int) -> Write:
    return Write(0, 8 * index + 6, pack("<H", events))


def _polled(_: Call) -> Iterator[Told]:
    yield Told("", 0, ())
    yield Told("", 1, (_ready(0, POLLHUP),))
    yield Told("", 2, (_ready(0, POLLHUP), _ready(COUNT - 1, POLLHUP)))
    for events in (POLLIN, POLLIN | POLLHUP, 1 << 15, 0xFFFF):
        yield Told("events", 1, (_ready(0, events),))
        yield Told("events of the last", 1, (_ready(COUNT - 1, events),))
    for result in (0, 2, COUNT):
        yield Told("a count", result, (_ready(0, POLLHUP),))


def _selected(_: Call) -> Iterator[Told]:
    yield Told("", 0, ())
    for arg in (1, 2, 3):
        for word in (0, 1):
            yield Told("a bit", 1, (Write(arg, 8 * word, pack("<Q", 1)),))
            yield Told("all bits, uncounted", 0, (Write(arg, 8 * word, b"\xff" * 8),))
    for result in (1, 64, 3 * COUNT, INT_MAX):
        yield Told("a count", result, ())


CONTENTS: Mapping[str, Callable[[Call], Iterator[Told]]] = {
    "listing": _listing(18),
    "listing64": _listing(19),
    "message": _message,
    "option": _option,
    "polled": _polled,
    "received_messages": _received,
    "selected": _selected,
    "sent_messages": _sent,
}
