"""One line a call, like strace prints it, made from the spec: names of flags, contents of structs, errno names."""

import os
from collections.abc import Mapping, Sequence
from functools import cache
from ipaddress import IPv4Address, IPv6Address

from scone_preload.spec.load import load
from scone_preload.spec.model import Arg, ArgKind, Call, Field, ResultKind, Struct

SHOWN_BYTES = 32
SHOWN_ELEMENTS = 4
MAX_ERRNO = 4095
AT_FDCWD = -100
OPEN_CREATES = 0o100 | 0o20200000 & ~0o200000
IN = frozenset({ArgKind.IN, ArgKind.PATH})
BYTES = frozenset({ArgKind.IN, ArgKind.OUT, ArgKind.INOUT, ArgKind.OUT_SIZED, ArgKind.PATH})
SOCKADDRS = frozenset({ArgKind.IN_SOCKADDR, ArgKind.OUT_SOCKADDR})
ESCAPES = {0x22: '\\"', 0x5C: "\\\\", 0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x0B: "\\v", 0x0C: "\\f"}
# The fields worth a line of long structs; the others are left to "...".
BRIEF = {
    "stat": ("st_mode", "st_size"),
    "statx": ("stx_mask", "stx_mode", "stx_size"),
    "statfs": ("f_type", "f_bsize", "f_blocks", "f_bfree"),
    "rusage": ("ru_utime.tv_sec", "ru_utime.tv_usec", "ru_stime.tv_sec", "ru_stime.tv_usec"),
    "siginfo": ("si_signo", "si_errno", "si_code"),
    "sysinfo": ("uptime", "totalram", "freeram", "procs"),
    "timex": ("modes", "offset", "freq", "status"),
}
MODES = frozenset({"st_mode", "stx_mode"})
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
MULTIPLEXERS = {
    "fcntl": ("fcntl", (1,)),
    "ioctl": ("ioctl", (1,)),
    "prctl": ("prctl", (0,)),
    "getsockopt": ("sockopt", (1, 2)),
    "setsockopt": ("sockopt", (1, 2)),
}


def format_call(nr: int, args: Sequence[int], strings: Mapping[int, bytes], result: int) -> str:
    """`name(arg, ...) = result`. `args` are the registers, signed or not; `strings` holds what is known of the memory
    that an argument (by its index) points to. Results -1..-4095 are errnos."""
    call = _calls().get(nr)
    values = tuple(value & (1 << 64) - 1 for value in args)
    if call is None:
        return f"syscall_{nr}({', '.join(f'{value:#x}' for value in values)}) = {_failure(result) or result}"
    shown = _shown_args(call, values)
    command = _command(call, values)
    texts = [_arg(arg, index, values, strings, result) for index, arg in enumerate(shown)]
    if command is not None:
        texts = _with_command(call, command, texts, values, strings, result)
    return f"{call.name}({', '.join(texts)}) = {_result(call, command, result)}"


@cache
def _calls() -> dict[int, Call]:
    return {call.nr: call for call in load().calls}


@cache
def _commands(table: str) -> dict[int, Call]:
    return {command.nr: command for command in load().tables[table]}


def _shown_args(call: Call, values: Sequence[int]) -> tuple[Arg, ...]:
    """Without the mode of an open that creates nothing: that register holds anything."""
    last = call.args[-1] if call.args else None
    if last is None or last.style != "octal" or len(call.args) < 2 or call.args[-2].names != "O":
        return call.args
    creates = values[len(call.args) - 2] & OPEN_CREATES
    return call.args if creates else call.args[:-1]


def _command(call: Call, values: Sequence[int]) -> Call | None:
    if call.name not in MULTIPLEXERS:
        return None
    table, keys = MULTIPLEXERS[call.name]
    command = 0
    for key in keys:
        command = command << 32 | values[key] & 0xFFFFFFFF
    return _commands(table).get(command)


def _with_command(
    call: Call,
    command: Call,
    texts: list[str],
    values: Sequence[int],
    strings: Mapping[int, bytes],
    result: int,
) -> list[str]:
    _, keys = MULTIPLEXERS[call.name]
    after = keys[-1] + 1
    data = [arg for arg in command.args if not arg.source.isdigit()]
    named = [*texts[: keys[-1]], command.name]
    told = [_arg(arg, after, values, strings, result) for arg in data]
    rest = texts[after + 1 :] if call.name.endswith("sockopt") else []
    return [*named, *told, *rest]


def _arg(arg: Arg, index: int, values: Sequence[int], strings: Mapping[int, bytes], result: int) -> str:
    value = values[index]
    if arg.kind is ArgKind.VALUE:
        return _number(arg, value)
    if arg.kind is ArgKind.FD:
        number = _signed(value, 32)
        return "AT_FDCWD" if number == AT_FDCWD and arg.style == "dirfd" else str(number)
    if value == 0:
        return "NULL"
    nothing_came = arg.kind is ArgKind.OUT and arg.size == 1 and result == 0
    known = strings.get(index, b"" if nothing_came else None)
    if known is None or (result < 0 and arg.kind not in IN and arg.kind.name.startswith("OUT")):
        return f"{value:#x}"
    return _memory(arg, known, values, result)


