"""P3: every generated lie is refused by the enclave's own checker, every truth is taken, under ASan and UBSan."""

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from scone_preload.codegen import hostile
from scone_preload.codegen.hostile import Lie, LieKind
from scone_preload.spec import load
from scone_preload.spec.model import CallFlag, Check, Field, Route
from scone_preload.spec.predicates import PREDICATES
from tests.codegen.build import ENCLAVE, PREDICATE_SOURCES, compile_c, write_generated

SPEC = load()
EXCEEDING = frozenset({CallFlag.MSG_TRUNC, CallFlag.SIZE_QUERY})
LIES = hostile.lies(SPEC)
HARNESS = Path(__file__).parent / "hostile_harness.c"


def build(folder: Path) -> Path:
    write_generated(folder)
    checks = (ENCLAVE / f"{name}.c" for name in ("check", *PREDICATE_SOURCES))
    sources = [HARNESS, *checks, *(folder / name for name in ("calls.gen.c", "hostile.gen.c", "stubs.c"))]
    sanitizers = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    compile_c("-std=gnu11", "-Wall", *sanitizers, f"-I{folder}", *sources, "-o", folder / "harness")
    return folder / "harness"


def test_p3_check_c_refuses_every_lie_and_takes_every_truth(tmp_path: Path) -> None:
    done = subprocess.run([build(tmp_path)], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-4000:] + done.stderr[-4000:]
    exceeding = [call for call in SPEC.calls if call.flags & EXCEEDING and call.route is Route.HOST]
    truths = len([lie for lie in LIES if lie.kind is LieKind.TRUTH])
    said = f"{len(LIES) - truths} lies told, {truths} truths, {len(exceeding)} exceptions, 0 wrong\n"
    assert done.stdout == said


def test_every_call_that_leaves_is_lied_to_about_its_errno() -> None:
    leaving = {call.name for call in SPEC.calls if call.route is Route.HOST}
    lied = {lie.call for lie in LIES if lie.kind is LieKind.ERRNO and not lie.table}
    assert lied == leaving
    for name in leaving:
        values = {lie.value for lie in LIES if lie.call == name and lie.kind is LieKind.ERRNO}
        assert {-4095, -4096, -4097, -512, -(1 << 63)} <= values


def test_every_checked_field_of_every_reply_is_lied_about() -> None:
    lied = {(lie.call, lie.table, lie.arg, lie.field) for lie in LIES if lie.struct}
    rows = [("", call) for call in SPEC.calls] + [(name, one) for name, all_ in SPEC.tables.items() for one in all_]
    checked = {
        (call.name, table, index, field.name)
        for table, call in rows
        if call.route is Route.HOST
        for index, arg in enumerate(call.args)
        if arg.checked_struct
        for field in arg.checked_struct.fields
        if field.check is not Check.NOTHING
    }
    assert lied == checked
    assert ("fstat", "", 1, "st_mtim.tv_nsec") in lied
    assert ("F_GETLK", "fcntl", 1, "l_type") in lied


def test_every_predicate_of_every_call_is_lied_to_and_told_the_truth() -> None:
    for call in SPEC.calls:
        kinds = Counter(lie.kind for lie in LIES if lie.call == call.name and lie.writes)
        if call.predicate:
            assert kinds[LieKind.CONTENT] > 2, call.name
            assert kinds[LieKind.TRUTH] > 0, call.name
        else:
            assert not kinds, call.name
    assert {call.predicate for call in SPEC.calls if call.predicate} == PREDICATES
    times = {lie.call for lie in LIES if lie.field == "a longer time"}
    assert times == {"select", "pselect6", "ppoll", "recvmmsg"}


def make_field(check: Check, low: int, high: int, *, size: int = 4, signed: bool = True) -> Field:
    return Field(name="f", offset=0, size=size, signed=signed, scalar=True, check=check, low=low, high=high)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        (make_field(Check.RANGE, 0, 9), (-(1 << 31), -1, 10, (1 << 31) - 1)),
        (make_field(Check.RANGE, 0, 255, size=1, signed=False), ()),
        (make_field(Check.RANGE, 1, 255, size=1, signed=False), (0,)),
        (make_field(Check.BITS, 0, 0xFD, size=1, signed=False), (2,)),
        (make_field(Check.NOTHING, 0, 0), ()),
    ],
)
def test_lies_about_a_field_are_just_outside_and_at_the_ends_of_its_type(field: Field, values: tuple[int]) -> None:
    assert hostile.outside(field) == values


def test_a_lie_is_plain_data() -> None:
    assert next(lie for lie in LIES if lie.call == "lseek") == Lie(
        call="lseek", nr=8, table="", kind=LieKind.ERRNO, value=-8
    )
