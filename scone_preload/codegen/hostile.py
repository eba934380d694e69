"""Lies to test with: for every checked part of every reply of a host call, replies just outside of what is believed.

A lie in a result or errno is a number; a lie in a field is that field changed in an otherwise believable struct; what
only a predicate judges is memory that the host filled (hostile_contents.py), with truths among the lies.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from scone_preload.codegen.calls_c import command_arg
from scone_preload.codegen.hostile_contents import Write, told
from scone_preload.codegen.text import head, quoted, signed64
from scone_preload.spec.model import Arg, Call, Check, Field, ResultKind, Route, Spec, Struct

MAX_ERRNO = 133
INT_MAX = (1 << 31) - 1
INT64_MIN = -(1 << 63)
INT64_MAX = (1 << 63) - 1

# Never an errno: between errno and kernel-internal codes, kernel-internal ones (ERESTARTSYS...), both sides of -4095
# (libc takes anything below as a success), and the extremes.
NEVER_ERRNOS = (-134, -191, -192, -512, -513, -514, -516, -4095, -4096, -4097, -(1 << 31), -(1 << 32), INT64_MIN)

PAST = (1, 2, 4096, 1 << 31, 1 << 32)


class LieKind(StrEnum):
    """What is lied about; the value is the C name."""

    RESULT = "HOSTILE_RESULT"
    BOUND = "HOSTILE_BOUND"
    ERRNO = "HOSTILE_ERRNO"
    FIELD = "HOSTILE_FIELD"
    TEXT = "HOSTILE_TEXT"
    CONTENT = "HOSTILE_CONTENT"
    TRUTH = "HOSTILE_TRUTH"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lie:
    """One hostile reply. BOUND: `value` is added to what the call's own arguments allow. FIELD and TEXT: at `offset`,
    `size` bytes of argument `arg` hold `value` (TEXT: no NUL), the rest of `struct` is believable. CONTENT and TRUTH:
    the result is `value` and memory is as `writes` say; a TRUTH is none, and must be taken."""

    call: str
    nr: int
    table: str
    kind: LieKind
    value: int
    arg: int = 0
    struct: str = ""
    field: str = ""
    offset: int = 0
    size: int = 0
    writes: tuple[Write, ...] = ()


def lies(spec: Spec) -> tuple[Lie, ...]:
    """All of them, and the truths, for the calls and commands that leave by an exit."""
    calls = [lie for call in spec.calls if call.route is Route.HOST for lie in _of_call(call)]
    commands = [
        lie
        for table, rows in spec.tables.items()
        for command in rows
        if command.route is Route.HOST
        for lie in _of_command(table, command)
    ]
    return (*calls, *commands)


def _of_call(call: Call) -> Iterator[Lie]:
    yield from _results(call, "")
    for errno in sorted(set(range(1, MAX_ERRNO + 1)) - call.errnos):
        yield Lie(call=call.name, nr=call.nr, table="", kind=LieKind.ERRNO, value=-errno)
    for value in NEVER_ERRNOS:
        yield Lie(call=call.name, nr=call.nr, table="", kind=LieKind.ERRNO, value=value)
    for index, arg in enumerate(call.args):
        yield from _fields(call, "", index, arg)
    for reply in told(call) if call.predicate else ():
        kind = LieKind.CONTENT if reply.what else LieKind.TRUTH
        what = reply.what or "the truth"
        yield Lie(call=call.name, nr=call.nr, table="", kind=kind, value=reply.result, field=what, writes=reply.writes)


def _of_command(table: str, command: Call) -> Iterator[Lie]:
    yield from _results(command, table)
    data = command_arg(command)
    if data is not None:
        yield from _fields(command, table, command.args.index(data), data)


def _results(call: Call, table: str) -> Iterator[Lie]:
    absolute: dict[ResultKind, Sequence[int]] = {
        ResultKind.ZERO: (1, 2, INT_MAX, INT64_MAX),
        ResultKind.FD: (INT_MAX + 1, INT64_MAX),
        ResultKind.PID: ((1 << 22) + 1, INT64_MAX),
        ResultKind.ADDRESS: (1, 4097, INT64_MAX),
        ResultKind.NEVER: (0, 1),
        ResultKind.AT_LEAST: (INT_MAX + 1, INT64_MAX),
        ResultKind.OWNER: ((1 << 22) + 1, -(1 << 22) - 1, INT64_MAX, INT64_MIN),
    }
    bounds: dict[ResultKind, Sequence[int]] = {
        ResultKind.AT_MOST: PAST,
        ResultKind.AT_MOST_SUM: PAST,
        ResultKind.COUNT: PAST,
        ResultKind.EXACTLY: (-2, -1, *PAST),
        ResultKind.AT_LEAST: (-1, -2),
    }
    for value in absolute.get(call.result.kind, ()):
        yield Lie(call=call.name, nr=call.nr, table=table, kind=LieKind.RESULT, value=value)
    for value in bounds.get(call.result.kind, ()):
        yield Lie(call=call.name, nr=call.nr, table=table, kind=LieKind.BOUND, value=value, arg=call.result.arg)


def _fields(call: Call, table: str, index: int, arg: Arg) -> Iterator[Lie]:
    struct = arg.checked_struct
    for field in struct.fields if struct else ():
        kind = LieKind.TEXT if field.check is Check.TEXT else LieKind.FIELD
        for value in outside(field):
            yield Lie(
                call=call.name,
                nr=call.nr,
                table=table,
                kind=kind,
                value=value,
                arg=index,
                struct=struct.name if struct else "",
                field=field.name,
                offset=field.offset,
                size=field.size,
            )


def outside(field: Field) -> tuple[int, ...]:
    """Values that a field can hold and that aren't believed: its neighbours and the extremes of its type."""
    bits = 8 * field.size
    if field.check is Check.TEXT:
        return (ord("A"),)
    if field.check is Check.BITS:
        return tuple(1 << bit for bit in range(bits) if not field.high >> bit & 1)
    if field.check is not Check.RANGE:
        return ()
    lowest, highest = (-(1 << bits - 1), (1 << bits - 1) - 1) if field.signed else (0, (1 << bits) - 1)
    candidates = {field.low - 1, field.high + 1, lowest, highest}
    return tuple(sorted(one for one in candidates if lowest <= one <= highest and not field.low <= one <= field.high))


