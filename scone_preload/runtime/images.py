"""Which program images may have the policy: each HELLO is checked against what was expected of it.

A nonce is given for each image: to the launcher for the first, by the answer to EXEC for the others. It is good once,
for that process, so no HELLO can be said again or by another process. What the image mapped must be what was pinned when
it was analysed: the same files, unchanged. An image that was not analysed before (it runs under the generic shim) is
pinned at its EXEC.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scone_preload.build.warm import pin
from scone_preload.errors import HostileHost
from scone_preload.runtime import wire

NONCE_BITS = 63


@dataclass(frozen=True, slots=True)
class Expected:
    """One image to come: the process, and the pins (`dev,ino,size,mtime,ctime path`) of all that it may map."""

    pid: int
    pins: tuple[str, ...]


class Images:
    """The images that are expected; `policy` is what each of them is answered."""

    def __init__(self, policy: bytes) -> None:
        self.policy = policy
        self._expected: dict[int, Expected] = {}

    def expect(self, pid: int, pins: Sequence[str], nonce: int = 0) -> int:
        """Expect an image of process `pid`; return its nonce. What the process was to execute before is forgotten."""
        self._expected = {key: image for key, image in self._expected.items() if image.pid != pid}
        nonce = nonce or new_nonce()
        self._expected[nonce] = Expected(pid, tuple(pins))
        return nonce

    def answer(self, hello: wire.Hello, pid: int) -> bytes:
        """Return the answer to a HELLO of process `pid` that wants the policy."""
        expected = self._expected.pop(hello.nonce, None)
        try:
            if expected is None or expected.pid != pid:
                raise HostileHost("HELLO of an image that nobody started", f"process {pid}", "it gets no policy")
            check_mapped(mapped_files(hello.maps), expected.pins, pid)
        except HostileHost as error:
            return wire.build_hello_answer(error=1, message=str(error).encode(errors="surrogateescape"))
        return wire.build_hello_answer(policy=self.policy)


def new_nonce() -> int:
    """Return a number that nobody can guess, and that is not 0."""
    return int.from_bytes(os.urandom(8), "little") >> (64 - NONCE_BITS) or 1


def mapped_files(maps: bytes) -> tuple[tuple[str, str], ...]:
    """Return (address range, path) of each line of /proc/PID/maps; a line that is none raises HostileHost."""
    found = []
    for line in maps.splitlines():
        fields = line.split(None, 5)
        if len(fields) != 6:
            raise HostileHost("a line of maps can't be read", repr(line), "it gets no policy")
        found.append((fields[0].decode("ascii", "replace"), os.fsdecode(fields[5])))
    return tuple(found)


def check_mapped(mapped: Iterable[tuple[str, str]], pins: Iterable[str], pid: int) -> None:
    """Raise HostileHost unless each mapped file is one of the pinned ones, and unchanged."""
    known = {file_of(line): line.split(" ", 1)[0] for line in pins}
    for span, path in mapped:
        try:
            now = pin_mapped(span, path, pid)
        except OSError as error:
            raise HostileHost("mapped code has no file", path, f"{error.strerror}; nothing runs") from None
        if file_of(now) not in known:
            raise HostileHost("code that was not analysed is mapped", path, "start again; if it stays, report it")
        if known[file_of(now)] != now.split(" ", 1)[0]:
            raise HostileHost("code was changed between its analysis and the start", path, "start again")


def file_of(line: str) -> str:
    """Return the `dev,ino` of a pin."""
    return ",".join(line.split(",", 2)[:2])


def pin_mapped(span: str, path: str, pid: int) -> str:
    """Return the pin of the very file that is mapped at `span`, where the kernel lets us; else of its path there."""
    try:
        return pin(f"/proc/{pid}/map_files/{span}")
    except PermissionError:
        return pin(f"/proc/{pid}/root{path}")
    except FileNotFoundError:  # map_files writes addresses without leading zeros
        low, _, high = span.partition("-")
        return pin(f"/proc/{pid}/map_files/{int(low, 16):x}-{int(high, 16):x}")
