"""The runtime host's first words: the answers that a starting program waits for.

The host imports for 40 ms. The first HELLO needs little of that, nor do the first questions, which are nearly all about
files that the policy simply allows: they are answered here, until one needs more, or none has come for a while. What
came meanwhile, and is not answered yet, is the host's.
"""

from __future__ import annotations

import os
from _socket import socket
from time import monotonic

from scone_preload.errors import BadMessage
from scone_preload.policy.access import ROUTE_PATHS, access_word
from scone_preload.policy.paths import EXECUTE, READ, WRITE, file_rule
from scone_preload.runtime import wire
from scone_preload.runtime.images import send_packet
from scone_preload.runtime.path_calls import covers_directory, open_flags, real_paths
from scone_preload.runtime.receiving import receive
from scone_preload.runtime.verdicts import DIRECTORY, SAME, go

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from scone_preload.policy.start import StartPlan
    from scone_preload.runtime.governed import Authority
    from scone_preload.runtime.receiving import Received

QUIET_S, BUSY_S = 0.01, 0.5  # without a question: it is over; with one after the other: so is it, after so long
WAITING_MAX = 64
NAMES = {2: "open", 4: "stat", 6: "lstat", 21: "access", 80: "chdir", 89: "readlink", 257: "openat", 262: "newfstatat",
         267: "readlinkat", 269: "faccessat", 332: "statx", 437: "openat2", 439: "faccessat2"}  # fmt: skip
SIMPLE = (READ, WRITE, EXECUTE, "root", "unlisted")
_HEAD_SIZE, _ENTRY_SIZE = 16, 4  # of a policy's image


def answer_first(control_fd: int, authority: Authority, plan: StartPlan) -> list[Received]:
    """Wait for the first message and answer it, a HELLO: anything else gets nothing, and so stops the program. Then
    answer what is simple; return what came and is for others, in order."""
    control = socket(fileno=control_fd)
    try:
        first = receive(control)
        hello = _parsed(first.packet)
        if isinstance(hello, wire.Hello) and hello.wants_policy and len(first.descriptors) == 1:
            _send(first.descriptors.pop(), authority.images.answer(hello, first.pid))
        for fd in first.descriptors:
            os.close(fd)
        return _answer_simple(control, plan) if authority.answers_simple else []
    finally:
        control.detach()


def _answer_simple(control: socket, plan: StartPlan) -> list[Received]:
    waiting: list[Received] = []
    control.settimeout(QUIET_S)
    end = monotonic() + BUSY_S
    while len(waiting) < WAITING_MAX and monotonic() < end:
        try:
            received = receive(control)
        except (TimeoutError, InterruptedError):
            break
        message, packets = _parsed(received.packet), None
        if isinstance(message, wire.Call) and len(received.descriptors) == 1:
            packets = simple_answer(plan, message, received.pid or message.header.pid)
        if packets:
            _send(received.descriptors[0], packets)
            continue
        waiting.append(received)
        if received.descriptors or not received.packet:  # somebody waits for it, or nobody is left
            break
    return waiting


def simple_answer(plan: StartPlan, message: wire.Call, pid: int) -> list[bytes] | None:
    """Return the answer to a call whose path the policy's lists allow; None for any other."""
    name = NAMES.get(message.nr)
    route = plan.calls[_HEAD_SIZE + _ENTRY_SIZE * message.nr]
    asked = message.strings.get(wire.ABOUT_PATH)
    if name is None or route != ROUTE_PATHS or asked is None or wire.ABOUT_SECOND in message.strings:
        return None
    rules = plan.files
    word = access_word(name, open_flags(name, message))
    (path,) = real_paths(name, message, pid, own=rules[-1])
    if file_rule(rules, path, word)[0] not in SIMPLE:
        return None
    return go(DIRECTORY if covers_directory(rules, os.fsdecode(asked), path, word, pid) else SAME)


def _parsed(packet: bytes) -> wire.Message | None:
    try:
        return wire.parse(packet)
    except BadMessage:
        return None


def _send(fd: int, packets: Iterable[bytes]) -> None:
    """Answer, and close the socket; an asker that was killed meanwhile is nobody's loss."""
    answer = socket(fileno=fd)
    try:
        for packet in packets:
            send_packet(answer, packet)
    except OSError:
        pass
    answer.close()