def believable(struct: Struct) -> bytes:
    """A reply that must be accepted: every field the lowest value it may have, or 0 where that is allowed."""
    image = bytearray(struct.size)
    for field in struct.fields:
        if field.check is Check.RANGE and not field.low <= 0 <= field.high:
            image[field.offset : field.offset + field.size] = field.low.to_bytes(
                field.size, "little", signed=field.signed
            )
    return bytes(image)


def emit_header() -> str:
    """hostile.gen.h: the types of the table, for a test harness."""
    kinds = "".join(f"\t{kind.value},\n" for kind in LieKind)
    return (
        head("Hostile replies, for test harnesses only.")
        + '#ifndef SCONE_HOSTILE_GEN_H\n#define SCONE_HOSTILE_GEN_H\n\n#include "subshape.h"\n\n'
        + f"enum hostile_kind {{\n{kinds}}};\n\n"
        + "/* RESULT, ERRNO: `value` is the result. BOUND: value + what the arguments allow. FIELD: `size` bytes at\n"
        + " * `offset` of `base` become value. TEXT: they become 'A' without an end. The check must refuse each.\n"
        + " * CONTENT: the result is value, and `writes` are done; the predicate must refuse it. TRUTH: the same, and\n"
        + " * it must be taken. `via`: the write goes where the pointer at via - 1 of the argument leads. */\n"
        + "struct hostile_write { uint32_t arg, via; uint64_t offset, size; const void *bytes; };\n\n"
        + "struct hostile_reply {\n\tconst char *call;\n\tconst char *field;\n\tconst struct sub_table *table;"
        + "\t/* nr is a command of it; NULL: a syscall */\n\tstruct_check check;\n\tconst uint8_t *base;\n"
        + "\tconst struct hostile_write *writes;\n"
        + "\tuint64_t nr;\n\tint64_t value;\n\tuint16_t base_size;\n\tuint16_t offset;\n\tuint16_t size;\n"
        + "\tuint8_t kind;\n\tuint8_t arg;\n\tuint16_t write_count;\n};\n\n"
        + "extern const struct hostile_reply hostile_replies[];\n"
        + "extern const size_t hostile_reply_count;\n\n#endif\n"
    )


def emit(spec: Spec) -> str:
    """hostile.gen.c: the lies as a table."""
    all_lies = lies(spec)
    used = sorted({lie.struct for lie in all_lies if lie.struct})
    bases = "".join(_base(spec.structs[name]) for name in used)
    rows = "".join(f"{_row(lie, spec)}\n" for lie in all_lies)
    return (
        head("Hostile replies, for test harnesses only.")
        + f'#include "calls.gen.h"\n#include "hostile.gen.h"\n\n{bases}\n'
        + f"const struct hostile_reply hostile_replies[] = {{\n{rows}}};\n\n"
        + f"const size_t hostile_reply_count = {len(all_lies)};\n"
    )


def _base(struct: Struct) -> str:
    image = believable(struct)
    parts = [f"[{at}] = {byte}" for at, byte in enumerate(image) if byte] or ["0"]
    return f"static const uint8_t base_{struct.name}[{struct.size}] = {{ {', '.join(parts)} }};\n"


def _row(lie: Lie, spec: Spec) -> str:
    cells = [f".call = {quoted(lie.call)}", f".nr = {lie.nr:#x}", f".kind = {lie.kind.value}"]
    cells += [f".value = {signed64(_as_signed(lie.value))}", f".arg = {lie.arg}"]
    if lie.table:
        cells.append(f".table = &{lie.table}_table")
    if lie.struct:
        cells.append(f".check = check_{lie.struct}, .base = base_{lie.struct}")
        cells.append(f".base_size = {spec.structs[lie.struct].size}, .offset = {lie.offset}, .size = {lie.size}")
        cells.append(f".field = {quoted(lie.field)}")
    elif lie.kind in (LieKind.CONTENT, LieKind.TRUTH):
        writes = ", ".join(map(_write, lie.writes)) or "{ 0 }"
        cells.append(f".writes = (const struct hostile_write[]){{ {writes} }}, .write_count = {len(lie.writes)}")
        cells.append(f".field = {quoted(lie.field)}")
    return f"\t{{ {', '.join(cells)} }},"


def _write(one: Write) -> str:
    text = "".join(f"\\{byte:03o}" for byte in one.data)
    return f'{{ {one.arg}, {one.via}, {one.offset}, {len(one.data)}, "{text}" }}'


def _as_signed(value: int) -> int:
    return value - (1 << 64) if value > INT64_MAX else value
