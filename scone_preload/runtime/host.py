"""The runtime host: one background process for one tree of wrapped processes; it answers their control messages.

Theory of operation: every wrapped process holds one end of the same SOCK_SEQPACKET pair; a message that wants an
answer carries the socket to answer on. End of file means that no wrapped process is left, and ends the host. The
first process is watched by its pidfd: when it ends, standard error is let go of, so that whoever waits for its end
of file isn't kept waiting by a daemon's host. A message that can't be understood is dropped and its asker's socket
closed, which its shim takes as a refusal: the host never guesses.
"""

import contextlib
import io
import os
import selectors
import socket
from collections.abc import Callable, Iterable
from time import monotonic
from typing import TYPE_CHECKING, TypeAlias

from scone_preload.errors import BadMessage
from scone_preload.log import JSON, LOG, STANDARD_ERROR, Log, write_all
from scone_preload.options import Options
from scone_preload.runtime import wire
from scone_preload.runtime.events import LEVELS, EventLog
from scone_preload.runtime.helpers import HelperWatch
from scone_preload.runtime.names import call_names
from scone_preload.runtime.receiving import Received, receive
from scone_preload.runtime.statistics import Totals, as_json, as_report, as_table, left, unprotected
from scone_preload.runtime.tracing import format_trace

if TYPE_CHECKING:
    from scone_preload.log import Fact
    from scone_preload.runtime.governed import Authority
    from scone_preload.runtime.maintaining import Maintainer
    from scone_preload.runtime.watched import Watched

Carried: TypeAlias = socket.socket | io.FileIO | None  # what comes with a message: where to answer, or a memory file
MISREAD_TOLD = 10  # packets that are no messages: told as often
MESSAGES_AT_ONCE = 64  # between two looks at the other descriptors
LAST_S = 0.2  # after the first process: as long, at most, may the helper of the last one need to end


