"""The syscalls of a policy: their names from the spec, and the table by which libshim routes and denies them.

The table is 512 entries of 4 bytes, by number, little endian: `u8 route, u8 reserved 0, u16 errno`. Routes 0 to 3 are
`enum call_route` of libshim/enclave/shape.h; 4 stops the enclave. docs/policy.md has worked bytes.
"""

import errno
import struct
from functools import cache

from scone_preload.policy.model import Calls, Policy
from scone_preload.spec import load
from scone_preload.spec.model import Call, Route

CALL_COUNT = 512
ENTRY = struct.Struct("<BBH")
ROUTE_DENY, ROUTE_INSIDE, ROUTE_RUNTIME, ROUTE_HOST, ROUTE_STOP = range(5)
BY_WORD = {"inside": ROUTE_INSIDE, "runtime": ROUTE_RUNTIME, "host": ROUTE_HOST}
BY_SPEC = {Route.INSIDE: "inside", Route.RUNTIME: "runtime", Route.HOST: "host"}
# Without these no program can end, or come back from a signal: they are always allowed.
ALWAYS = frozenset({"exit", "exit_group", "rt_sigreturn", "restart_syscall"})
PAST_PATHS = frozenset({"open_by_handle_at"})  # open a file without its path: not where paths are decided about


@cache
def _by_name() -> dict[str, Call]:
    return {call.name: call for call in load().calls}


@cache
def _by_number() -> dict[int, Call]:
    return {call.nr: call for call in load().calls}


def call_named(name: str) -> Call | None:
    """Return the syscall of this name, if there is one."""
    return _by_name().get(name)


def call_numbered(number: int) -> Call | None:
    """Return the syscall of this number, if there is one."""
    return _by_number().get(number)


def call_names() -> tuple[str, ...]:
    """Return the names of all syscalls, by number."""
    return tuple(_by_name())


def decides_paths(policy: Policy) -> bool:
    """Return whether some path may be refused, or is served by the runtime."""
    return policy.files.unlisted != "pass" or bool(policy.secrets)


def spec_denies(call: Call) -> bool:
    """Return whether no policy can allow this call."""
    return call.route is Route.DENY


def route_of(calls: Calls, call: Call) -> str:
    """Return where an allowed call goes: inside, runtime or host."""
    routes = dict(calls.route)
    return routes.get(call.name) or routes.get("*") or BY_SPEC[call.route]


def is_listed(calls: Calls, name: str) -> bool:
    """Return whether [calls] leaves `name` allowed, before its denials."""
    return not calls.allow or name in calls.allow or name in ALWAYS


def compile_calls(calls: Calls) -> bytes:
    """Return the table for libshim: 2048 bytes."""
    denied = dict(calls.deny)
    return b"".join(_entry(calls, denied, call_numbered(number)) for number in range(CALL_COUNT))


def _entry(calls: Calls, denied: dict[str, str], call: Call | None) -> bytes:
    if call is None:
        return _denial(calls.unlisted)
    if call.name in denied:
        return _denial(denied[call.name])
    if spec_denies(call):
        return ENTRY.pack(ROUTE_DENY, 0, call.deny_errno or errno.ENOSYS)
    if not is_listed(calls, call.name):
        return _denial(calls.unlisted)
    return ENTRY.pack(BY_WORD[route_of(calls, call)], 0, 0)


def _denial(word: str) -> bytes:
    if word == "stop":
        return ENTRY.pack(ROUTE_STOP, 0, 0)
    return ENTRY.pack(ROUTE_DENY, 0, errno_number(word))


def errno_number(name: str) -> int:
    """Return the number of an errno by its name."""
    return next(number for number, word in errno.errorcode.items() if word == name)
