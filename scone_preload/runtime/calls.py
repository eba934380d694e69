"""Answers the calls that shims ask about: policy first, then secrets, then the user's handlers; else they go on."""

import contextlib
import os
import socket
from collections.abc import Callable, Sequence

from scone_preload.handlers import Answer, Deny, File, Result
from scone_preload.policy.calls import call_numbered
from scone_preload.policy.decision import Decision
from scone_preload.policy.image import access_word
from scone_preload.policy.model import Policy
from scone_preload.runtime import answers, wire
from scone_preload.runtime.deciding import (
    address_decision,
    open_flags,
    path_decision,
    scope,
    secret_at,
)
from scone_preload.runtime.decode import answer_of, decode
from scone_preload.runtime.handling import Handling
from scone_preload.runtime.secrets import Secrets, process_owner
from scone_preload.spec.model import Call as Row

EACCES, EIO = 13, 5
Say = Callable[[str], None]


class CallServer:
    """One policy's answers; `refused` is told each denial, `say` what went wrong with a handler."""

    def __init__(
        self,
        policy: Policy,
        secrets: Secrets,
        handling: Handling | None,
        refused: Callable[[Decision], None],
        say: Say,
    ) -> None:
        self.policy = policy
        self.secrets = secrets
        self.handling = handling
        self.refused = refused
        self.say = say

    def take(self, message: wire.Call, pid: int, answer: socket.socket) -> None:
        """Answer a call of process `pid` on its socket, which is this method's: now, or when a handler has."""
        row = call_numbered(message.nr)
        try:
            packets = self.decided(row, message, pid)
            if packets is None or (row and self.has_handler(row.name) and _goes_on(packets)):
                self.ask(row, message, pid, answer, packets or answers.go())
                return
        except Exception as error:  # closed: a bug of ours must not let a call through
            self.say(f"scone-wrap: a call could not be decided: {type(error).__name__}: {error}\n")
            packets = answers.fail(EIO)
        send_all(answer, packets)

    def decided(self, row: Row | None, message: wire.Call, pid: int) -> list[bytes] | None:
        """Return what policy and secrets say, None when they say nothing about this call."""
        if row is None:
            return None
        decision = path_decision(self.policy, row, message, pid)
        if decision is not None:
            return self.by_path(row, message, pid, decision)
        decision = address_decision(self.policy, row, message, pid)
        if decision is None:
            return None
        if not decision.allowed:
            return self.refuse(decision)
        return answers.go_exact(len(message.strings[wire.ABOUT_ADDRESS]))

    def by_path(self, row: Row, message: wire.Call, pid: int, decision: Decision) -> list[bytes]:
        if not decision.allowed:
            return self.refuse(decision)
        path = os.fsdecode(message.strings[wire.ABOUT_PATH])
        secret = secret_at(self.policy, path)
        if secret is not None:
            owner = process_owner(pid)
            return answers.give(row, self.secrets.serve(secret, row, message, owner), owner)
        covered, below = scope(self.policy, path, access_word(row.name, open_flags(row, message)))
        return answers.go(covered, below=below)

    def refuse(self, decision: Decision) -> list[bytes]:
        self.refused(decision)
        return answers.stop() if decision.action == "stop" else answers.fail(decision.errno or EACCES)

    def has_handler(self, name: str) -> bool:
        return self.handling is not None and bool(self.handling.for_call(name))

    def ask(
        self, row: Row | None, message: wire.Call, pid: int, answer: socket.socket, otherwise: Sequence[bytes]
    ) -> None:
        """Ask the handlers, if there are any for the call; `otherwise` is the answer when it is none of theirs."""
        call = decode(message)
        if self.handling is None or not self.handling.for_call(call.name):
            send_all(answer, otherwise)
            return

        def settle(given: Answer | bytes | None, trouble: str) -> None:
            packets: Sequence[bytes] = otherwise
            try:
                checked = answer_of(row, message, given)
                if trouble:
                    raise ValueError(trouble)
                if row is not None and isinstance(checked, Deny | Result | File):
                    packets = answers.give(row, checked, process_owner(pid))
            except ValueError as error:
                about = f" {call.path}" if call.path else ""
                self.say(f"scone-wrap: handler of {call.name}{about} failed, the call is denied: {error}\n")
                packets = answers.fail(EACCES)
            send_all(answer, packets)

        self.handling.ask(call, settle)


def _goes_on(packets: Sequence[bytes]) -> bool:
    return packets[0][:4] == bytes(4)


def send_all(answer: socket.socket, packets: Sequence[bytes]) -> None:
    """Send an answer and close its socket; an asker that was killed meanwhile is nobody's loss."""
    with answer, contextlib.suppress(OSError):
        answer.settimeout(10)
        for packet in packets:
            answer.send(packet, socket.MSG_NOSIGNAL)
