"""Builds the packets that answer CALL: an answer of the handlers' API, or a decision, as the shim takes it."""

import itertools
import time
from collections.abc import Iterable

from scone_preload.handlers import Deny, File, Result
from scone_preload.runtime import wire
from scone_preload.runtime.decode import outputs_of
from scone_preload.spec.model import Call as Row

GO, RESULT, FILE, STOP = range(4)
PIECE = 32 * 1024
ONCE, SAME, DIRECTORY = range(3)  # enum ctl_scope: what an answer holds for besides
_ANSWER = wire.layout("ctl_call_answer")
_STRING = wire.layout("ctl_trace_string")
_inodes = itertools.count(1 << 40)  # above those of secrets
STARTED = int(time.time())  # the time of all files that are served


def go(scope: int = ONCE) -> list[bytes]:
    """The call goes on; so does each other one for the same access in this scope, without being asked."""
    return [_head(GO, scope=scope)]


def stop() -> list[bytes]:
    """The enclave stops."""
    return [_head(STOP)]


def fail(errno: int) -> list[bytes]:
    """The program gets this errno."""
    return [_head(RESULT, result=-errno)]


def give(row: Row, answer: Deny | Result | File, *, number: int = 0) -> list[bytes]:
    """What a handler answered; `number` is a file's inode."""
    if isinstance(answer, Deny):
        return fail(answer.errno)
    if isinstance(answer, Result):
        return [_with_strings(answer.value, outputs_of(row, answer))]
    uid, gid = answer.uid or 0, answer.gid or 0
    head = _head(FILE, size=len(answer.content), number=number, mode=answer.mode, uid=uid, gid=gid)
    return [head, *pieces(answer.content)]


def pieces(content: bytes) -> list[bytes]:
    """Return a file's bytes as packets."""
    return [content[at : at + PIECE] for at in range(0, len(content), PIECE)]


def new_number() -> int:
    """Return an inode that no other file has."""
    return next(_inodes)


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
    return _ANSWER.pack(verdict, count, result, size, number, STARTED, mode, uid, gid, scope)
