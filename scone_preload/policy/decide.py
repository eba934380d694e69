"""What a policy says about one action: pure questions with Decisions as answers.

Paths are absolute and as the program sees them, links already followed. Sockets: `sockets.py`.
"""

from posixpath import normpath

from scone_preload.policy.calls import (
    ALWAYS,
    CALL_COUNT,
    PAST_PATHS,
    call_named,
    call_numbered,
    decides_paths,
    errno_number,
    is_listed,
    route_of,
    spec_denies,
)
from scone_preload.policy.decision import EPERM, Asked, Decision
from scone_preload.policy.match import first_path_match, is_below
from scone_preload.policy.model import Policy
from scone_preload.policy.paths import LOOKED, file_rule
from scone_preload.policy.quoting import quote_list
from scone_preload.policy.rules import argument_rules, environment_rules, file_rules
from scone_preload.policy.start import refused_argument, variable_rule
from scone_preload.policy.system import PROGRAMS

O_ACCMODE, O_CREAT, O_TRUNC, O_PATH = 0o3, 0o100, 0o1000, 0o10000000


def normal(path: str) -> str:
    """Return an absolute path without ".", ".." and double slashes."""
    return "/" + normpath(path).lstrip("/")


def decide_open(policy: Policy, path: str, flags: int) -> Decision:
    """May the program open `path` with these flags of open(2)?"""
    if flags & O_PATH:
        return decide_file(policy, path, "look")
    writes = flags & O_ACCMODE or flags & (O_CREAT | O_TRUNC)
    return decide_file(policy, path, "write" if writes else "read")


def decide_file(policy: Policy, path: str, access: str) -> Decision:
    """May the program `look` at, `read`, `write` (also make, rename, remove) or `execute` (map code of) `path`?"""
    path = normal(path)
    asked = Asked(policy, f"{access} {path}")
    key, item = file_rule(file_rules(policy), path, access)
    rule = f'files.unlisted = "{policy.files.unlisted}"'
    if key == "secret":
        return _secret(asked, item, access)
    if key == "volume":
        mode = next(volume.mode for volume in policy.volumes if volume.path == item)
        return asked.yes("volume", item, action=mode if is_below(path, item) else "pass")
    if key == "root":
        return asked.yes("files.unlisted", rule="the root directory may be listed")
    if key == "unlisted":
        return asked.yes("files.unlisted", rule=rule)
    if key:
        return asked.yes(f"files.{key}", item)
    wanted = "read" if access == "look" else access
    return asked.no("files.unlisted", rule=rule, line=f"[files]\n{wanted} = {quote_list((literal(path),))}")


def _secret(asked: Asked, path: str, access: str) -> Decision:
    if access in LOOKED:
        return asked.yes("secret", path, action="secret")
    return asked.no("secret", path, remedy="secrets are for reading; serve it elsewhere, or write elsewhere")


def literal(path: str) -> str:
    """Return the pattern for one path: what would be a pattern's sign matches as any one character."""
    return path.replace("*", "?")


def decide_exec(policy: Policy, path: str) -> Decision:
    """May the program execute `path` (links followed)?"""
    path = normal(path)
    asked = Asked(policy, f"exec {path}")
    if path in policy.exec.unwrapped:
        return asked.yes("exec.unwrapped", path, action="unwrapped")
    found = first_path_match(policy.exec.programs, path)
    if found is not None:
        return asked.yes("exec.programs", found, action="wrapped")
    word = policy.exec.unlisted
    rule = f'exec.unlisted = "{word}"'
    if word == "pass" or (word == "system" and first_path_match(PROGRAMS, path) is not None):
        return asked.yes("exec.unlisted", rule=rule, action="wrapped")
    return asked.no("exec.unlisted", rule=rule, line=f"[exec]\nprograms = {quote_list((literal(path),))}")


