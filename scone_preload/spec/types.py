"""What the words of a row mean: types of arguments, of results and of struct fields.

One place says it, and both the checker (which reports) and the builder (which trusts the checker) ask here.
"""

from collections.abc import Mapping, Sequence

from scone_preload.spec.model import Arg, ArgKind, Check, Field, Result, ResultKind, Struct
from scone_preload.spec.parse import Expr, FieldRow, Param


class BadType(Exception):
    """The word means nothing here; the message says why."""


# Scalars and how the trace prints them.
STYLES = {
    "int": "i32",
    "uint": "u32",
    "long": "i64",
    "ulong": "u64",
    "word": "hex",
    "size": "u64",
    "off": "i64",
    "mode": "octal",
    "pid": "i32",
    "uid": "i32",
    "sig": "signal",
}
NAMED = {"flags": "flags", "one": "one"}
DESCRIPTORS = frozenset({"fd", "sock", "dirfd"})

PLAIN = {
    "path": ArgKind.PATH,
    "name": ArgKind.PATH,  # a string that names nothing in the file tree
    "strings": ArgKind.PATH_ARRAY,
    "address": ArgKind.ADDRESS,
    "msg_in": ArgKind.MSG_IN,
    "msg_out": ArgKind.MSG_OUT,
}

# word: (counted bytes or elements, one struct)
BUFFERS = {
    "in_": (ArgKind.IN, ArgKind.IN_STRUCT),
    "out": (ArgKind.OUT, ArgKind.OUT_STRUCT),
    "inout": (ArgKind.INOUT, ArgKind.INOUT_STRUCT),
}

COUNTED = {
    "in_sockaddr": ArgKind.IN_SOCKADDR,
    "out_sockaddr": ArgKind.OUT_SOCKADDR,
    "out_sized": ArgKind.OUT_SIZED,
    "iovec_in": ArgKind.IOVEC_IN,
    "iovec_out": ArgKind.IOVEC_OUT,
    "fdset": ArgKind.FDSET,
    "msgs_in": ArgKind.MSGS_IN,
    "msgs_out": ArgKind.MSGS_OUT,
}

# bytes of an element, or the most there may be
COUNTED_SIZES = {
    ArgKind.OUT_SOCKADDR: 128,
    ArgKind.IN_SOCKADDR: 128,
    ArgKind.FDSET: 8,
    ArgKind.MSGS_IN: 64,
    ArgKind.MSGS_OUT: 64,
}

RESULTS = {
    "any": ResultKind.ANY,
    "zero": ResultKind.ZERO,
    "new_fd": ResultKind.FD,
    "pid": ResultKind.PID,
    "offset": ResultKind.OFFSET,
    "address": ResultKind.ADDRESS,
    "never": ResultKind.NEVER,
    "owner": ResultKind.OWNER,
}

BOUNDED_RESULTS = {
    "at_most": ResultKind.AT_MOST,
    "at_most_sum": ResultKind.AT_MOST_SUM,
    "count": ResultKind.COUNT,
    "exactly": ResultKind.EXACTLY,
    "at_least": ResultKind.AT_LEAST,
}

# bytes and signedness of a struct's scalars
SCALARS = {
    "i8": (1, True),
    "u8": (1, False),
    "i16": (2, True),
    "u16": (2, False),
    "i32": (4, True),
    "u32": (4, False),
    "i64": (8, True),
    "u64": (8, False),
}


def arg_of(param: Param, params: Sequence[Param], structs: Mapping[str, Struct], flags: Mapping[str, object]) -> Arg:
    """The argument that a parameter declares; raises BadType."""
    word = param.type.name
    if word in STYLES and not param.type.arguments:
        return Arg(name=param.name, kind=ArgKind.VALUE, source=param.source, style=STYLES[word])
    if word in NAMED:
        return _named(param, flags)
    if word in DESCRIPTORS and not param.type.arguments:
        return Arg(name=param.name, kind=ArgKind.FD, source=param.source, style=word)
    if word in PLAIN and not param.type.arguments:
        return Arg(name=param.name, kind=PLAIN[word], source=param.source, style="name" if word == "name" else "")
    if word in BUFFERS:
        return _buffer(param, params, structs)
    if word in COUNTED:
        return _counted(param, params)
    raise BadType(f"unknown type {param.source}")


def _named(param: Param, flags: Mapping[str, object]) -> Arg:
    table = _one_word(param)
    if table not in flags:
        raise BadType(f"no table of names {table}")
    return Arg(name=param.name, kind=ArgKind.VALUE, source=param.source, style=NAMED[param.type.name], names=table)


def _one_word(param: Param) -> str:
    words = param.type.words
    if len(words) != 1 or len(param.type.arguments) != 1:
        raise BadType(f"{param.type.name} takes one name")
    return words[0]


