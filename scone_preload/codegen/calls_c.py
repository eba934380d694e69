"""calls.gen.c and calls.gen.h: the spec as the tables that the enclave's marshaller and checker interpret."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

from scone_preload.codegen import checks_c
from scone_preload.codegen.text import columns, head, quoted
from scone_preload.spec.model import Arg, ArgKind, Call, CallFlag, Route, Spec

CALL_COUNT = 512
ENOSYS = 38


def emit_header(spec: Spec) -> str:
    """calls.gen.h: prototypes of the handlers and checks, and the size of each struct."""
    handlers = sorted({_handler(call) for call in spec.calls})
    return (
        head("Handlers, reply checks and struct sizes of all syscalls.")
        + '#ifndef SCONE_CALLS_GEN_H\n#define SCONE_CALLS_GEN_H\n\n#include "shape.h"\n\n'
        + "/* Serves one call of the program; the result is >= 0 or -errno. */\n"
        + "".join(f"long {name}(struct frame *frame);\n" for name in handlers)
        + "\n/* 1 if every field of the struct (SIZE_<struct> bytes, all readable) may be believed, else 0. */\n"
        + checks_c.prototypes(spec)
        + "\n"
        + checks_c.sizes(spec)
        + "\n#endif\n"
    )


def emit(spec: Spec) -> str:
    """calls.gen.c: call_shapes[], the command tables, and the check functions."""
    parts = [
        head("What is believed of every syscall.")
        + '#include <stdint.h>\n\n#include "predicates.h"\n#include "subshape.h"\n#include "calls.gen.h"\n',
        checks_c.functions(spec),
        _errno_macros(spec),
        _call_table(spec),
        *(_command_table(name, commands) for name, commands in spec.tables.items()),
    ]
    return "\n".join(parts)


def _handler(call: Call) -> str:
    return f"sys_{call.name}" if call.handler else "sys_pass"


def _errno_name(call: Call) -> str:
    if call.route is Route.DENY:
        return f"ERRNOS_{call.deny_errno}_ONLY"
    return "ERRNOS_" + call.errno_source.replace(", ", "_")


def errno_words(errnos: Iterable[int]) -> tuple[int, int, int]:
    """Bit n of the 192 bits is set if errno n is in the set; least significant word first."""
    bits = sum(1 << errno for errno in errnos)
    mask = (1 << 64) - 1
    return bits & mask, bits >> 64 & mask, bits >> 128


def _errno_macros(spec: Spec) -> str:
    sets = {_errno_name(call): call.errnos for call in spec.calls}
    rows = []
    for name, errnos in sorted(sets.items()):
        words = ", ".join(f"UINT64_C({word:#018x})" for word in errno_words(errnos))
        rows.append((f"#define {name} ", f"{{ {words} }}"))
    return "\n".join(columns(rows)) + "\n"


def _call_table(spec: Spec) -> str:
    rows = columns([_call_cells(call) for call in spec.calls])
    lines = [f"{row}\n\t\t  .arg = {{{_args(call)}}} }},\n" for row, call in zip(rows, spec.calls, strict=True)]
    gaps = "".join(_gaps([call.nr for call in spec.calls]))
    head = "const struct call_shape call_shapes[CALL_COUNT] __attribute__((aligned(64))) = {"
    return f"{head}\n{''.join(lines)}{gaps}}};\n"


def _gaps(present: Sequence[int]) -> Iterator[str]:
    edges = [-1, *present, CALL_COUNT]
    for before, after in pairwise(edges):
        if after - before > 1:
            row = f".handler = sys_pass, .route = ROUTE_DENY, .deny_errno = {ENOSYS}"
            yield f"\t[{before + 1} ... {after - 1}] = {{ {row} }},\t/* no syscall */\n"


def _call_cells(call: Call) -> tuple[str, ...]:
    denied = f".deny_errno = {call.deny_errno}, " if call.route is Route.DENY else ""
    believe = f".believe = believe_{call.predicate}, " if call.predicate else ""
    return (
        f"\t[{call.nr}] ",
        f'= {{ .name = "{call.name}", ',
        f".handler = {_handler(call)}, ",
        f".route = {call.route.value}, ",
        f".exit = {call.exit.value}, ",
        f".result = {call.result.kind.value}, ",
        f".result_arg = {call.result.arg}, ",
        f".restart = {call.restart.value}, ",
        f".flags = {_flags(call.flags)}, ",
        f".arg_count = {len(call.args)}, ",
        f".checked_args = {call.checked_args}, ",
        f".fd_args = {_bits(call, lambda arg: arg.kind is ArgKind.FD)}, ",
        f".path_args = {_bits(call, lambda arg: arg.is_path)}, ",
        denied,
        believe,
        f".errnos = {_errno_name(call)},",
    )


def _bits(call: Call, has: Callable[[Arg], bool]) -> int:
    """Bit i is set if argument i has it."""
    return sum(1 << index for index, arg in enumerate(call.args) if has(arg))


def _flags(flags: Iterable[CallFlag]) -> str:
    return " | ".join(sorted(flag.value for flag in flags)) or "0"


def _args(call: Call) -> str:
    if not call.args:
        return " { .kind = ARG_NONE } "
    return " " + ", ".join(map(_arg, call.args)) + " "


def _arg(arg: Arg) -> str:
    cells = [f".kind = {arg.kind.value}"]
    if arg.size_arg:
        cells.append(f".size_arg = {arg.size_arg}")
    if arg.size:
        cells.append(f".size = {arg.size}")
    if arg.back is not None:
        cells.append(f".back_at = {arg.back.offset}, .back_size = {arg.back.size}")
    if arg.checked_struct is not None:
        cells.append(f".check = check_{arg.checked_struct.name}")
    return f"{{ {', '.join(cells)} }}"


def _command_table(name: str, commands: Sequence[Call]) -> str:
    rows = "".join(f"{row}\n" for row in columns([_command_cells(command) for command in commands]))
    return (
        f"static const struct sub_shape {name}_shapes[] = {{\n{rows}}};\n\n"
        f"const struct sub_table {name}_table = {{ {name}_shapes, {len(commands)} }};\n"
    )


def _command_cells(command: Call) -> tuple[str, ...]:
    data = command_arg(command)
    return (
        f"\t{{ .command = UINT64_C({command.nr:#x}), ",
        f".name = {quoted(command.name)}, ",
        f".arg = {_arg(data) if data else '{ .kind = ARG_NONE }'}, ",
        f".route = {command.route.value}, ",
        f".exit = {command.exit.value}, ",
        f".result = {command.result.kind.value}, ",
        f".restart = {command.restart.value}, ",
        f".flags = {_flags(command.flags)}, ",
        f".deny_errno = {command.deny_errno} }},",
    )


def command_arg(command: Call) -> Arg | None:
    """The argument of a command that isn't its number, if it takes one."""
    data = [arg for arg in command.args if not arg.source.isdigit()]
    return data[0] if data and data[0].kind is not ArgKind.NONE else None
