"""What a start needs of a policy, in a form that is read in microseconds; imports nothing heavy.

Reading a policy costs tens of milliseconds (TOML, data classes, the spec), so `plan_for` (effective.py's side) is made
once and kept in the user's cache under `plan_key`; a warm start reads it with `load_plan`. The runtime host, which the
program doesn't wait for, reads the whole policy from `plan.text` when it is first asked.
"""

import marshal
from collections.abc import Iterable, Mapping

from scone_preload.errors import PolicyDenied
from scone_preload.policy.match import first_match

PLAN_VERSION = 1
Pairs = tuple[tuple[str, str], ...]


class StartPlan:
    """One policy, ready to start with.

    `identity` is the SHA-256 of the policy for the measurement; `calls` the table for libshim; `preset` and
    `preset_digest` name the preset that went in; `unbuilt` lists what this version can't do yet: refuse to start.
    """

    __slots__ = (
        "arguments_allow", "arguments_fixed", "arguments_unlisted", "calls", "environment_drop", "environment_pass",
        "environment_set", "environment_unlisted", "identity", "preset", "preset_digest", "text", "unbuilt",
        "unwrapped",
    )  # fmt: skip

    def __init__(
        self,
        *,
        identity: str,
        text: str,
        calls: bytes,
        environment_unlisted: str,
        environment_set: Pairs,
        environment_pass: tuple[str, ...],
        environment_drop: tuple[str, ...],
        arguments_unlisted: str,
        arguments_fixed: tuple[str, ...],
        arguments_allow: tuple[str, ...],
        unbuilt: tuple[str, ...],
        unwrapped: tuple[str, ...],
        preset: str = "",
        preset_digest: str = "",
    ) -> None:
        self.identity = identity
        self.text = text
        self.calls = calls
        self.environment_unlisted = environment_unlisted
        self.environment_set = environment_set
        self.environment_pass = environment_pass
        self.environment_drop = environment_drop
        self.arguments_unlisted = arguments_unlisted
        self.arguments_fixed = arguments_fixed
        self.arguments_allow = arguments_allow
        self.unbuilt = unbuilt
        self.unwrapped = unwrapped
        self.preset = preset
        self.preset_digest = preset_digest
