"""Answers the calls that shims ask about: policy first, then secrets, then the user's handlers; else they go on."""

import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from os import O_ACCMODE, O_CREAT, O_DIRECTORY, O_EXCL, O_TRUNC
from threading import Thread
from typing import TYPE_CHECKING

from scone_preload.errors import SconeError
from scone_preload.handlers import Answer, Deny, File, Result
from scone_preload.log import one_line
from scone_preload.policy.access import access_word
from scone_preload.policy.calls import ALWAYS, call_numbered
from scone_preload.policy.decision import Decision
from scone_preload.policy.model import Policy
from scone_preload.policy.rules import file_rules
from scone_preload.policy.system import PROBED
from scone_preload.runtime import answers, verdicts, wire
from scone_preload.runtime.deciding import address_decision, path_decisions, secret_among
from scone_preload.runtime.decode import answer_of, decode
from scone_preload.runtime.files import Files, Given
from scone_preload.runtime.images import send_packet
from scone_preload.runtime.path_calls import covers_directory, open_flags
from scone_preload.runtime.secrets import Identity, Secrets, identity, number_of
from scone_preload.spec.model import Call as Row

if TYPE_CHECKING:
    from scone_preload.log import Say
    from scone_preload.runtime.handling import Handling

EACCES, EEXIST, EIO, ENOENT, ENOTDIR, EROFS = 13, 17, 5, 2, 20, 30


class CallServer:
    """One policy's answers; `refused` is told each denial, of which process and call, `say` what else went wrong."""

    def __init__(
        self,
        policy: Policy,
        secrets: Secrets,
        files: Files,
        handling: "Handling | None",
        refused: Callable[[Decision, int, str], None],
        say: "Say",
    ) -> None:
        self.policy = policy
        self.secrets = secrets
        self.files = files
        self.handling = handling
        self.refused = refused
        self.say = say

    def take(self, message: wire.Call, pid: int, answer: socket.socket) -> None:
        """Answer a call of process `pid` on its socket, which is this method's: now, or when a handler has."""
        row = call_numbered(message.nr)
        try:
            packets = self.decided(row, message, pid)
            if packets is None or (row and self.has_handler(row.name) and _goes_on(packets)):
                self.ask(row, message, pid, answer, packets or verdicts.go())
                return
        except (SconeError, OSError) as error:
            words = f"a call could not be decided, and is denied: {error}"
            self.say(words, "error", "error", pid=pid, call=row.name if row else "")
            packets = verdicts.fail(EIO)
        send_all(answer, packets)

    def decided(self, row: Row | None, message: wire.Call, pid: int) -> list[bytes] | None:
        """Return what policy and secrets say, None when they say nothing about this call."""
        if row is None:
            return None
        decisions = path_decisions(self.policy, row, message, pid)
        if decisions:
            return self.by_paths(row, message, pid, decisions)
        decision = address_decision(self.policy, row, message, pid)
        if decision is None:
            return None
        if not decision.allowed and decision.object.removeprefix("connect ") in PROBED:
            return verdicts.fail(ENOENT)
        return verdicts.go(verdicts.SAME) if decision.allowed else self.refuse(decision, pid, row)

    def by_paths(
        self, row: Row, message: wire.Call, pid: int, decisions: Sequence[tuple[str, Decision]]
    ) -> list[bytes]:
        for _, decision in decisions:
            if not decision.allowed:
                return self.refuse(decision, pid, row)
        secret = secret_among(self.policy, [path for path, _ in decisions])
        if secret is not None:
            who = identity(pid)
            return self.give(row, message, self.secrets.serve(secret, row, message, who), who, number=number_of(secret))
        path = os.fsdecode(message.strings.get(wire.ABOUT_PATH, b""))
        word = access_word(row.name, open_flags(row.name, message))
        whole = covers_directory(file_rules(self.policy), path, decisions[0][0], word, pid)
        return verdicts.go(verdicts.DIRECTORY if whole else verdicts.SAME)

    def give(
        self, row: Row, message: wire.Call, given: Deny | Result | File, who: Identity, *, number: int = 0
    ) -> list[bytes]:
        """Give what a secret or a handler says; a file that has no owner is the program's own."""
        refused = refused_open(row, message) if isinstance(given, File) else None
        if refused is not None:
            return answers.give(row, refused)
        if isinstance(given, File):
            uid = who.uid if given.uid is None else given.uid
            gid = who.gid if given.gid is None else given.gid
            given = given.replaced(uid=uid, gid=gid)
            number = number or answers.new_number()
            self.files.note(number, Given(content=given.content, mode=given.mode, uid=uid, gid=gid))
        return answers.give(row, given, number=number)

    def refuse(self, decision: Decision, pid: int, row: Row) -> list[bytes]:
        self.refused(decision, pid, row.name)
        return verdicts.stop() if decision.action == "stop" else verdicts.fail(decision.errno or EACCES)

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
                    packets = self.give(row, message, checked, identity(pid))
            except ValueError as error:
                about = f" {call.path}" if call.path else ""
                words = f"handler of {call.name}{about} failed, the call is denied: {error}"
                self.say(one_line(words), "error", "error", pid=call.pid, call=call.name)
                packets = verdicts.fail(EACCES)
            send_all(answer, otherwise if call.name in ALWAYS else packets)

        self.handling.ask(call, settle)


def refused_open(row: Row, message: wire.Call) -> Deny | None:
    """Return what an open of a file that is there, and can't be written, fails with; None where it doesn't."""
    flags = open_flags(row.name, message)
    if flags & O_CREAT and flags & O_EXCL:
        return Deny(EEXIST)
    if flags & O_DIRECTORY:
        return Deny(ENOTDIR)
    return Deny(EROFS) if row.name == "creat" or flags & (O_ACCMODE | O_TRUNC) else None


def _goes_on(packets: Sequence[bytes]) -> bool:
    return packets[0][:4] == bytes(4)


def send_all(answer: socket.socket, packets: Sequence[bytes]) -> None:
    """Send an answer and close its socket; an asker that was killed meanwhile is nobody's loss.

    More than the socket holds goes by a thread of its own: an asker that is stopped keeps no other one waiting.
    """
    answer.setblocking(False)
    for index, packet in enumerate(packets):
        try:
            send_packet(answer, packet)
        except BlockingIOError:
            Thread(target=_send_rest, args=(answer, packets[index:]), daemon=True).start()
            return
        except OSError:
            break
    answer.close()


def _send_rest(answer: socket.socket, packets: Sequence[bytes]) -> None:
    with answer, contextlib.suppress(OSError):
        answer.setblocking(True)
        for packet in packets:
            send_packet(answer, packet)
