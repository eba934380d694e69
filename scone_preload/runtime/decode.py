"""Between control messages and the handlers' API: a call as the spec words it, and an answer that the call can have."""

from collections.abc import Mapping
from functools import cache
from os import fsdecode
from posixpath import normpath

from scone_preload.handlers import Allow, Answer, Call, Deny, File, Result, Value
from scone_preload.policy.calls import call_numbered
from scone_preload.runtime import wire
from scone_preload.spec import load
from scone_preload.spec.model import Arg, ArgKind, ResultKind
from scone_preload.spec.model import Call as Row

SENT = frozenset({
    ArgKind.IN, ArgKind.INOUT, ArgKind.IN_STRUCT, ArgKind.INOUT_STRUCT, ArgKind.IN_SOCKADDR, ArgKind.IOVEC_IN,
    ArgKind.MSG_IN,
})  # fmt: skip
FILLED = frozenset({ArgKind.OUT, ArgKind.INOUT, ArgKind.OUT_STRUCT, ArgKind.INOUT_STRUCT, ArgKind.IOVEC_OUT})
OPENERS = frozenset({"open", "openat", "openat2", "creat"})
FILE_MAX = 16 << 20
RESULT_MAX = (1 << 63) - 1
ERRNO_MAX = 511  # above lie the kernel's own signs, which no program may see
BYTES_MAX = 56 * 1024


def decode(message: wire.Call) -> Call:
    """Return the call of a message, as handlers see it."""
    row = call_numbered(message.nr)
    args = {} if row is None else dict(_values(row, message))
    return Call(
        name=row.name if row else f"syscall_{message.nr}",
        nr=message.nr,
        pid=message.header.pid,
        tid=message.header.tid,
        args=args,
        path=_path(message, wire.ABOUT_PATH),
        second=_path(message, wire.ABOUT_SECOND),
        address=message.strings.get(wire.ABOUT_ADDRESS, b""),
        is_cut=message.is_cut,
    )


def _path(message: wire.Call, about: int) -> str:
    raw = message.strings.get(about)
    return "/" + normpath(fsdecode(raw)).lstrip("/") if raw else ""


def _values(row: Row, message: wire.Call) -> list[tuple[str, Value]]:
    found: list[tuple[str, Value]] = []
    for index, arg in enumerate(row.args):
        if arg.kind is ArgKind.PATH and index in message.strings:
            found.append((arg.name, fsdecode(message.strings[index])))
        elif arg.kind in SENT and index in message.strings:
            found.append((arg.name, message.strings[index]))
        elif arg.kind in (ArgKind.VALUE, ArgKind.FD):
            found.append((arg.name, _number(arg, message.args[index])))
    return found


def _number(arg: Arg, value: int) -> int:
    style = "i32" if arg.kind is ArgKind.FD else arg.style
    bits = 64 if style in ("i64", "u64", "hex") else 32
    value &= (1 << bits) - 1
    return value - (1 << bits) if style in ("i32", "i64") and value >> (bits - 1) else value


def answer_of(row: Row | None, message: wire.Call, given: Answer | bytes | None) -> Answer | None:
    """Return what a handler gave as an Answer, None for "not mine"; raises ValueError where the call can't have it."""
    if given is None or isinstance(given, Allow):
        return None
    if row is None:
        raise ValueError("this version knows no such call: it can only be denied")
    if isinstance(given, bytes):
        given = _short(row, message, given)
    if isinstance(given, Deny):
        return given
    if isinstance(given, File):
        return _checked_file(row, given)
    if isinstance(given, Result):
        return _checked_result(row, message, given)
    raise ValueError(f"{type(given).__name__} is no answer")


def _short(row: Row, message: wire.Call, content: bytes) -> Answer:
    """Bytes alone: a file where the call opens, what is read where it reads."""
    if row.name in OPENERS:
        return File(content=content)
    for index, arg in enumerate(row.args):
        if arg.kind in (ArgKind.OUT, ArgKind.IOVEC_OUT) and row.result.kind in (
            ResultKind.AT_MOST,
            ResultKind.AT_MOST_SUM,
        ):
            room = room_of(row, message, index)
            part = content if room is None else content[:room]
            return Result(len(part), {arg.name: part})
    raise ValueError(f"bytes are no answer to {row.name}: write result(...)")


def _checked_file(row: Row, given: File) -> File:
    if row.name not in OPENERS:
        raise ValueError(f"a file is no answer to {row.name}")
    if len(given.content) > FILE_MAX or not 0 <= given.mode <= 0o7777:
        raise ValueError(f"a file has at most {FILE_MAX} bytes and a mode up to 0o7777")
    return given


def _checked_result(row: Row, message: wire.Call, given: Result) -> Result:
    if not -ERRNO_MAX <= given.value <= RESULT_MAX:
        raise ValueError(f"{given.value} is no result")
    bound = message.args[row.result.arg] if row.result.kind is ResultKind.AT_MOST else RESULT_MAX
    if given.value > bound or (row.result.kind is ResultKind.ZERO and given.value > 0):
        raise ValueError(f"{row.name} can't have the result {given.value}")
    names = {arg.name: index for index, arg in enumerate(row.args) if arg.kind in FILLED}
    for name, content in given.outputs.items():
        if name not in names:
            raise ValueError(f"{row.name} fills no argument {name!r}; it fills: {', '.join(names) or 'none'}")
        room = room_of(row, message, names[name])
        if len(content) > (BYTES_MAX if room is None else min(room, BYTES_MAX)):
            raise ValueError(f"{len(content)} bytes are too many for {name}")
    return given


def room_of(row: Row, message: wire.Call, index: int) -> int | None:
    """Return how many bytes an argument's memory takes; None where only the program's memory says so (vectors)."""
    arg = row.args[index]
    if arg.kind in (ArgKind.OUT_STRUCT, ArgKind.INOUT_STRUCT):
        return arg.size
    if arg.kind in (ArgKind.OUT, ArgKind.INOUT):
        return message.args[arg.size_arg] * arg.size
    return None


def outputs_of(row: Row, given: Result) -> tuple[tuple[int, bytes], ...]:
    """Return the bytes for arguments, by index."""
    return tuple((index, given.outputs[arg.name]) for index, arg in enumerate(row.args) if arg.name in given.outputs)


@cache
def _struct_size(name: str) -> int:
    return load().structs[name].size


def pack_struct(name: str, values: Mapping[str, int]) -> bytes:
    """Return a struct of the spec with these fields; all others are 0."""
    packed = bytearray(_struct_size(name))
    for field in load().structs[name].fields:
        if field.name in values:
            raw = values[field.name].to_bytes(field.size, "little", signed=values[field.name] < 0)
            packed[field.offset : field.offset + field.size] = raw
    return bytes(packed)
