"""P3: the compiled checks believe exactly what the spec says, whatever the host answers."""

import struct
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scone_preload import libshim
from scone_preload.spec import load
from scone_preload.spec.model import ArgKind, Call, CallFlag, Check, Field, ResultKind, Route, Struct
from tests.codegen.belief import INT_MAX, MSG_TRUNC, believes_result, believes_struct, limits

SPEC = load()
ROWS = [call for call in SPEC.calls if call.route is not Route.DENY]  # those of calls that stay inside, too
STRUCTS = [one for one in SPEC.structs.values() if one.checked]
EIO, RESTART = 5, 1 << 30
U32, U64, INT64_MAX = (1 << 32) - 1, (1 << 64) - 1, (1 << 63) - 1
VECTORS_MAX = 1024  # UIO_MAXIOV: the kernel takes no more

WORDS = (0, 1, MSG_TRUNC, 100, INT_MAX, INT_MAX + 1, U32, U32 + 1, U32 + 100, INT64_MAX, INT64_MAX + 1, U64)
words = st.one_of(
    st.integers(0, 200),
    st.sampled_from(WORDS),
    st.integers(0, U64),
)


def kind_of(call: Call) -> str:
    """What decides how a result is judged."""
    return " ".join([call.result.kind, *sorted(call.flags & {CallFlag.MSG_TRUNC, CallFlag.SIZE_QUERY})])


@dataclass(frozen=True, slots=True)
class Asked:
    """A call's arguments, the number that bounds its result, and the memory that they point to."""

    args: tuple[int, ...]
    bound: int
    memory: tuple[libshim.Memory, ...] = ()


@st.composite
def asked(draw: st.DrawFn, call: Call) -> Asked:
    args = [draw(words) for _ in range(6)]
    if call.result.kind is not ResultKind.AT_MOST_SUM:
        return Asked(tuple(args), args[call.result.arg])
    sizes = draw(st.lists(st.integers(0, 1 << 20), max_size=4))
    vectors = libshim.Memory(b"".join(struct.pack("<QQ", 0, size) for size in sizes))
    vector_arg = call.args[call.result.arg]
    if vector_arg.kind in (ArgKind.IOVEC_IN, ArgKind.IOVEC_OUT):
        args[call.result.arg], args[vector_arg.size_arg] = vectors.address, len(sizes)
        return Asked(tuple(args), sum(sizes), (vectors,))
    header = libshim.Memory(struct.pack("<7Q", 0, 0, vectors.address, len(sizes), 0, 0, 0))  # struct msghdr
    args[call.result.arg] = header.address
    return Asked(tuple(args), sum(sizes), (vectors, header))


# Both sides of what some kind of result may be, as far as the argument doesn't say it.
EDGES = (0, 1, 4095, 4096, 4097, 8192, 12288, 1 << 22, (1 << 22) + 1, INT_MAX, INT_MAX + 1, U32, U32 + 1, INT64_MAX)
NO_ERRNOS = (-512, -513, -514, -516, -4095, -4096, -4097, -RESTART, -(1 << 31), -(1 << 63))


def results(bound: int) -> st.SearchStrategy[int]:
    """Every kind of answer: near the bound (as a long and as an int), at other kinds' edges, errnos, and anything."""
    bounds = st.sampled_from([bound, bound & U32])
    near_bound = st.builds(lambda at, by: max(0, min(at + by, INT64_MAX)), bounds, st.integers(-2, 2))
    negative = st.one_of(st.integers(-200, -1), st.sampled_from(NO_ERRNOS))
    return st.one_of(near_bound, near_bound, st.sampled_from(EDGES), negative, st.integers(-(1 << 63), INT64_MAX))


def compare(call: Call, made: Asked, result: int) -> None:
    believed = believes_result(call, made.args, made.bound, result)
    given_on = libshim.Verdict(result if believed else -EIO, not believed)
    assert libshim.check_result(call.nr, made.args, result) == given_on, (call.name, made.args, result)


@pytest.mark.parametrize("kind", sorted({kind_of(call) for call in ROWS}))
def test_p3_a_result_is_believed_exactly_when_the_spec_believes_it(kind: str) -> None:
    calls = st.sampled_from([call for call in ROWS if kind_of(call) == kind])

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def compare_one(data: st.DataObject) -> None:
        call = data.draw(calls, label="call")
        made = data.draw(asked(call), label="asked")
        compare(call, made, data.draw(results(made.bound), label="result"))

    compare_one()