def decide_call(policy: Policy, call: str | int) -> Decision:
    """May the program make this syscall, by name or number? `action` is its route, or `stop`."""
    found = call_named(call) if isinstance(call, str) else call_numbered(call)
    name = found.name if found else str(call)
    asked, calls = Asked(policy, f"call {name}"), policy.calls
    denied = dict(calls.deny)
    if name in denied:
        return _denied(asked.no("calls.deny", name, remedy=_take_out(policy, name)), denied[name])
    if found is None:
        remedy = f"no call of 0 to {CALL_COUNT - 1} that docs/syscalls.md lists has this name or number"
        return _denied(asked.no("calls.unlisted", rule=_unlisted_call(policy), remedy=remedy), calls.unlisted)
    if spec_denies(found):
        remedy = f"no policy can allow it: {found.deny_reason} (docs/syscalls.md)"
        return asked.no("the boundary", errno=found.deny_errno, remedy=remedy)
    if not is_listed(calls, name):
        no = asked.no("calls.unlisted", rule=_unlisted_call(policy), line=f"[calls]\nallow = {quote_list((name,))}")
        return _denied(no, calls.unlisted)
    if name in PAST_PATHS and decides_paths(policy):
        return asked.no("files.unlisted", errno=EPERM, remedy="it opens files past their paths; open them by path")
    return _allowed_call(asked, name, route_of(calls, found))


def _allowed_call(asked: Asked, name: str, route: str) -> Decision:
    calls = asked.policy.calls
    routed = next((one for one in (name, "*") if one in dict(calls.route)), "")
    if routed:
        return asked.yes("calls.route", routed, action=route)
    if name in calls.allow:
        return asked.yes("calls.allow", name, action=route)
    if calls.allow and name in ALWAYS:
        return asked.yes("calls", rule="calls that are always allowed", action=route)
    return asked.yes("calls.allow", rule="calls.allow, which is empty", action=route)


def _unlisted_call(policy: Policy) -> str:
    return f'calls.unlisted = "{policy.calls.unlisted}"'


def _take_out(policy: Policy, name: str) -> str:
    return f"to allow it, take {name} out of {policy.place('calls.deny', name)}"


def _denied(decision: Decision, word: str) -> Decision:
    return decision.replaced(action="stop") if word == "stop" else decision.replaced(errno=errno_number(word))


def decide_variable(policy: Policy, name: str) -> Decision:
    """Does the program get this variable of the host's environment?"""
    asked = Asked(policy, f"variable {name}")
    key, item = variable_rule(environment_rules(policy), name)
    if key == "secret":
        path = next(secret.path for secret in policy.secrets if secret.source == f"env:{name}")
        return asked.no("secret", path, errno=0, remedy=f"the program gets it as {path}")
    if key == "unlisted":
        rule = f'environment.unlisted = "{item}"'
        if item == "pass":
            return asked.yes("environment.unlisted", rule=rule)
        return asked.no("environment.unlisted", rule=rule, line=f"[environment]\npass = {quote_list((name,))}")
    if key == "drop":
        return asked.no("environment.drop", item)
    return asked.yes(f"environment.{key}", item, action=key)


def decide_arguments(policy: Policy, arguments: tuple[str, ...]) -> Decision:
    """May the program be started with these arguments (without its name)?"""
    asked = Asked(policy, f"arguments {' '.join(arguments)}".rstrip())
    refused = refused_argument(argument_rules(policy), arguments)
    if policy.arguments.fixed:
        remedy = f"leave them out, or change {policy.place('arguments.fixed')}"
        return asked.yes("arguments.fixed") if refused is None else asked.no("arguments.fixed", remedy=remedy)
    rule = f'arguments.unlisted = "{policy.arguments.unlisted}"'
    if refused is None:
        return asked.yes("arguments.unlisted", rule=rule)
    asked = Asked(policy, f"argument {refused}")
    line = f"[arguments]\nallow = {quote_list((literal(refused),))}"
    return asked.no("arguments.unlisted", rule=rule, errno=EPERM, line=line)
