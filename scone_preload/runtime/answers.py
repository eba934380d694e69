"""Builds the packets that answer CALL: an answer of the handlers' API, or a decision, as the shim takes it."""

import itertools
import os
import time
from collections.abc import Iterable

from scone_preload.handlers import Deny, File, Result
from scone_preload.runtime import wire
from scone_preload.runtime.decode import outputs_of
from scone_preload.spec.model import Call as Row

GO, RESULT, FILE, STOP = range(4)
PIECE = 32 * 1024
SCOPE_MAX = 250
SCOPE_BELOW = 1 << 31
_ANSWER = wire.layout("ctl_call_answer")
_STRING = wire.layout("ctl_trace_string")
_inodes = itertools.count(1)


def go(scope: str = "", *, below: bool = False) -> list[bytes]:
    """The call goes on; so does each other one about `scope`, or about what lies below it, without being asked."""
    size = len(os.fsencode(scope))
    if size > SCOPE_MAX:
        size = 0
    return [_head(GO, scope=size | (SCOPE_BELOW if below and size else 0))]


def go_exact(size: int) -> list[bytes]:
    """The same for what the call is about, of `size` bytes."""
    return [_head(GO, scope=size if size <= SCOPE_MAX else 0)]


def stop() -> list[bytes]:
    """The enclave stops."""
    return [_head(STOP)]


def fail(errno: int) -> list[bytes]:
    """The program gets this errno."""
    return [_head(RESULT, result=-errno)]


def give(row: Row, answer: Deny | Result | File, owner: tuple[int, int]) -> list[bytes]:
    """What a handler answered; `owner` (uid, gid) is the program's, for files of nobody else."""
    if isinstance(answer, Deny):
        return fail(answer.errno)
    if isinstance(answer, Result):
        return [_with_strings(answer.value, outputs_of(row, answer))]
    uid, gid = (own if given is None else given for own, given in zip(owner, (answer.uid, answer.gid), strict=True))
    head = _head(FILE, size=len(answer.content), number=next(_inodes), mode=answer.mode, uid=uid, gid=gid)
    content = answer.content
    return [head, *(content[at : at + PIECE] for at in range(0, len(content), PIECE))]


def _with_strings(result: int, strings: Iterable[tuple[int, bytes]]) -> bytes:
    packed = [_STRING.pack(index, 1, len(data)) + data for index, data in strings]
    return _head(RESULT, result=result, count=len(packed)) + b"".join(packed)


def _head(
    verdict: int,
    *,
    result: int = 0,
    count: int = 0,
    size: int = 0,
    number: int = 0,
    mode: int = 0,
    uid: int = 0,
    gid: int = 0,
    scope: int = 0,
) -> bytes:
    return _ANSWER.pack(verdict, count, result, size, number, int(time.time()), mode, uid, gid, scope)
