"""A start under a policy, the launcher's part: checks before anything runs, and what the runtime host is handed.

Imported only when there is a policy; the plan comes from the cache, so that this stays cheap.
"""

from __future__ import annotations

import os

from scone_preload.build.warm import find_pins, pin
from scone_preload.errors import UserError
from scone_preload.runtime.policies import check_plan, policed, start_plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from scone_preload.options import Options
    from scone_preload.policy.start import StartPlan


class Start:
    """What the launcher hands to the host beside the options; `environment` is scone-wrap's own, for secrets."""

    __slots__ = ("cwd", "environment", "handlers", "nonce", "pid", "pins", "plan")

    def __init__(self, plan: StartPlan, nonce: int, environment: Mapping[bytes, bytes]) -> None:
        self.plan = plan
        self.nonce = nonce
        self.environment = environment
        self.cwd = os.getcwd()
        self.pid = os.getpid()
        self.pins: tuple[str, ...] = ()
        self.handlers = ""  # their file

    def pin(self, path: str, shim: str, environment: Mapping[bytes, bytes]) -> None:
        """Note what the program's image may map: what its analysis found, and the shim."""
        self.pins = (*find_pins(path, environment), pin(shim))


def prepare(
    options: Options, path: str, environment: dict[bytes, bytes], nonce: int
) -> tuple[Start, dict[bytes, bytes]]:
    """Return what the host needs, and the environment that the program gets; raises SconeError before anything runs."""
    plan = _watching_plan(options) if options.learn else start_plan(options, environment)
    assert plan is not None
    check_plan(plan, options.arguments)
    start = Start(plan, nonce, environment)
    if b"handlers" in plan.text:
        start.handlers = _handlers(options)
    for program in plan.unwrapped:
        os.write(2, f"scone-wrap: the policy lets {program} run unwrapped: nothing of it is shielded\n".encode())
    options.arguments, given = policed(plan, options.arguments, environment)
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


def _handlers(options: Options) -> str:
    """The file of the handlers, which the host loads; what is no Python is found here, before anything runs."""
    from scone_preload.runtime.handling import check_handlers  # lazy: only with handlers
    from scone_preload.runtime.policies import policy_of

    file = policy_of(options, os.getcwd())[0].handlers.file
    if file:
        check_handlers(file)
    return file