def _memory(arg: Arg, known: bytes, values: Sequence[int], result: int) -> str:
    if arg.struct is not None:
        return _structs(arg, known)
    if arg.kind in SOCKADDRS:
        return _sockaddr(known)
    if arg.kind is ArgKind.SOCKLEN and len(known) >= 4:
        return f"[{int.from_bytes(known[:4], 'little')}]"
    if arg.kind is ArgKind.PATH:
        return _quoted(known.split(b"\0")[0], None)
    if arg.kind in BYTES:
        whole = result if arg.kind is ArgKind.OUT else values[arg.size_arg]
        return _quoted(known, whole if arg.size == 1 else None)
    return _quoted(known, None)


def _quoted(data: bytes, whole: int | None) -> str:
    shown = data[:SHOWN_BYTES] if whole is not None else data
    text = "".join(ESCAPES.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}") for byte in shown)
    cut = whole is not None and whole > len(shown)
    return f'"{text}"{"..." if cut else ""}'


def _structs(arg: Arg, known: bytes) -> str:
    struct = arg.struct
    if struct is None or len(known) < struct.size:
        return _quoted(known, None)
    if arg.kind in (ArgKind.IN_STRUCT, ArgKind.OUT_STRUCT, ArgKind.INOUT_STRUCT):
        return _struct(struct, known)
    parts = [known[at : at + struct.size] for at in range(0, len(known) - struct.size + 1, struct.size)]
    more = [", ..."] if len(parts) > SHOWN_ELEMENTS else []
    return "[" + ", ".join(_struct(struct, part) for part in parts[:SHOWN_ELEMENTS]) + "".join(more) + "]"


def _struct(struct: Struct, data: bytes) -> str:
    if len(struct.fields) == 1:
        return f"[{_field(struct.fields[0], data)}]"
    hidden = ("pad", "spare", "unused", "reserved")
    shown = [one for one in struct.fields if not one.name.rsplit(".", 1)[-1].startswith(hidden)]
    brief = [one for one in shown if one.name in BRIEF.get(struct.name, (one.name,))]
    more = ["..."] if len(brief) < len(shown) else []
    return "{" + ", ".join([*(f"{one.name}={_field(one, data)}" for one in brief), *more]) + "}"


def _field(field: Field, data: bytes) -> str:
    part = data[field.offset : field.offset + field.size]
    if field.scalar:
        number = int.from_bytes(part, "little", signed=field.signed)
        return f"0{number:o}" if field.name in MODES else str(number)
    return _quoted(part.split(b"\0")[0], None)


def _sockaddr(data: bytes) -> str:
    family = int.from_bytes(data[:2], "little")
    port = int.from_bytes(data[2:4], "big")
    if family == AF_UNIX:
        name = data[2:]
        path = name.rstrip(b"\0") if name.startswith(b"\0") else name.split(b"\0")[0]
        return f"{{AF_UNIX, {_quoted(path, None)}}}"
    if family == AF_INET and len(data) >= 8:
        return f"{{AF_INET, {IPv4Address(data[4:8])}:{port}}}"
    if family == AF_INET6 and len(data) >= 24:
        return f"{{AF_INET6, [{IPv6Address(data[8:24])}]:{port}}}"
    if family == AF_NETLINK and len(data) >= 8:
        return f"{{AF_NETLINK, pid={int.from_bytes(data[4:8], 'little')}}}"
    return f"{{family {family}, {_quoted(data[2:], None)}}}"


def _number(arg: Arg, value: int) -> str:
    if arg.style == "flags":
        return _flags(load().flag_names[arg.names], value & 0xFFFFFFFF)
    if arg.style == "one":
        return _one(load().flag_names[arg.names], _signed(value, 32))
    if arg.style == "signal":
        return _one(load().flag_names["SIGNAL"], _signed(value, 32))
    if arg.style == "hex":
        return f"{value:#x}"
    if arg.style == "octal":
        return f"0{value & 0xFFFFFFFF:o}"
    bits = int(arg.style[1:])
    return str(_signed(value, bits) if arg.style[0] == "i" else value & (1 << bits) - 1)


def _one(names: Mapping[str, int], value: int) -> str:
    for name, number in names.items():
        if number == value and name != "_MASK":
            return name
    return str(value)


def _flags(names: Mapping[str, int], value: int) -> str:
    mask = names.get("_MASK", 0)
    plain = {name: number for name, number in names.items() if name != "_MASK"}
    low = [name for name, number in plain.items() if number == value & mask and not number & ~mask] if mask else []
    rest = value & ~mask if low else value
    found = []
    for name, number in sorted(plain.items(), key=lambda item: -item[1]):
        if number & ~mask and rest & number == number:
            found.append(name)
            rest &= ~number
    parts = [*low[:1], *reversed(found), *([f"{rest:#x}"] if rest else [])]
    return "|".join(parts) or next((name for name, number in plain.items() if number == 0), "0")


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def _failure(result: int) -> str:
    if not -MAX_ERRNO <= result < 0:
        return ""
    names = {number: name for name, number in load().errno_numbers.items()}
    return f"-1 {names.get(-result, f'errno {-result}')} ({os.strerror(-result)})"


def _result(call: Call, command: Call | None, result: int) -> str:
    kind = (command or call).result.kind
    if kind is ResultKind.NEVER:
        return "?"
    failure = _failure(result)
    if failure:
        return failure
    return f"{result & (1 << 64) - 1:#x}" if kind is ResultKind.ADDRESS or call.name == "brk" else str(result)
