"""The API of `scone-wrap --handlers my.py`: your own Python decides about a program's calls, or serves them.

    from scone_preload.handlers import Call, deny, file, handles

    @handles("open", "openat")
    def message_of_the_day(call: Call):
        if call.path == "/etc/motd":
            return file(b"welcome behind the boundary\\n")

A handler is called for each call of the names that it handles ("*": for all that are routed to the runtime), with the
call decoded by the spec. It answers with one of

    None, allow()       not mine: the next handler is asked, then the call goes on to its shield and exit
    deny(errno)         the program gets this error: deny("EACCES"), deny(13)
    result(value, ...)  the call isn't made; the program gets this result, and bytes: result(5, buf=b"hello")
    file(content)       an open for reading gives a file with this content, that nobody but the program can read
    bytes               short for file() where the call opens, for result() where it reads

An exception, an answer that the call can't have, or no answer in time denies the call (EACCES), and standard error says
where; a program's end and its return from a signal always go on. The file is loaded once, by the runtime host; print
goes to the program's standard error. Handlers run in threads: several calls at the same time. What a handler is allowed
to know is what the program knows: it runs on the trusted side.
"""

import errno as errnos
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias, TypeVar

from scone_preload.frozen import Frozen

Value: TypeAlias = int | str | bytes
NAMES = "scone_handles"
NOTHING: Mapping[str, bytes] = MappingProxyType({})


class Call(Frozen, kw_only=True):
    """One call of the program, before it is made.

    `args` has what the spec says of each argument by its name: numbers as int (signed where the call's are), paths as
    str, what the program sends (buffers, vectors, socket addresses, structs) as bytes. `path` is the first path made
    absolute, "." and ".." resolved as they are written; `second` the other one of calls with two (rename). `address` is
    the socket address that the call names. `is_cut`: the program sends more than fits here (56 KiB).
    """

    name: str
    nr: int
    pid: int
    tid: int
    args: Mapping[str, Value]
    path: str = ""
    second: str = ""
    address: bytes = b""
    is_cut: bool = False


class Allow(Frozen):
    """The call goes on."""


class Deny(Frozen):
    """The program gets -1 and this errno."""

    errno: int


class Result(Frozen):
    """The call isn't made: its result, and bytes for what its arguments (by name) point to."""

    value: int
    outputs: Mapping[str, bytes] = NOTHING


class File(Frozen, kw_only=True):
    """An open gives this; `uid` and `gid` None: the program's own."""

    content: bytes
    mode: int = 0o444
    uid: int | None = None
    gid: int | None = None


Answer: TypeAlias = Allow | Deny | Result | File
Handler: TypeAlias = Callable[[Call], Answer | bytes | None]
HandlerT = TypeVar("HandlerT", bound=Handler)


def allow() -> Allow:
    """Return the answer that lets the call go on."""
    return Allow()


def deny(errno: int | str = "EACCES") -> Deny:
    """Return the answer that refuses the call; raises ValueError for what is no errno."""
    number = getattr(errnos, errno, 0) if isinstance(errno, str) else errno
    if not isinstance(number, int) or not 0 < number < 512:
        raise ValueError(f"{errno!r} is no errno")
    return Deny(number)


def result(value: int, **outputs: bytes) -> Result:
    """Return the answer that gives this result, and `outputs` to the arguments of these names."""
    return Result(value, outputs)


def file(content: bytes, *, mode: int = 0o444, uid: int | None = None, gid: int | None = None) -> File:
    """Return the answer that opens a file with this content (at most 16 MiB)."""
    return File(content=content, mode=mode, uid=uid, gid=gid)


def handles(*names: str) -> Callable[[HandlerT], HandlerT]:
    """Mark a function as the handler of these calls ("*": of all)."""
    if not names or not all(isinstance(name, str) for name in names):
        raise TypeError("write @handles with the names of calls")

    def mark(handler: HandlerT) -> HandlerT:
        setattr(handler, NAMES, names)
        return handler

    return mark
