"""The policy of one start: from --policy, --preset and the other flags to a StartPlan, and back to the whole Policy.

Reading a policy imports much and costs a tenth of a second, so the plan is kept in the user's cache, under a number
made of what was given; it is taken from there only if every text that it was made of is the same, byte for byte.
"""

from __future__ import annotations

import os
from binascii import crc32

from scone_preload.build.warm import objects_id
from scone_preload.elf.rewritten import read_record
from scone_preload.errors import PolicyDenied, UserError
from scone_preload.paths import ROOT, cache_directories, is_trusted
from scone_preload.policy.start import (
    arguments_for,
    dump_plan,
    environment_for,
    is_current,
    load_plan,
    refused_argument,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from scone_preload.options import Options
    from scone_preload.policy.document import Source
    from scone_preload.policy.model import Policy
    from scone_preload.policy.start import Sources, StartPlan

POLICY_MAX = 1 << 20
# The code that a kept policy is read by.
MODEL = tuple(f"{ROOT}/scone_preload/{name}.py" for name in ("policy/model", "policy/problem", "frozen"))


def start_plan(options: Options, environment: Mapping[bytes, bytes]) -> StartPlan | None:
    """Return the plan of this start, None where no option asks for a policy; raises SconeError."""
    if not options.policy and not options.flags:
        return None
    cwd = os.getcwd()
    given = _given(options, cwd)
    for directory in cache_directories(environment):
        file = _plan_file(directory, given)
        plan = load_plan(_read_bytes(file)) if is_trusted(directory) else None
        if plan is not None and is_current(plan, _sources(given, plan.preset)):
            return plan
    return _made(options, cwd, given, environment)


def _given(options: Options, cwd: str) -> Sources:
    """What was given, in bytes: the policy's file, and the flags with what relative paths in them start from."""
    flags = repr((options.flags, cwd if options.flags else "")).encode(errors="surrogateescape")
    policy = (_policy_text(options.policy),) if options.policy else ()
    return (*policy, ("", flags))


def _policy_text(path: str) -> tuple[str, bytes]:
    """Return what its lines are named by, and the text of a policy: of a file, or of a rewritten program."""
    try:
        with open(path, "rb") as file:
            text = file.read(POLICY_MAX + 1)
    except OSError as error:
        raise UserError("policy can't be read", path, f"{error.strerror}; check the path") from None
    if text.startswith(b"\x7fELF"):
        return f"policy in {path}", _embedded(path)
    if len(text) > POLICY_MAX:
        raise UserError("policy is too large", path, f"at most {POLICY_MAX} bytes")
    return path, text


def _embedded(path: str) -> bytes:
    try:
        record = read_record(path)
    except (OSError, ValueError) as error:
        raise UserError("policy in a rewritten program can't be read", path, f"{error}; rewrite it again") from None
    if record is None or record.policy is None:
        raise UserError("program without a policy in it", path, "name a scone.toml")
    return record.policy


def _sources(given: Sources, preset: str) -> Sources:
    from scone_preload.policy.presets import preset_path  # lazy: light, but only a start with a policy needs it

    text = _read_bytes(preset_path(preset)) if preset else b""
    code = tuple((name, str(os.stat(name).st_mtime_ns).encode()) for name in MODEL)
    return (*given, (preset, text), ("libshim", objects_id().encode()), *code)


def _plan_file(directory: str, given: Sources) -> str:
    names = b"\0".join(os.fsencode(name) + (text if not name else b"") for name, text in given)
    return f"{directory}/plans/{crc32(names):08x}"


def _made(options: Options, cwd: str, given: Sources, environment: Mapping[bytes, bytes]) -> StartPlan:
    from scone_preload.cache import open_cache, write_atomically  # lazy, as all below: only when the policy is new
    from scone_preload.policy.plan import plan_for  # lazy: see above

    policy, preset = policy_of(options, cwd)
    plan = plan_for(policy, sources=_sources(given, preset), preset=preset)
    cache, _ = open_cache(environment)
    if cache is not None:
        from contextlib import suppress  # lazy: see above
        from pathlib import Path

        with suppress(OSError):  # a full disk costs time at the next start, nothing else
            write_atomically(Path(_plan_file(str(cache.directory), given)), dump_plan(plan))
    return plan


def policy_of(options: Options, cwd: str) -> tuple[Policy, str]:
    """Return the whole policy that the options ask for, and the name of the preset in it; raises SconeError."""
    from scone_preload.policy.document import Source  # lazy: only when the policy is new, or to be shown
    from scone_preload.policy.effective import effective
    from scone_preload.policy.presets import preset_path

    asked: list[str] = []

    def preset(name: str) -> Source:
        asked.append(name)
        return Source(preset_path(name), _policy_text(preset_path(name))[1])

    file = Source(*_policy_text(options.policy)) if options.policy else None
    policy = effective(file, options.flags, cwd=cwd, preset=preset)
    return policy, asked[-1] if asked else ""


def check_unbuilt(plan: StartPlan) -> None:
    """Raise PolicyDenied where the policy asks for what this version can't do."""
    if plan.unbuilt:
        raise PolicyDenied(
            "this version can't shield that yet, and nothing runs unprotected",
            "; ".join(plan.unbuilt),
            "leave it out if it may cross in the clear",
        )


def check_plan(plan: StartPlan, options: Options) -> None:
    """Raise PolicyDenied where the policy asks for what this version can't do, or forbids an argument."""
    check_unbuilt(plan)
    if refused_argument(plan.arguments, options.arguments) is not None:
        from scone_preload.policy.decide import decide_arguments  # lazy: only to say why
        from scone_preload.policy.kept import kept

        raise decide_arguments(kept(plan.policy), options.arguments).error()


def policed(
    plan: StartPlan, arguments: tuple[str, ...], environment: dict[bytes, bytes]
) -> tuple[tuple[str, ...], dict[bytes, bytes]]:
    """Return the arguments and the environment that the policy gives the program."""
    return arguments_for(plan.arguments, arguments), environment_for(plan.environment, environment)


def _read_bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
