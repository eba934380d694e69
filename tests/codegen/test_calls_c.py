"""The generated tables compile as strictly as the enclave does, and say what the spec says once they are compiled."""

import re
import subprocess
from pathlib import Path

import pytest

from scone_preload import libshim
from scone_preload.codegen import calls_c
from scone_preload.spec import load
from scone_preload.spec.model import Call, Route
from scone_preload.spec.predicates import PREDICATES
from scone_preload.spec.read import load_from
from tests.codegen.build import ENCLAVE, STRICT, compile_c, write_generated
from tests.spec.samples import BASE

SPEC = load()
U64 = (1 << 64) - 1


@pytest.mark.parametrize("level", ["-O0", "-O2"])
@pytest.mark.parametrize("name", ["calls", "hostile"])
def test_generated_c_compiles_without_a_warning(name: str, level: str, tmp_path: Path) -> None:
    write_generated(tmp_path)
    compile_c(*STRICT, level, "-c", tmp_path / f"{name}.gen.c", "-o", tmp_path / "out.o")


def test_the_tables_need_nothing_but_handlers(tmp_path: Path) -> None:
    write_generated(tmp_path)
    compile_c(*STRICT, "-O2", "-c", tmp_path / "calls.gen.c", "-o", tmp_path / "calls.o")
    listing = subprocess.run(["nm", "-u", tmp_path / "calls.o"], capture_output=True, text=True, check=True).stdout
    undefined = set(re.findall(r"U (\w+)", listing))
    handled = {f"sys_{call.name}" for call in SPEC.calls if call.handler}
    believed = {f"believe_{call.predicate}" for call in SPEC.calls if call.predicate}
    assert undefined == handled | believed | {"sys_pass"}


def args_of(call: Call) -> tuple[libshim.Argument, ...]:
    return tuple(
        libshim.Argument(kind=arg.kind, size_arg=arg.size_arg, size=arg.size, is_checked=arg.checked_struct is not None)
        for arg in call.args
    )


def row_of(call: Call) -> libshim.Row:
    return libshim.Row(
        name=call.name,
        route=call.route,
        exit=call.exit,
        result=call.result.kind,
        restart=call.restart,
        flags=frozenset(call.flags),
        deny_errno=call.deny_errno if call.route is Route.DENY else 0,
    )


@pytest.mark.parametrize("call", SPEC.calls, ids=lambda call: str(call.name))
def test_the_compiled_table_says_what_the_spec_says(call: Call) -> None:
    assert libshim.call(call.nr) == libshim.Call(
        row=row_of(call),
        has_handler=True,
        result_arg=call.result.arg,
        checked_args=call.checked_args,
        errnos=frozenset({call.deny_errno}) if call.route is Route.DENY else call.errnos,
        args=args_of(call),
    )


def test_a_number_without_a_syscall_is_denied_with_enosys() -> None:
    numbers = {call.nr for call in SPEC.calls}
    unused = set(range(libshim.constant("CALL_COUNT"))) - numbers
    assert {337, 423, 470, 511} <= unused
    for nr in unused:
        found = libshim.call(nr)
        assert (found.row.name, found.row.route, found.row.deny_errno) == ("", Route.DENY, 38)
        assert (found.has_handler, found.args) == (True, ())


@pytest.mark.parametrize("table", SPEC.tables)
def test_the_compiled_commands_are_those_of_the_spec(table: str) -> None:
    found = libshim.commands(table)
    assert [(one.row, one.number) for one in found] == [(row_of(one), one.nr) for one in SPEC.tables[table]]
    for one, command in zip(found, SPEC.tables[table], strict=True):
        data = calls_c.command_arg(command)
        assert (one.arg.kind, one.arg.size) == ((data.kind, data.size) if data else ("ARG_NONE", 0))


@pytest.mark.parametrize("table", SPEC.tables)
def test_commands_are_found_by_number_and_only_those(table: str) -> None:
    rows = {one.number: one for one in libshim.commands(table)}
    near = {(number + by) & U64 for number in rows for by in (-1, 0, 1)}
    for number in near | {0, 77777, U64}:
        assert libshim.find_command(table, number) == rows.get(number)


def test_errno_n_is_bit_n() -> None:
    assert calls_c.errno_words([1, 63, 64, 133]) == (1 << 63 | 2, 1, 1 << 5)


def test_a_handler_of_its_own_takes_the_place_of_sys_pass() -> None:
    texts = {**BASE, "calls/base.pyi": BASE["calls/base.pyi"].replace("    def read", "    @handler\n    def read")}
    assert ".handler = sys_pass, .route = ROUTE_HOST" in calls_c.emit(load_from(BASE))
    assert ".handler = sys_read, .route = ROUTE_HOST" in calls_c.emit(load_from(texts))


def test_what_is_checked_in_place_is_marked() -> None:
    checked = {call.name: call.checked_args for call in SPEC.calls}
    assert not any(checked[name] for name in ("read", "write", "pread64", "openat", "sendto", "getppid"))
    marked = {"fstat": 2, "accept4": 2, "recvfrom": 16, "epoll_wait": 2, "pipe2": 1, "newfstatat": 4, "wait4": 8}
    assert {name: checked[name] for name in marked} == marked


def test_the_predicates_that_a_row_may_name_are_those_of_the_header_each_defined_once() -> None:
    header = (ENCLAVE / "predicates.h").read_text()
    declared = re.findall(r"^long believe_(\w+)\(const struct reply \*reply\);$", header, re.M)
    definition = re.compile(r"^long believe_(\w+)\(const struct reply \*reply\)\n\{", re.M)
    defined = [name for path in sorted(ENCLAVE.glob("*.c")) for name in definition.findall(path.read_text())]
    assert sorted(declared) == sorted(defined) == sorted(PREDICATES)


def test_a_row_carries_its_predicate_and_what_comes_back() -> None:
    text = calls_c.emit(SPEC)
    row = next(line for line in text.splitlines() if '.name = "poll"' in line)
    assert ".believe = believe_polled," in row
    assert ".back_at = 6, .back_size = 2" in text[text.index(row) :].splitlines()[1]
    row = next(line for line in text.splitlines() if '.name = "read"' in line)
    assert ".believe" not in row


def test_each_handler_of_a_row_is_defined_once_in_the_enclave_and_no_other_is() -> None:
    definition = re.compile(r"^long (sys_\w+)\(struct frame \*\w+\)\n\{", re.M)
    defined = [name for path in sorted(ENCLAVE.glob("*.c")) for name in definition.findall(path.read_text())]
    assert sorted(defined) == sorted({f"sys_{call.name}" for call in SPEC.calls if call.handler} | {"sys_pass"})


def test_no_handler_refuses_a_reply_by_itself() -> None:
    """Only the checker, the two exits that interpret shapes, predicates, and epoll, which translates (docs/spec.md)."""
    refusing = {path.stem for path in ENCLAVE.glob("*.c") if "check_refuse(" in path.read_text()}
    assert refusing == {"check", "pass", "marshal", "chains", "options", "ready", "epoll"}
