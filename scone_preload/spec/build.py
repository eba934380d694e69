"""Checked syntax to the Spec. Everything here trusts check.py: a problem that it lets through ends as BadType."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scone_preload.spec.marks import Meaning, meaning_of
from scone_preload.spec.model import Arg, ArgKind, Call, CallFlag, Field, Result, ResultKind, Route, Spec, Struct
from scone_preload.spec.parse import Block, Param, Row
from scone_preload.spec.types import BadType, arg_of, fields_of, result_of

MAX_ERRNO = 133


@dataclass(frozen=True, slots=True)
class Sources:
    """The parsed files: calls by file, command tables by multiplexer, and what they refer to."""

    calls: dict[str, tuple[Block, ...]]
    tables: dict[str, tuple[Block, ...]]
    structs: tuple[Block, ...]
    numbers: tuple[Block, ...]
    errnos: tuple[Block, ...]
    flags: tuple[Block, ...]

    def call_rows(self) -> tuple[Row, ...]:
        """Every row of every call file."""
        return tuple(row for blocks in self.calls.values() for block in blocks for row in block.rows)

    def table_rows(self) -> tuple[Row, ...]:
        """Every row of every command table."""
        return tuple(row for blocks in self.tables.values() for block in blocks for row in block.rows)


def numbers_of(blocks: Iterable[Block]) -> dict[str, int]:
    """Syscall names to numbers."""
    return {one.name: one.value for block in blocks for one in block.constants}


def flags_of(blocks: Iterable[Block]) -> dict[str, dict[str, int]]:
    """Tables of flag names for the trace."""
    return {block.name: {one.name: one.value for one in block.constants} for block in blocks}


def errnos_of(blocks: Iterable[Block]) -> tuple[dict[str, int], dict[str, frozenset[int]]]:
    """Errno names to numbers, and the named sets; raises BadType."""
    constants = [one for block in blocks for one in block.constants]
    numbers = {one.name: one.value for one in constants if not one.members}
    sets: dict[str, frozenset[int]] = {}
    for one in constants:
        if one.members:
            sets[one.name] = union(one.members, numbers, sets)
    return numbers, sets


def union(names: Iterable[str], numbers: Mapping[str, int], sets: Mapping[str, frozenset[int]]) -> frozenset[int]:
    """All errnos that the names stand for; raises BadType."""
    result: set[int] = set()
    for name in names:
        if name not in sets and name not in numbers:
            raise BadType(f"unknown errno {name}")
        result |= sets[name] if name in sets else {numbers[name]}
    return frozenset(result)


def struct_of(block: Block, structs: Mapping[str, Struct]) -> Struct:
    """A struct with its fields laid out in order; raises BadType."""
    fields: list[Field] = []
    offset = 0
    for row in block.fields:
        added = fields_of(row, offset, structs)
        fields.extend(added)
        offset = added[-1].offset + added[-1].size
    return Struct(block.name, offset, tuple(fields))


def structs_of(blocks: Iterable[Block]) -> dict[str, Struct]:
    """All structs, each of which may use those above it; raises BadType."""
    structs: dict[str, Struct] = {}
    for block in blocks:
        structs[block.name] = struct_of(block, structs)
    return structs


def key_of(params: Sequence[Param]) -> int | None:
    """The command that a table row stands for: its numbers, high word first; None if it has none."""
    keys = [param.type.number for param in params if not param.type.name]
    if not keys:
        return None
    command = 0
    for key in keys:
        command = command << 32 | key
    return command


def build(sources: Sources) -> Spec:
    """The Spec; raises BadType where check() would have reported a problem."""
    errno_numbers, errno_sets = errnos_of(sources.errnos)
    spec = Spec((), {}, structs_of(sources.structs), errno_numbers, errno_sets, flags_of(sources.flags))
    numbers = numbers_of(sources.numbers)
    calls = [
        _call(row, numbers[row.name], group, spec)
        for group, blocks in sources.calls.items()
        for block in blocks
        for row in block.rows
    ]
    tables = {
        name: tuple(sorted((_command(row, name, spec) for block in blocks for row in block.rows), key=lambda c: c.nr))
        for name, blocks in sources.tables.items()
    }
    return spec.replaced(calls=tuple(sorted(calls, key=lambda call: call.nr)), tables=tables)


def _command(row: Row, group: str, spec: Spec) -> Call:
    number = key_of(row.params)
    if number is None:
        raise BadType("a command has no number")
    return _call(row, number, group, spec)


def _call(row: Row, nr: int, group: str, spec: Spec) -> Call:
    meaning = meaning_of(row.marks)
    if meaning.route is None or row.result is None:
        raise BadType(f"{row.name}: no route or no result")
    result = result_of(row.result, row.result_source, row.params)
    return Call(
        name=row.name,
        nr=nr,
        route=meaning.route,
        exit=meaning.exit,
        args=tuple(_arg(param, row, spec) for param in row.params),
        result=result,
        errnos=errnos_for(meaning, spec.errno_numbers, spec.errno_sets),
        errno_source=", ".join(meaning.errnos),
        restart=meaning.restart,
        flags=_flags(meaning, result),
        handler=meaning.handler,
        deny_errno=spec.errno_numbers.get(meaning.deny_errno, 0),
        deny_reason=meaning.deny_reason,
        predicate=meaning.predicate,
        group=group,
        note=row.note,
    )


def _arg(param: Param, row: Row, spec: Spec) -> Arg:
    if not param.type.name:
        return Arg(name=param.name, kind=ArgKind.VALUE, source=param.source, style="u64")
    return arg_of(param, row.params, spec.structs, spec.flag_names)


def errnos_for(meaning: Meaning, numbers: Mapping[str, int], sets: Mapping[str, frozenset[int]]) -> frozenset[int]:
    """What a row may fail with: a denied one only with its own errno; raises BadType."""
    if meaning.route is Route.DENY:
        return union((meaning.deny_errno,), numbers, sets)
    return union(meaning.errnos, numbers, sets)


def _flags(meaning: Meaning, result: Result) -> frozenset[CallFlag]:
    numbers = (ResultKind.FD, ResultKind.EXACTLY, ResultKind.AT_LEAST)
    implied = {ResultKind.NEVER: CallFlag.NEVER_RETURNS, **dict.fromkeys(numbers, CallFlag.NEW_FD)}
    return meaning.flags | ({implied[result.kind]} if result.kind in implied else frozenset())
