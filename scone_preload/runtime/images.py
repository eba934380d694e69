"""Which program images may have the policy: each HELLO is checked against what was expected of it.

A nonce is given for each image: to the launcher for the first, by the answer to EXEC for the others. It is good once,
for that process, so no HELLO can be said again or by another process. What was pinned when the image was analysed must
not have changed when it was mapped. Code that the analysis did not foresee (a library of LD_LIBRARY_PATH, a program
that was never analysed) is let in, unless `strict`.

The first HELLO is answered before the runtime host imports anything else, because the program waits for it; so this
imports next to nothing.
"""

from __future__ import annotations

import os
from _socket import MSG_NOSIGNAL, SCM_RIGHTS, SOL_SOCKET

from scone_preload.build.warm import pin, pinned
from scone_preload.errors import HostileHost, SconeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Iterable, Sequence

    from scone_preload.runtime.wire import Hello, Kept

    Keeper = Callable[[Sequence[Kept]], tuple[int, list[bytes]]]  # how many files of these it knows, and their packets

NONCE_BITS = 63
MESSAGE_MAX = 4095
EXPECTED_MAX = 1000


class Carrying(bytes):
    """A packet that takes copies of these descriptors along."""

    descriptors: tuple[int, ...] = ()


class Expected:
    """One image to come: the process, the pins (`dev,ino,size,mtime,ctime path`) of all that it may map, and the memory
    files that stay open for it."""

    __slots__ = ("files", "pid", "pins")

    def __init__(self, pid: int, pins: tuple[str, ...]) -> None:
        self.pid = pid
        self.pins = pins
        self.files: tuple[Kept, ...] = ()


class Images:
    """The images that are expected; `policy` is what each of them is answered, once `ready` has raised nothing."""

    def __init__(self, policy: bytes, kept: Keeper, *, strict: Callable[[], bool], ready: Callable[[], None]) -> None:
        self.policy = policy
        self._kept = kept
        self.strict = strict
        self._ready = ready
        self._expected: dict[int, Expected] = {}
        self.volumes: tuple[Carrying, ...] = ()  # each image gets them all

    def expect(self, pid: int, pins: Sequence[str], nonce: int = 0) -> int:
        """Expect an image of process `pid`; return its nonce. What the process was to execute before is forgotten."""
        self._expected = {key: image for key, image in self._expected.items() if image.pid != pid}
        if len(self._expected) >= EXPECTED_MAX:  # most are of processes that ended without the exec they were allowed
            self._expected = {key: image for key, image in self._expected.items() if _lives(image.pid)}
        nonce = nonce or new_nonce()
        self._expected[nonce] = Expected(pid, tuple(pins))
        return nonce

    def keep(self, pid: int, files: tuple[Kept, ...]) -> None:
        """Note which memory files the image that process `pid` is to execute finds open."""
        for image in self._expected.values():
            if image.pid == pid:
                image.files = files

    def answer(self, hello: Hello, pid: int) -> list[bytes]:
        """Return the packets that answer a HELLO of process `pid` that wants the policy."""
        expected = self._expected.pop(hello.nonce, None)
        try:
            if expected is None or expected.pid != pid:
                raise HostileHost("HELLO of an image that nobody started", f"process {pid}", "it gets no policy")
            check_mapped(mapped_files(hello.maps), expected.pins, pid, strict=self.strict)
            self._ready()
        except SconeError as error:
            return [hello_answer(b"", error=1, message=str(error).encode(errors="surrogateescape"))]
        count, packets = self._kept(expected.files)
        return [hello_answer(self.policy, files=count, volumes=len(self.volumes)), *self.volumes, *packets]


def hello_answer(policy: bytes, *, error: int = 0, message: bytes = b"", files: int = 0, volumes: int = 0) -> bytes:
    """Return the answer to HELLO: the policy, or why the image must not run; then so many volumes and memory files
    follow."""
    head = b"".join(number.to_bytes(4, "little") for number in (error, len(policy), files, volumes))
    return head + policy + message[:MESSAGE_MAX] + b"\0"


def volume_packet(place: str, directory: str, *, arena_size: int, is_readonly: bool, fds: tuple[int, int]) -> Carrying:
    """Return the packet that hands a volume to an image; `fds` are its arena and its container."""
    head = is_readonly.to_bytes(8, "little") + arena_size.to_bytes(8, "little")
    packet = Carrying(head + os.fsencode(place) + b"\0" + os.fsencode(directory) + b"\0")
    packet.descriptors = fds
    return packet


def send_packet(answer: socket, packet: bytes) -> None:
    """Send one packet of an answer, with what it carries; raise OSError."""
    if isinstance(packet, Carrying):
        raw = b"".join(fd.to_bytes(4, "little") for fd in packet.descriptors)
        answer.sendmsg([packet], [(SOL_SOCKET, SCM_RIGHTS, raw)], MSG_NOSIGNAL)
    else:
        answer.send(packet, MSG_NOSIGNAL)


def _lives(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


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


def check_mapped(
    mapped: Iterable[tuple[str, str]], pins: Iterable[str], pid: int, *, strict: Callable[[], bool]
) -> None:
    """Raise HostileHost if a mapped file is a pinned one that was changed or replaced; with `strict`, if it is no
    pinned one at all."""
    pinned_lines = [line for line in pins if not line.endswith("/")]
    known = {file_of(line): line.split(" ", 1)[0] for line in pinned_lines}
    paths = {os.path.realpath(pinned(line)) for line in pinned_lines}
    for span, path in mapped:
        try:
            now = pin_mapped(span, path, pid)
        except (OSError, ValueError) as error:
            raise HostileHost("mapped code has no file", path, f"{error}; nothing runs") from None
        if file_of(now) not in known and path not in paths:
            if strict():
                raise HostileHost("code that was not analysed is mapped", path, "let [exec] name it, or drop it")
        elif known.get(file_of(now)) != now.split(" ", 1)[0]:
            raise HostileHost("code was changed between its analysis and the start", path, "start again")


def file_of(line: str) -> str:
    """Return the `dev,ino` of a pin."""
    return ",".join(line.split(",", 2)[:2])


def pin_mapped(span: str, path: str, pid: int) -> str:
    """Return the pin of the very file that is mapped at `span`, where the kernel lets us; else of its path there."""
    low, _, high = span.partition("-")
    try:
        return pin(f"/proc/{pid}/map_files/{int(low, 16):x}-{int(high, 16):x}")  # without leading zeros
    except PermissionError:
        return pin(f"/proc/{pid}/root{path}")
