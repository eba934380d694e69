"""What a start needs of a policy, in a form that is read in microseconds; imports nothing heavy.

Reading a policy costs tens of milliseconds (TOML, data classes, the spec). So `plan.plan_for` makes a StartPlan once,
the launcher keeps its `dump` in the user's cache, and a warm start takes it from there if `is_current` says so. The
runtime host, which the program doesn't wait for, takes the whole policy from `policy` when it is first asked.
"""

from __future__ import annotations

import marshal
import os
from binascii import crc32

from scone_preload.policy.match import first_match

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from scone_preload.policy.paths import FileRules

PLAN_VERSION = 8
HEAD_SIZE = 12
Texts = tuple[str, ...]
Pairs = tuple[tuple[str, str], ...]
Sources = tuple[tuple[str, bytes], ...]
EnvironmentRules = tuple[str, Pairs, Texts, Texts, Texts]  # unlisted, set, pass, drop, names of secrets' sources
ArgumentRules = tuple[str, Texts, Texts]  # unlisted, fixed, allow
SecretSource = tuple[str, str, str]  # path, source, owner
VolumePlan = tuple[str, str, str, str, str, str]  # path, mode, freshness, key, host_path, bytes of cache ("0": chosen)


class StartPlan:
    """One policy, ready to start with.

    `sources` are all texts that it was made of, the preset's too; `identity` is the SHA-256 of the policy, for the
    measurement; `text` the whole policy, which `effective.parse` reads, `policy` the same for `kept.py`; `calls`
    the image for libshim; `unbuilt` what it asks for and this version can't do: then refuse to start; `unwrapped` the
    programs to name at start-up; `files` what paths are decided by; `handlers` the user's file, "" without; `secrets`
    the files that are served, and what of; `keystore` the names of those in it; `volumes` those that are shielded.
    """

    __slots__ = (
        "arguments",
        "calls",
        "environment",
        "files",
        "handlers",
        "identity",
        "keystore",
        "policy",
        "preset",
        "secrets",
        "sources",
        "text",
        "unbuilt",
        "unwrapped",
        "volumes",
    )

    def __init__(
        self,
        *,
        sources: Sources,
        preset: str,
        identity: str,
        text: bytes,
        policy: bytes,
        calls: bytes,
        environment: EnvironmentRules,
        arguments: ArgumentRules,
        files: FileRules,
        unbuilt: Texts,
        unwrapped: Texts,
        handlers: str,
        secrets: tuple[SecretSource, ...],
        keystore: Texts,
        volumes: tuple[VolumePlan, ...],
    ) -> None:
        self.sources = sources
        self.preset = preset
        self.identity = identity
        self.text = text
        self.policy = policy
        self.calls = calls
        self.environment = environment
        self.arguments = arguments
        self.files = files
        self.unbuilt = unbuilt
        self.unwrapped = unwrapped
        self.handlers = handlers
        self.secrets = secrets
        self.keystore = keystore
        self.volumes = volumes


def is_current(plan: StartPlan, sources: Sources) -> bool:
    """Return whether the plan was made of these texts: policy file, flags, the preset that it names, and whatever
    else the launcher gave to `plan_for`, such as the identity of the built libshim."""
    return plan.sources == sources


def dump_plan(plan: StartPlan) -> bytes:
    """Return the plan as bytes, for a cache that only this user can write: whoever writes it decides what holds."""
    body = marshal.dumps(tuple(getattr(plan, name) for name in StartPlan.__slots__))
    return _head(body) + body


def load_plan(raw: bytes) -> StartPlan | None:
    """Return the plan that `dump_plan` made these bytes of; None if it was another version, or they are damaged."""
    try:
        body = raw[HEAD_SIZE:]
        if raw[:HEAD_SIZE] != _head(body):  # marshal must not see damaged bytes: they can ask for any amount of memory
            return None
        return StartPlan(**dict(zip(StartPlan.__slots__, marshal.loads(body), strict=True)))
    except (ValueError, EOFError, TypeError):
        return None


def _head(body: bytes) -> bytes:
    return b"SCPL" + PLAN_VERSION.to_bytes(4, "little") + crc32(body).to_bytes(4, "little")


def variable_rule(rules: EnvironmentRules, name: str) -> tuple[str, str]:
    """Return which key decides about a variable of the host's ("secret" when one is made of it), and its item."""
    unlisted, fixed, passed, dropped, secrets = rules
    if any(name == one for one, _ in fixed):
        return "set", name
    if name in secrets:
        return "secret", name
    for key, patterns in (("drop", dropped), ("pass", passed)):
        found = first_match(patterns, name)
        if found is not None:
            return key, found
    return "unlisted", unlisted


def environment_for(rules: EnvironmentRules, given: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the variables the program gets, of those that scone-wrap was given."""
    kept = {name: value for name, value in given.items() if _is_kept(rules, os.fsdecode(name))}
    return kept | {os.fsencode(name): os.fsencode(value) for name, value in rules[1]}


def _is_kept(rules: EnvironmentRules, name: str) -> bool:
    key, item = variable_rule(rules, name)
    return key in ("pass", "set") or (key == "unlisted" and item == "pass")


def refused_argument(rules: ArgumentRules, given: Texts) -> str | None:
    """Return the first argument that the policy doesn't allow, if there is one."""
    unlisted, fixed, allowed = rules
    if fixed:
        return None if given in ((), fixed) else next((one for one in given if one not in fixed), " ".join(given))
    if unlisted == "pass":
        return None
    return next((one for one in given if first_match(allowed, one) is None), None)


def arguments_for(rules: ArgumentRules, given: Texts) -> Texts:
    """Return the arguments the program gets, when `refused_argument` has nothing against those given."""
    return rules[1] or given
