"""libshim as C sees it, for Python tests and tools: its layouts, numbers, tables and reply checks.

From the module that `python -m scone_preload.build` makes (build/extension.py); it is loaded at the first use. Nothing
of the product may use it, for it isn't there without a compiler: in tools/tidy.py it stands above everything.
Names of structs, enums and enumerators are C's, without `struct` or `enum`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from scone_preload import paths
from scone_preload.errors import MachineLacks

if TYPE_CHECKING:
    from _cffi_backend import FFI, CField
    from _cffi_backend import _CDataBase as CData

Value: TypeAlias = "int | bytes | Sequence[int] | Mapping[str, Value]"
U64 = (1 << 64) - 1


class _Arg(Protocol):
    kind: int
    size_arg: int
    size: int
    check: CData


class _Row(Protocol):
    """What struct call_shape and struct sub_shape have in common."""

    name: CData
    route: int
    exit: int
    result: int
    restart: int
    flags: int
    deny_errno: int


class _CallRow(_Row, Protocol):
    handler: CData
    result_arg: int
    arg_count: int
    checked_args: int
    errnos: Sequence[int]
    arg: Sequence[_Arg]


class _CommandRow(_Row, Protocol):
    command: int
    arg: _Arg


class _Table(Protocol):
    rows: Sequence[_CommandRow]
    count: int


class _Verdict(Protocol):
    given: int
    is_refused: int


class _Check(Protocol):
    def __call__(self, raw: CData, /) -> int: ...


class _Lib(Protocol):
    call_shapes: Sequence[_CallRow]

    def sub_find(self, table: CData, command: int) -> _CommandRow: ...
    def module_check_result(
        self, nr: int, arg: Sequence[int], u_result: int, signal_pending: bool, verdict: _Verdict
    ) -> int: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where a field of a struct lies, in bytes."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Layout:
    """A struct: its size in bytes, and its fields in order."""

    size: int
    fields: dict[str, Place]


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """struct arg_shape; `kind` is the enumerator's name."""

    kind: str
    size_arg: int
    size: int
    is_checked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the tables say of a call or a command, with the names of enumerators where C has an enum."""

    name: str
    route: str
    exit: str
    result: str
    restart: str
    flags: frozenset[str]
    deny_errno: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """struct call_shape; the name is empty for a number that is no syscall."""

    row: Row
    has_handler: bool
    result_arg: int
    checked_args: int
    errnos: frozenset[int]
    args: tuple[Argument, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """struct sub_shape."""

    row: Row
    number: int
    arg: Argument


@dataclass(frozen=True, slots=True)
class Verdict:
    """What check_result() made of a reply: the result that the program gets, and whether the host's was refused."""

    given: int
    is_refused: bool


class Memory:
    """Bytes at an address, for arguments that point to memory; they are there as long as this object is."""

    def __init__(self, raw: bytes) -> None:
        ffi, _ = _load()
        self._held = ffi.new("uint8_t[]", list(raw) or [0])
        self.address = int(ffi.cast("uintptr_t", self._held))


@cache
def _load() -> tuple[FFI, _Lib]:
    name = "scone_preload._libshim"
    loader = ExtensionFileLoader(name, paths.MODULE)
    try:
        module = loader.create_module(ModuleSpec(name, loader, origin=paths.MODULE))
        loader.exec_module(module)
    except ImportError as error:
        remedy = f"{error}; tools/setup builds it, with gcc and python3-dev"
        raise MachineLacks("libshim's Python module not built", paths.MODULE, remedy) from None
    ffi: FFI = module.ffi
    lib: _Lib = module.lib
    return ffi, lib


def constant(name: str) -> int:
    """The value of a `#define` or an enumerator; raises AttributeError for a name that no header has."""
    ffi, _ = _load()
    return ffi.integer_const(name)


@cache
def enumerators(enum: str) -> dict[str, int]:
    """Names and values of an enum, in order."""
    ffi, _ = _load()
    found: dict[str, int] = ffi.typeof(f"enum {enum}").relements
    return dict(sorted(found.items(), key=lambda item: item[1]))


def layout(struct: str) -> Layout:
    """Where the fields of a struct lie."""
    ffi, _ = _load()
    fields: list[tuple[str, CField]] = ffi.typeof(f"struct {struct}").fields
    places = {name: Place(int(field.offset), ffi.sizeof(field.type)) for name, field in fields}
    return Layout(ffi.sizeof(f"struct {struct}"), places)


