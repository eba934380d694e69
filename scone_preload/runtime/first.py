"""The runtime host's first word: the answer to the first HELLO, which the program waits for.

Imports as little as it can; what else the host needs it imports afterwards, while the program is already running.
"""

from __future__ import annotations

import os
from _socket import MSG_CMSG_CLOEXEC, MSG_NOSIGNAL, SCM_CREDENTIALS, SCM_RIGHTS, SOL_SOCKET, socket

from scone_preload.runtime.images import wants_policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from scone_preload.runtime.governed import Authority

PACKET_MAX, ANCILLARY = 65536, 256


def answer_first(control_fd: int, authority: Authority) -> None:
    """Wait for the first message and answer it, a HELLO; anything else gets nothing, and so stops the program."""
    control = socket(fileno=control_fd)
    packet, ancillary, _, _ = control.recvmsg(PACKET_MAX + 1, ANCILLARY, MSG_CMSG_CLOEXEC)
    control.detach()
    pid, answers = 0, []
    for level, kind, data in ancillary:
        if level == SOL_SOCKET and kind == SCM_CREDENTIALS:
            pid = int.from_bytes(data[:4], "little")
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            answers += [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]
    if len(answers) == 1 and wants_policy(packet):
        answer = socket(fileno=answers.pop())
        for one in authority.images.answer(packet, pid):
            answer.send(one, MSG_NOSIGNAL)
        answer.close()
    for fd in answers:
        os.close(fd)
