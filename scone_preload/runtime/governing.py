"""The authority behind one tree of wrapped processes: who gets the policy, and what is decided by it.

Made when a start has a policy, by the main thread, and the whole policy read; the shims' table (in the plan) and the
first answers (first.py) need none of that.
"""

from collections.abc import Sequence
from functools import cached_property
from socket import socket
from typing import TYPE_CHECKING

from scone_preload.errors import SconeError
from scone_preload.handlers import Handler
from scone_preload.options import Options
from scone_preload.policy.calls import call_numbered
from scone_preload.policy.decide import decide_call, decide_exec
from scone_preload.policy.decision import Decision
from scone_preload.policy.kept import kept
from scone_preload.policy.model import Policy
from scone_preload.runtime import wire
from scone_preload.runtime.calls import CallServer
from scone_preload.runtime.denials import Denials
from scone_preload.runtime.files import Files
from scone_preload.runtime.governed import Start
from scone_preload.runtime.secrets import Secrets

if TYPE_CHECKING:
    from scone_preload.log import Say
    from scone_preload.runtime.learning import Learner


class Governor:
    """One policy at work; `say` writes a line for the user."""

    def __init__(self, options: Options, start: Start, say: "Say") -> None:
        self._options = options
        self._start = start
        self._say = say
        self.denials = Denials(say)
        self.files = Files()
        self.learner = _learner(options, start, say) if options.learn else None
        self._secrets = Secrets(start.environment, start.kept)
        self._trouble: SconeError | None = None
        self._handlers = self._load(start.handlers)

    @cached_property
    def policy(self) -> Policy:
        return kept(self._start.plan.policy)

    def take(self, message: wire.Call, pid: int, answer: socket) -> None:
        """Answer a call of process `pid` on its socket, which is closed then."""
        (self.learner or self.calls).take(message, pid, answer)

    @cached_property
    def calls(self) -> CallServer:
        handling = None
        if self._handlers:
            from scone_preload.runtime.handling import Handling  # lazy: only with handlers

            handling = Handling(self._handlers, self.policy.handlers.timeout_ms / 1000)
        return CallServer(self.policy, self._secrets, self.files, handling, self.denials.take, self._say)

    def may_exec(self, path: str, pid: int) -> Decision:
        """Return what [exec] says of a program, its links followed, for process `pid`; a denial is counted."""
        if self.learner is not None:
            self.learner.note_exec(path)
            return Decision(allowed=True, rule="--learn", object=path, where="default", action="wrapped")
        decision = decide_exec(self.policy, path)
        if not decision.allowed:
            self.denials.take(decision, pid, "execve")
        return decision

    def denied_call(self, nr: int, pid: int) -> None:
        """The shim of process `pid` has denied a call by the policy's table: say by which line."""
        row = call_numbered(nr)
        self.denials.take(decide_call(self.policy, nr), pid, row.name if row else "")

    def expire(self) -> float | None:
        """Deny what handlers did not answer in time; return the seconds until the next time runs out."""
        served = self.__dict__.get("calls")
        return served.handling.expire() if isinstance(served, CallServer) and served.handling else None

    def _load(self, file: str) -> Sequence[tuple[Handler, frozenset[str]]]:
        """The handlers, loaded here: what they open and start at their beginning is this process's."""
        if not file:
            return ()
        from scone_preload.runtime.handling import load_handlers, never_asked  # lazy: only with handlers

        try:
            loaded = load_handlers(file)
        except SconeError as error:
            self._trouble = error
            return ()
        for names in never_asked(loaded, self.policy.calls.route):
            flags = "--route-all runtime" if "*" in names else " ".join(f"--route {name}=runtime" for name in names)
            self._say(f"handler of {', '.join(names)} is never asked: add {flags}", "notice", "warning")
        return loaded

    def check(self) -> None:
        """Raise SconeError for handlers that can't be loaded."""
        if self._trouble is not None:
            raise self._trouble


def _learner(options: Options, start: Start, say: "Say") -> "Learner":
    from scone_preload.runtime.learning import Learner  # lazy: only --learn

    learner = Learner(options.learn, say, is_told=start.is_read)
    learner.note_start(options.arguments, start.environment)
    return learner