class Host:
    """The state of one host: the sockets and what has been counted so far."""

    def __init__(
        self,
        options: Options,
        control: socket.socket,
        program_fd: int,
        error_fd: int,
        trace_fd: int,
        authority: "Authority | None" = None,
    ) -> None:
        self.options = options
        self.control = control
        self.program_fd = program_fd
        self.error_fd = error_fd
        self.log = Log(error_fd if LOG.fd == STANDARD_ERROR else LOG.fd, LOG.format)
        self.trace_fd = trace_fd
        self.totals = Totals()
        self.events = EventLog(call_names, all_kinds=options.has_own_log)
        self.first_reported = False
        self.misread = 0
        self.alive = True
        self.selector = selectors.DefaultSelector()
        self.helpers = HelperWatch(self.selector, self.serve_all)
        self.authority = authority
        if authority is not None:
            authority.say = self.say
            self.totals.hellos += authority.answers_first  # then it was answered before: first.py
        self.watched = watched_by(self) if options.stats_fd >= 0 else None
        self.maintainer = maintainer_of(self) if authority is not None and authority.volumes else None

    def run(self, waiting: Iterable[Received]) -> None:
        """Serve until no wrapped process is left; what is `waiting` came first."""
        with self.selector as selector:
            selector.register(self.control, selectors.EVENT_READ, self.serve)
            selector.register(self.program_fd, selectors.EVENT_READ, self.program_ended)
            if self.authority is not None:
                _ = self.authority.governor.policy  # read now: soon somebody asks, and waits
            for received in waiting:
                self.accept(received)
            self.serve()
            exec_decider()  # what asks already doesn't wait for these imports; who executes will
            while self.alive:
                for key, _ in selector.select(self.authority.expire() if self.authority else None):
                    if key.fd in selector.get_map():  # else another event of this round has taken it out
                        key.data()
            if self.program_fd in selector.get_map():  # it ended with the last of the others
                self.program_ended()
            if self.watched is not None:
                self.watched.close()
        if self.maintainer is not None:
            self.maintainer.let_go()
        self.sum_up()
        self.write_statistics()
        if self.authority is not None and self.authority.governor.learner is not None:
            self.authority.governor.learner.write()
        if self.maintainer is not None:
            self.maintainer.finish()  # others may have joined its volumes

    def serve(self) -> bool:
        """Take what is waiting on the control socket, a bounded number of messages; whether more may wait."""
        for _ in range(MESSAGES_AT_ONCE):
            try:
                received = receive(self.control, socket.MSG_DONTWAIT)
            except (BlockingIOError, InterruptedError):
                return False
            if not self.accept(received):
                return False
        return True

    def accept(self, received: Received) -> bool:
        """Take a packet and what came with it; whether it was one, and not the end."""
        for surplus in received.descriptors[1:]:
            os.close(surplus)
        answer = as_carried(received.descriptors[0]) if received.descriptors else None
        if received.packet:
            self.take(received.packet, received.pid, answer)
        else:
            self.alive = False
        return self.alive

    def serve_all(self) -> None:
        """Take all that is waiting."""
        while self.serve():
            pass

    def take(self, packet: bytes, pid: int, answer: Carried) -> None:
        """Handle one packet of process `pid`; answer it when it carries a socket."""
        with contextlib.ExitStack() as held:
            if answer is not None:
                held.enter_context(answer)
            try:
                message = wire.parse(packet)
            except BadMessage as error:
                self.misread += 1
                if self.misread <= MISREAD_TOLD:
                    self.say(f"scone-wrap: {error}\n", "error", "error", pid=pid)
                return
            if isinstance(message, wire.Live):
                if answer is not None and self.watched is not None:
                    self.watched.counts.take(pid or message.header.pid, answer.fileno())
                return
            if self.authority is not None and (
                isinstance(message, wire.Call) or (isinstance(message, wire.Hello) and message.wants_policy)
            ):
                if isinstance(answer, socket.socket):
                    held.pop_all()  # whoever answers closes it
                    self.govern(message, pid or message.header.pid, answer, self.authority)
                return
            reply = self.reply_to(message, pid)
            if isinstance(answer, socket.socket):
                with contextlib.suppress(OSError):  # the asker may have been killed meanwhile
                    answer.send(reply, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)

    def govern(self, message: wire.Call | wire.Hello, pid: int, answer: socket.socket, authority: "Authority") -> None:
        """Hand on what the policy answers."""
        if isinstance(message, wire.Call):
            authority.governor.take(message, pid, answer)
        else:
            from scone_preload.runtime.calls import send_all  # lazy: only with a policy

            self.totals.hellos += 1
            send_all(answer, authority.images.answer(message, pid))

    def reply_to(self, message: wire.Message, pid: int) -> bytes:
        """Act on one message and return the answer, empty where the message has none."""
        match message:
            case wire.Exec():
                return exec_decider()(message, pid or message.header.pid, self.authority)
            case wire.Sites():
                from scone_preload.runtime.sites import answer_sites  # lazy: pathlib, as for EXEC

                return answer_sites(message, pid or message.header.pid)
            case wire.Stats():
                return self.count(message)
            case wire.Trace():
                self.write_trace(format_trace(message))
            case wire.Event():
                self.tell(message)
            case wire.Helper():
                self.helpers.take(pid or message.header.pid, message.pid)
            case wire.Hello():
                self.totals.hellos += 1
            case wire.Keep():
                if self.authority is not None:
                    self.authority.images.keep(pid or message.header.pid, message.files)
        return b""

    def tell(self, event: wire.Event) -> None:
        """Count an event, and say what is new; a denial by the policy is told by its line there."""
        text = self.events.take(event)
        if event.kind == "denied" and event.nr != wire.NO_CALL and self.authority is not None:
            self.authority.governor.denied_call(event.nr, event.header.pid)
        elif text:
            call = self.events.call_of(event)
            self.say(text, event.kind, LEVELS[event.kind], pid=event.header.pid, call=call)

    def count(self, message: wire.Stats) -> bytes:
        self.totals.add(message)
        learner = self.authority.governor.learner if self.authority else None
        if learner is not None:
            learner.note_calls(dict(enumerate(message.counters["calls"])))
        if not message.header.first:
            return b""
        self.first_reported = True
        if learner is not None:
            learner.write()  # as the statistics: it is there when the program has ended
        if self.options.stats == "":
            self.say_statistics()  # here, not by the program: it may have closed its standard error
        if self.log.fd == self.error_fd:  # a log of its own is told at the very end, with what later processes wrote
            self.sum_up()
        self.write_statistics()  # the first process waits for the answer: who waits for its end finds the file
        return wire.build_text_answer(b"")

    def say_statistics(self) -> None:
        known = (self.totals, self.events.counts)
        if self.log.format == JSON:
            report = as_report(*known, complete=self.first_reported, names=call_names())
            self.log.write("what crossed the boundary", "statistics", statistics=report)
        else:
            self.say(as_table(*known, complete=self.first_reported, names=call_names()))

    def sum_up(self) -> None:
        """Say once how much data left unprotected, where that is wanted."""
        if not self.options.sums_up:
            return
        calls, size = left(self.totals, call_names())
        text = unprotected(calls, size, has_volumes=self.maintainer is not None)
        if text:
            self.options.sums_up = False
            self.log.write(text, "unprotected", calls_out=calls, bytes_out=size)

    def program_ended(self) -> None:
        """The first process is gone: say what it could not say itself, and let go of standard error."""
        self.selector.unregister(self.program_fd)
        self.serve()
        if self.maintainer is not None:
            self.settle(self.maintainer)
        if self.options.stats == "" and not self.first_reported:
            self.say_statistics()
        if self.authority is not None:
            self.authority.governor.denials.summarize()
        if self.log.fd == self.error_fd:
            self.log.fd = -1
        if self.error_fd >= 0:  # the number stays taken: handlers may still print
            os.dup2(0, self.error_fd)
        self.error_fd = -1

    def settle(self, maintainer: "Maintainer") -> None:
        """Make volumes durable while whoever started the program can still be told that they can't be: closed, where it
        was the last process, whose helper ends a moment later."""
        deadline = monotonic() + LAST_S
        while self.alive and monotonic() < deadline:
            for key, _ in self.selector.select(LAST_S / 10):
                if key.fd in self.selector.get_map():
                    key.data()
        maintainer.commit() if self.alive else maintainer.let_go()

    def write_trace(self, line: str) -> None:
        target = self.trace_fd if self.options.trace else self.error_fd
        write_all(target, line.encode(errors="backslashreplace"))

    def say(self, text: str, kind: str = "message", level: str = "info", **facts: "Fact") -> None:
        self.log.say(text, kind, level, **facts)

    def write_statistics(self) -> None:
        """Write the report that was asked for as a file, as far as it is known: whole, or not at all."""
        if not self.options.stats:
            return
        path = self.options.stats
        temporary = f"{path}.{os.getpid()}.tmp"
        try:
            with open(temporary, "w", encoding="utf-8") as file:
                file.write(as_json(self.totals, self.events.counts, complete=self.first_reported, names=call_names()))
            os.replace(temporary, path)
        except OSError as error:
            words = f"scone-wrap: can't write the statistics: {path}: {error.strerror}; name another file\n"
            self.say(words, "error", "error")