def test_p3_at_every_edge_of_bound_and_result_c_believes_what_the_spec_does() -> None:
    for call in ROWS:
        for word in WORDS if call.result.kind is not ResultKind.AT_MOST_SUM else ():
            near = {at + by for at in (word, word & U32) for by in (-1, 0, 1)}
            for flags in (0, MSG_TRUNC):
                args = [word if index == call.result.arg else flags for index in range(6)]
                for result in {*EDGES, *(max(0, min(one, INT64_MAX)) for one in near)}:
                    compare(call, Asked(tuple(args), word), result)


@pytest.mark.parametrize("call", ROWS, ids=lambda call: str(call.name))
def test_p3_of_all_negative_numbers_only_the_calls_errnos_are_believed(call: Call) -> None:
    taken = {-n for n in range(1, 600) if not libshim.check_result(call.nr, (), -n).is_refused}
    assert taken == {-errno for errno in call.errnos}


def test_a_call_that_a_signal_keeps_from_the_kernel_is_made_again_only_if_there_is_one() -> None:
    for call in ROWS:
        assert libshim.check_result(call.nr, (), -RESTART).is_refused
        made_again = libshim.check_result(call.nr, (), -RESTART, signal_pending=True)
        assert made_again == libshim.Verdict(-RESTART, is_refused=False)


def test_vectors_that_are_not_there_hold_nothing() -> None:
    readv, recvmsg = (call.nr for name in ("readv", "recvmsg") for call in ROWS if call.name == name)
    for nr, args in ((readv, (0, 1 << 40, 1)), (recvmsg, (0, 1 << 40, 0))):
        assert not libshim.check_result(nr, args, 0).is_refused
        assert libshim.check_result(nr, args, 1).is_refused


def test_vectors_past_the_kernels_limit_hold_nothing() -> None:
    readv = next(call.nr for call in ROWS if call.name == "readv")
    vectors = libshim.Memory(struct.pack("<QQ", 0, 1) * (VECTORS_MAX + 1))
    args = (0, vectors.address, VECTORS_MAX + 1)
    assert not libshim.check_result(readv, args, VECTORS_MAX).is_refused
    assert libshim.check_result(readv, args, VECTORS_MAX + 1).is_refused


@st.composite
def values(draw: st.DrawFn, field: Field) -> bytes:
    """Bytes of a field: mostly what it may hold, else its neighbours or anything."""
    anything = st.binary(min_size=field.size, max_size=field.size)
    if field.check is Check.NOTHING or not field.scalar:
        fills = st.sampled_from([bytes(field.size), b"A" * field.size])
        return draw(st.one_of(fills, anything))
    lowest, highest = limits(field)
    candidates = {field.low, field.high, field.low - 1, field.high + 1, 0, lowest, highest}
    near = st.sampled_from(sorted(one for one in candidates if lowest <= one <= highest))
    allowed = st.integers(field.low, field.high) if field.check is Check.RANGE else st.just(field.high)
    number = st.one_of(allowed, allowed, near).map(
        lambda value: value.to_bytes(field.size, "little", signed=field.signed)
    )
    return draw(st.one_of(number, number, number, anything))


@st.composite
def replies(draw: st.DrawFn, shape: Struct) -> bytes:
    """A struct of which few fields are wrong, so that both answers occur."""
    raw = bytearray(shape.size)
    few = draw(st.sets(st.sampled_from(shape.fields), max_size=3))
    for field in shape.fields:
        good = max(field.low, 0) if field.check is Check.RANGE else 0
        number = good.to_bytes(field.size, "little") if field.scalar else bytes(field.size)
        raw[field.offset : field.offset + field.size] = draw(values(field)) if field in few else number
    return bytes(raw)


@pytest.mark.parametrize("shape", STRUCTS, ids=lambda shape: str(shape.name))
def test_p3_a_struct_is_believed_exactly_when_each_field_is_within_the_spec(shape: Struct) -> None:
    @settings(max_examples=60, deadline=None)
    @given(replies(shape))
    def compare(raw: bytes) -> None:
        assert libshim.check_struct(shape.name, raw) == believes_struct(shape, raw)

    compare()


def test_every_checked_struct_is_compared() -> None:
    assert libshim.checked_structs() == {one.name for one in STRUCTS}


@pytest.mark.parametrize("shape", SPEC.structs.values(), ids=lambda shape: str(shape.name))
def test_c_and_the_spec_agree_on_the_size_of(shape: Struct) -> None:
    assert libshim.constant(f"SIZE_{shape.name}") == shape.size
