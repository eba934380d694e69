"""The head of the answer to CALL, as the shim takes it; imports nothing heavy."""

import time

from scone_preload.runtime.layouts import layout

GO, RESULT, FILE, STOP = range(4)
ONCE, SAME, DIRECTORY = range(3)  # enum ctl_scope: what an answer holds for besides
STARTED = int(time.time())  # the time of all files that are served
_ANSWER = layout("ctl_call_answer")


def verdict(
    what: int,
    *,
    result: int = 0,
    count: int = 0,
    size: int = 0,
    number: int = 0,
    mode: int = 0,
    uid: int = 0,
    gid: int = 0,
    scope: int = ONCE,
) -> bytes:
    """Return the head: of a result with `count` strings, or of a file; `number` is its inode."""
    return _ANSWER.pack(what, count, result, size, number, STARTED, mode, uid, gid, scope)


def go(scope: int = ONCE) -> list[bytes]:
    """The call goes on; so does each other one for the same access in this scope, without being asked."""
    return [verdict(GO, scope=scope)]


def fail(errno: int) -> list[bytes]:
    """The program gets this errno."""
    return [verdict(RESULT, result=-errno)]


def stop() -> list[bytes]:
    """The enclave stops."""
    return [verdict(STOP)]
