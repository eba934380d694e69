"""What the spec's right side says, in Python: the model that the C checks are compared with.

Written from docs/spec.md and the man page's point of view, not from check.c: a number is what the program would see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scone_preload.spec.model import Call, CallFlag, Check, Field, Struct

INT_MAX = (1 << 31) - 1
PAGE = 4096
PID_MAX = 1 << 22
MSG_TRUNC = 0x20

# Whether a result >= 0 keeps within `bound`, the value of the argument that bounds it (vectors: their sum).
RESULTS: dict[str, Callable[[int, int], bool]] = {
    "RESULT_ANY": lambda result, bound: True,
    "RESULT_OFFSET": lambda result, bound: True,
    "RESULT_ZERO": lambda result, bound: result == 0,
    "RESULT_AT_MOST": lambda result, bound: result <= bound,
    "RESULT_AT_MOST_SUM": lambda result, bound: result <= bound,
    "RESULT_COUNT": lambda result, bound: result <= min(bound & 0xFFFFFFFF, INT_MAX),
    "RESULT_FD": lambda result, bound: result <= INT_MAX,
    "RESULT_PID": lambda result, bound: result <= PID_MAX,
    "RESULT_ADDRESS": lambda result, bound: result % PAGE == 0,
    "RESULT_NEVER": lambda result, bound: False,
    "RESULT_EXACTLY": lambda result, bound: result == as_int(bound),
}


def as_int(value: int) -> int:
    """What C's int holds of it."""
    return ((value & 0xFFFFFFFF) ^ 1 << 31) - (1 << 31)


def believes_result(call: Call, args: Sequence[int], bound: int, result: int) -> bool:
    """Whether the spec's row believes this result of the host."""
    if result < 0:
        return -result in call.errnos
    return RESULTS[call.result.kind](result, bound) or (result <= INT_MAX and may_pass_the_bound(call, args))


def may_pass_the_bound(call: Call, args: Sequence[int]) -> bool:
    """The two decorators: asked with size 0 for the size wanted, or with MSG_TRUNC for the whole datagram's."""
    if CallFlag.SIZE_QUERY in call.flags:
        return args[call.result.arg] == 0
    return CallFlag.MSG_TRUNC in call.flags and args[call.result.arg + 1] & MSG_TRUNC != 0


def value_of(field: Field, raw: bytes) -> int:
    return int.from_bytes(raw[field.offset : field.offset + field.size], "little", signed=field.signed)


def limits(field: Field) -> tuple[int, int]:
    """The lowest and the highest number that the field's type can hold."""
    bits = 8 * field.size
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if field.signed else (0, (1 << bits) - 1)


def believes_struct(struct: Struct, raw: bytes) -> bool:
    """Whether every field of the struct holds what it may."""
    return all(_believes_field(field, raw) for field in struct.fields)


def _believes_field(field: Field, raw: bytes) -> bool:
    match field.check:
        case Check.RANGE:
            return field.low <= value_of(field, raw) <= field.high
        case Check.BITS:
            return value_of(field, raw) | field.high == field.high
        case Check.TEXT:
            return 0 in raw[field.offset : field.offset + field.size]
        case Check.NOTHING:
            return True