def pack(struct: str, **values: Value) -> bytes:
    """The bytes of a struct with these fields; all others are 0. A struct inside is a mapping."""
    ffi, _ = _load()
    held = ffi.new(f"struct {struct} *", _plain(values))
    return bytes(ffi.buffer(held))


def _plain(value: Value) -> object:
    if isinstance(value, bytes):
        return list(value)
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return value


def call(nr: int) -> Call:
    """What call_shapes[] says of a syscall number; raises IndexError past its end."""
    ffi, lib = _load()
    row = lib.call_shapes[nr]
    return Call(
        row=_row(row),
        has_handler=row.handler != ffi.NULL,
        result_arg=row.result_arg,
        checked_args=row.checked_args,
        errnos=frozenset(n for n in range(192) if row.errnos[n // 64] >> n % 64 & 1),
        args=tuple(_argument(row.arg[i]) for i in range(row.arg_count)),
    )


def commands(multiplexer: str) -> tuple[Command, ...]:
    """The rows of a command table: ioctl, fcntl, prctl or sockopt."""
    _, lib = _load()
    table: _Table = getattr(lib, f"{multiplexer}_table")
    return tuple(_command(table.rows[i]) for i in range(table.count))


def find_command(multiplexer: str, number: int) -> Command | None:
    """The row that sub_find() gives for a command, or None."""
    ffi, lib = _load()
    table: CData = ffi.addressof(getattr(lib, f"{multiplexer}_table"))
    found = lib.sub_find(table, number)
    return _command(found) if found != ffi.NULL else None


def check_result(nr: int, args: Sequence[int], result: int, *, signal_pending: bool = False) -> Verdict:
    """What check_result() of check.c makes of the host's result of a call with these (up to six) arguments.

    Raises MachineLacks where a thread can't be one of the shim: inside of another shim.
    """
    ffi, lib = _load()
    verdict = cast("_Verdict", ffi.new("struct module_verdict *"))
    padded = [arg & U64 for arg in (*args, *[0] * (6 - len(args)))]
    error = lib.module_check_result(nr, padded, result, signal_pending, verdict)
    if error:
        raise MachineLacks("no GS base for a thread of the shim", f"errno {-error}", "run it outside of scone-wrap")
    return Verdict(verdict.given, bool(verdict.is_refused))


def checked_structs() -> frozenset[str]:
    """The structs that have a check: check_<struct>() in calls.gen.c."""
    _, lib = _load()
    return frozenset(name.removeprefix("check_") for name in dir(lib) if name.startswith("check_"))


def check_struct(struct: str, raw: bytes) -> bool:
    """Whether check_<struct>() believes these bytes; raises ValueError if they aren't as many as the struct has."""
    ffi, lib = _load()
    size = constant(f"SIZE_{struct}")
    if len(raw) != size:
        raise ValueError(f"{struct} has {size} bytes, not {len(raw)}")
    check: _Check = getattr(lib, f"check_{struct}")
    return bool(check(ffi.from_buffer(raw)))


def _row(row: _Row) -> Row:
    flags = enumerators("call_flags").items()
    return Row(
        name=_text(row.name),
        route=_name("call_route", row.route),
        exit=_name("call_exit", row.exit),
        result=_name("result_kind", row.result),
        restart=_name("restart_class", row.restart),
        flags=frozenset(name for name, bit in flags if row.flags & bit),
        deny_errno=row.deny_errno,
    )


def _command(row: _CommandRow) -> Command:
    return Command(row=_row(row), number=row.command, arg=_argument(row.arg))


def _argument(arg: _Arg) -> Argument:
    ffi, _ = _load()
    return Argument(
        kind=_name("arg_kind", arg.kind), size_arg=arg.size_arg, size=arg.size, is_checked=arg.check != ffi.NULL
    )


def _name(enum: str, value: int) -> str:
    return {number: name for name, number in enumerators(enum).items()}[value]


def _text(text: CData) -> str:
    ffi, _ = _load()
    raw = ffi.string(text) if text != ffi.NULL else b""
    return raw.decode() if isinstance(raw, bytes) else raw
