"""Builds the packets that answer CALL: an answer of the handlers' API, or a decision, as the shim takes it."""

import itertools
from collections.abc import Iterable

from scone_preload.handlers import Deny, File, Result
from scone_preload.runtime.decode import outputs_of
from scone_preload.runtime.layouts import layout
from scone_preload.runtime.verdicts import FILE, RESULT, fail, verdict
from scone_preload.spec.model import Call as Row

PIECE = 32 * 1024
_STRING = layout("ctl_trace_string")
_inodes = itertools.count(1 << 40)  # above those of secrets


def give(row: Row, answer: Deny | Result | File, *, number: int = 0) -> list[bytes]:
    """What a handler answered; `number` is a file's inode."""
    if isinstance(answer, Deny):
        return fail(answer.errno)
    if isinstance(answer, Result):
        return [_with_strings(answer.value, outputs_of(row, answer))]
    uid, gid = answer.uid or 0, answer.gid or 0
    head = verdict(FILE, size=len(answer.content), number=number, mode=answer.mode, uid=uid, gid=gid)
    return [head, *pieces(answer.content)]


def pieces(content: bytes) -> list[bytes]:
    """Return a file's bytes as packets."""
    return [content[at : at + PIECE] for at in range(0, len(content), PIECE)]


def new_number() -> int:
    """Return an inode that no other file has."""
    return next(_inodes)


def _with_strings(result: int, strings: Iterable[tuple[int, bytes]]) -> bytes:
    packed = [_STRING.pack(index, 1, len(data)) + data for index, data in strings]
    return verdict(RESULT, result=result, count=len(packed)) + b"".join(packed)