def exec_decider() -> "Callable[[wire.Exec, int, Authority | None], bytes]":
    """Return what answers an EXEC."""
    from scone_preload.runtime.execs import decide  # lazy: 15 ms that the first question under a policy doesn't wait

    return decide


def as_carried(fd: int) -> Carried:
    """Return the socket that `fd` is, or the file that it is; the caller closes it."""
    with contextlib.suppress(OSError):
        return socket.socket(fileno=fd)
    try:
        return io.FileIO(fd)
    except OSError:  # a directory
        os.close(fd)
        return None


def watched_by(host: Host) -> "Watched":
    """Return what serves this host's statistics while it runs."""
    from scone_preload.runtime.watched import Watched  # lazy: only with --stats-socket

    return Watched(host.options, host.selector, host.serve_all, host.events.counts)


def maintainer_of(host: Host) -> "Maintainer":
    """Return what keeps this host's volumes."""
    from scone_preload.runtime.maintaining import Maintainer  # lazy: only with volumes

    assert host.authority is not None, "volumes come with a policy"
    return Maintainer(host.authority.volumes, lambda text: host.say(f"scone-wrap: {text}\n", "error", "error"))


def run_host(
    options: Options,
    control_fd: int,
    program_fd: int,
    error_fd: int,
    trace_fd: int,
    alive_fd: int = -1,
    authority: "Authority | None" = None,
    waiting: Iterable[Received] = (),
) -> int:
    """Be the runtime host until the last wrapped process has ended; return the exit status.

    `error_fd` is what detach() returned; -1 stands for a descriptor that isn't there. `waiting` are packets that came
    already. `alive_fd` is kept open: its end tells the wrapped processes, however it comes (libshim/enclave/alive.c).
    """
    with socket.socket(fileno=control_fd) as control:
        held = [fd for one in authority.volumes for fd in one.held] if authority is not None else []
        os.register_at_fork(after_in_child=lambda: leave_to_parent(control.fileno(), alive_fd, *held))
        Host(options, control, program_fd, error_fd, trace_fd, authority).run(waiting)
    return 0


def leave_to_parent(*fds: int) -> None:
    """A handler has forked: its child is no runtime host, and its end must not look like the host's."""
    for fd in fds:
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)
