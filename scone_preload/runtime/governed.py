"""A start under a policy, the launcher's part: checks before anything runs, and what the runtime host is handed.

Imported only when there is a policy; the plan comes from the cache, so that this stays cheap.
"""

from __future__ import annotations

import os

from scone_preload.build.warm import find_pins, pin
from scone_preload.errors import UserError
from scone_preload.log import LOG
from scone_preload.runtime.images import Images
from scone_preload.runtime.policies import check_plan, policed, start_plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scone_preload.log import Fact, Say
    from scone_preload.options import Options
    from scone_preload.policy.start import StartPlan
    from scone_preload.runtime.governing import Governor
    from scone_preload.runtime.maintaining import HeldVolume
    from scone_preload.runtime.wire import Kept


class Start:
    """What the launcher hands to the host beside the options; `environment` is scone-wrap's own, for secrets, `kept`
    are those of the keystore by name; `is_read` says whether somebody reads notices: a terminal, or a log; `volumes`
    are mounted."""

    __slots__ = ("cwd", "environment", "handlers", "is_read", "kept", "nonce", "pid", "pins", "plan", "volumes")

    def __init__(self, plan: StartPlan, nonce: int, environment: Mapping[bytes, bytes]) -> None:
        self.plan = plan
        self.nonce = nonce
        self.environment = environment
        self.cwd = os.getcwd()
        self.pid = os.getpid()
        self.pins: tuple[str, ...] = ()
        self.handlers = ""  # their file
        self.kept: dict[str, bytes] = {}
        self.is_read = False
        self.volumes: list[HeldVolume] = []

    def pin(self, path: str, shim: str, environment: Mapping[bytes, bytes]) -> None:
        """Note what the program's image may map: what its analysis found, and the shim."""
        self.pins = (*find_pins(path, environment), pin(shim))


class Authority:
    """The policy of one tree of processes, in the runtime host: who gets it, and, once it is asked, what it says."""

    def __init__(self, options: Options, start: Start) -> None:
        self._options = options
        self._start = start
        self._governor: Governor | None = None
        self.say: Say = LOG.say
        self.images = Images(start.plan.calls, self._kept, strict=self._is_strict, ready=self._ready)
        self.images.expect(start.pid, start.pins, start.nonce)
        self.images.volumes = tuple(one.packet() for one in start.volumes)
        if start.plan.secrets or start.volumes:
            _hide(start)

    @property
    def governor(self) -> Governor:
        """What decides and answers; made when it is first wanted."""
        if self._governor is None:
            from scone_preload.runtime.governing import Governor  # lazy: the program would wait for its imports

            self._governor = Governor(self._options, self._start, self._tell)
        return self._governor

    @property
    def volumes(self) -> Sequence[HeldVolume]:
        """Those that the launcher mounted, or joined."""
        return self._start.volumes

    @property
    def answers_first(self) -> bool:
        """May the first HELLO be answered before anything is imported? Not where handlers have their say in it."""
        return not self._start.handlers

    @property
    def answers_simple(self) -> bool:
        """May what the policy's lists allow be answered by them alone? Not where each question is noted."""
        return not self._options.learn

    def expire(self) -> float | None:
        """See Governor.expire."""
        return self._governor.expire() if self._governor else None

    def _tell(self, text: str, kind: str = "message", level: str = "info", **facts: Fact) -> None:
        self.say(text, kind, level, **facts)

    def _is_strict(self) -> bool:
        return not self._options.learn and self.governor.policy.exec.unlisted == "refuse"

    def _ready(self) -> None:
        if self._start.handlers:
            self.governor.check()

    def _kept(self, files: Sequence[Kept]) -> tuple[int, list[bytes]]:
        return self.governor.files.packets(files) if files else (0, [])


def _hide(start: Start) -> None:
    """Keep what secrets are made of out of core dumps, and out of this process's own /proc/PID/environ."""
    from scone_preload.keys.memory import forbid_dumps, forget_variables  # lazy: ctypes

    forget_variables(start.environment, {os.fsencode(name) for name in start.plan.environment[4]})
    forbid_dumps()


def prepare(
    options: Options, path: str, environment: dict[bytes, bytes], nonce: int
) -> tuple[Start, dict[bytes, bytes]]:
    """Return what the host needs, and the environment that the program gets; raises SconeError before anything runs."""
    plan = _watching_plan(options) if options.learn else start_plan(options, environment)
    assert plan is not None
    check_plan(plan, options)
    is_read = options.has_own_log or (not options.quiet and os.isatty(2))
    options.sums_up |= not options.learn and is_read
    if plan.secrets:
        from scone_preload.runtime.sources import check_secrets  # lazy: only with secrets

        check_secrets(plan.secrets, environment)
    start = Start(plan, nonce, environment)
    start.is_read = is_read
    if plan.handlers:
        from scone_preload.runtime.handling import check_handlers  # lazy: only with handlers

        check_handlers(plan.handlers)  # what is no Python is found here, before anything runs; the host loads them
        start.handlers = plan.handlers
    for program in plan.unwrapped:
        LOG.write(f"the policy lets {program} run unwrapped: nothing of it is shielded", "notice", "warning")
    options.arguments, given = policed(plan, options.arguments, environment)
    if plan.keystore or plan.volumes:
        from scone_preload.runtime.unlocking import unlock  # lazy: `cryptography` costs 20 ms

        private = unlock(start)
        given = {name: value for name, value in given.items() if name not in private}
    return start, given


def _watching_plan(options: Options) -> StartPlan:
    """The plan of --learn: everything is asked about, and nothing refused."""
    if options.policy or options.flags:
        raise UserError("--learn watches without a policy", "--learn", "leave out --policy and what belongs to it")
    from scone_preload.policy.effective import parse  # lazy: only --learn
    from scone_preload.policy.plan import plan_for
    from scone_preload.runtime.learning import WATCHING

    options.learn = os.path.abspath(options.learn)
    return plan_for(parse(WATCHING), sources=())
