"""Takes packets from the control socket, with their senders and descriptors; imports nothing heavy."""

from __future__ import annotations

from _socket import MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_TRUNC, SCM_CREDENTIALS, SCM_RIGHTS, SOL_SOCKET

from scone_preload.runtime.wire import PACKET_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

ANCILLARY = 256  # credentials, and more descriptors than any message has
NO_MESSAGE = b"\0"


class Received:
    """A packet, empty at end of file; its sender's pid, 0 if the kernel gave none; the descriptors, the taker's."""

    __slots__ = ("descriptors", "packet", "pid")

    def __init__(self, packet: bytes, pid: int, descriptors: list[int]) -> None:
        self.packet = packet
        self.pid = pid
        self.descriptors = descriptors


def receive(control: socket, flags: int = 0) -> Received:
    """Return the next packet; raises what recvmsg(2) with these flags does. One that was cut is no message."""
    packet, ancillary, cut, _ = control.recvmsg(PACKET_MAX + 1, ANCILLARY, flags | MSG_CMSG_CLOEXEC)
    pid, descriptors = 0, []
    for level, kind, data in ancillary:
        if level == SOL_SOCKET and kind == SCM_CREDENTIALS:
            pid = int.from_bytes(data[:4], "little")
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            descriptors += [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data) & ~3, 4)]
    return Received(NO_MESSAGE if cut & (MSG_TRUNC | MSG_CTRUNC) else packet, pid, descriptors)