def _buffer(param: Param, params: Sequence[Param], structs: Mapping[str, Struct]) -> Arg:
    counted, single = BUFFERS[param.type.name]
    words = param.type.words
    if words == ("socklen",) and counted is ArgKind.INOUT:
        return Arg(name=param.name, kind=ArgKind.SOCKLEN, source=param.source, size=4)
    if not words or len(words) > 3 or len(words) != len(param.type.arguments):
        raise BadType(f"{param.type.name} takes the argument that counts it, a struct, or both")
    if len(words) == 1 and words[0] in structs and not _is_param(words[0], params):
        struct = structs[words[0]]
        return Arg(name=param.name, kind=single, source=param.source, size=struct.size, struct=struct)
    index = _index(words[0], params)
    if len(words) == 1:
        return Arg(name=param.name, kind=counted, source=param.source, size_arg=index, size=1)
    if words[1] not in structs:
        raise BadType(f"unknown struct {words[1]}")
    struct = structs[words[1]]
    whole = Arg(name=param.name, kind=counted, source=param.source, size_arg=index, size=struct.size, struct=struct)
    return whole if len(words) == 2 else whole.replaced(back=_field_back(whole, struct, words[2]))


def _field_back(arg: Arg, struct: Struct, name: str) -> Field:
    if arg.kind is not ArgKind.INOUT:
        raise BadType(f"only of an inout array a single field comes back, this is {arg.source}")
    for field in struct.fields:
        if field.name == name and field.scalar:
            return field
    raise BadType(f"struct {struct.name} has no number {name}")


def _counted(param: Param, params: Sequence[Param]) -> Arg:
    kind = COUNTED[param.type.name]
    index = _index(_one_word(param), params)
    return Arg(name=param.name, kind=kind, source=param.source, size_arg=index, size=COUNTED_SIZES.get(kind, 1))


def _is_param(name: str, params: Sequence[Param]) -> bool:
    return any(param.name == name for param in params)


def _index(name: str, params: Sequence[Param]) -> int:
    for index, param in enumerate(params):
        if param.name == name:
            return index
    raise BadType(f"{name} is neither an argument nor a struct")


def result_of(expr: Expr, source: str, params: Sequence[Param]) -> Result:
    """What a row's arrow promises; raises BadType."""
    if expr.name in RESULTS and not expr.arguments:
        return Result(RESULTS[expr.name], 0, source)
    if expr.name in BOUNDED_RESULTS and len(expr.words) == len(expr.arguments) == 1:
        return Result(BOUNDED_RESULTS[expr.name], _index(expr.words[0], params), source)
    raise BadType(f"unknown result {source}")


def fields_of(row: FieldRow, offset: int, structs: Mapping[str, Struct]) -> tuple[Field, ...]:
    """The flat fields that one line of a struct declares at `offset`; raises BadType."""
    word, arguments = row.type.name, row.type.arguments
    if word in SCALARS:
        return (_scalar(row.name, word, offset, arguments),)
    if word == "bits" and len(row.type.words) == 1 and row.type.words[0] in SCALARS and len(arguments) == 2:
        mask = arguments[1]
        if not isinstance(mask, int):
            raise BadType("bits takes a scalar and a mask")
        size, _ = SCALARS[row.type.words[0]]
        check = Check.NOTHING if mask == (1 << 8 * size) - 1 else Check.BITS
        return (_field(row.name, offset, size, scalar=True, check=check, high=mask),)
    if word in ("opaque", "text") and len(arguments) == 1 and isinstance(arguments[0], int):
        check = Check.TEXT if word == "text" else Check.NOTHING
        return (_field(row.name, offset, arguments[0], check=check),)
    if word in structs and not arguments:
        return tuple(_inside(row.name, offset, field) for field in structs[word].fields)
    raise BadType(f"unknown field type {word}")


def _scalar(name: str, word: str, offset: int, arguments: Sequence[object]) -> Field:
    size, signed = SCALARS[word]
    lowest, highest = (-(1 << 8 * size - 1), (1 << 8 * size - 1) - 1) if signed else (0, (1 << 8 * size) - 1)
    if not arguments:
        return _field(name, offset, size, signed=signed, scalar=True, low=lowest, high=highest)
    if len(arguments) != 2:
        raise BadType(f"a range is {word}[low, high]")
    low, high = arguments
    if not isinstance(low, int) or not isinstance(high, int) or not lowest <= low <= high <= highest:
        raise BadType(f"not a range of {word}")
    return _field(name, offset, size, signed=signed, scalar=True, check=Check.RANGE, low=low, high=high)


def _field(
    name: str,
    offset: int,
    size: int,
    *,
    signed: bool = False,
    scalar: bool = False,
    check: Check = Check.NOTHING,
    low: int = 0,
    high: int = 0,
) -> Field:
    return Field(name=name, offset=offset, size=size, signed=signed, scalar=scalar, check=check, low=low, high=high)


def _inside(prefix: str, offset: int, field: Field) -> Field:
    return field.replaced(name=f"{prefix}.{field.name}", offset=offset + field.offset)
