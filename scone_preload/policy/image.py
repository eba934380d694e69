"""A policy as libshim takes it (libshim/wire/policy.h): which calls are denied, asked about, or go on.

The table of `calls.compile_calls` says what [calls] says. Where it leaves a call to the host, the other tables may want
it asked about: paths when [files], secrets or volumes decide, socket addresses when [network] does.
"""

import struct
from collections.abc import Iterable
from os import fsencode

from scone_preload.policy.access import BINDS, CONNECTS, ROUTE_PATHS, access_bit
from scone_preload.policy.calls import (
    CALL_COUNT,
    ENTRY,
    PAST_PATHS,
    ROUTE_DENY,
    ROUTE_HOST,
    ROUTE_STOP,
    call_numbered,
    compile_calls,
    decides_paths,
)
from scone_preload.policy.decision import EPERM
from scone_preload.policy.model import Policy
from scone_preload.spec.model import ArgKind, Call

MAGIC, VERSION = 0x4C4F5053, 1
HEAD = struct.Struct("<IHHII")
ANSWER = struct.Struct("<BBH")
ROUTE_ADDRESS = 6

EXECS = frozenset({"execve", "execveat"})  # a question of their own decides about them
ADDRESSED = frozenset({ArgKind.IN_SOCKADDR, ArgKind.MSG_IN, ArgKind.MSGS_IN})


def policy_image(policy: Policy, known: Iterable[tuple[str, int, bool]] = ()) -> bytes:
    """Return the image: 16 bytes of head, 4 for each call number, then the paths that need not be asked about, as
    `known.known_paths` returns them."""
    table = compile_calls(policy.calls)
    asks_paths, asks_addresses = decides_paths(policy), decides_addresses(policy)
    entries = []
    for nr in range(CALL_COUNT):
        route, access, error = ENTRY.unpack_from(table, nr * ENTRY.size)
        call = call_numbered(nr)
        if route == ROUTE_HOST and call is not None:
            route, access = _asked(call, asks_paths=asks_paths, asks_addresses=asks_addresses)
        if asks_paths and call is not None and call.name in PAST_PATHS and route not in (ROUTE_DENY, ROUTE_STOP):
            route, error = ROUTE_DENY, EPERM
        entries.append(ENTRY.pack(route, access, error))
    answers = [_answer(*one) for one in known] if asks_paths else []
    body = b"".join((*entries, *answers))
    return HEAD.pack(MAGIC, VERSION, 0, HEAD.size + len(body), len(answers)) + body


def _answer(path: str, access: int, below: bool) -> bytes:
    raw = fsencode(path)
    return ANSWER.pack(access, below, len(raw)) + raw


def decides_addresses(policy: Policy) -> bool:
    """Return whether some socket may be refused."""
    network = policy.network
    return network.unlisted != "pass" or any(rule.shield != "pass" for rule in (*network.listen, *network.connect))


def _asked(call: Call, *, asks_paths: bool, asks_addresses: bool) -> tuple[int, int]:
    if asks_paths and call.name not in EXECS and any(arg.is_path for arg in call.args):
        return ROUTE_PATHS, access_bit(call.name)
    if asks_addresses and any(arg.kind in ADDRESSED for arg in call.args):
        return ROUTE_ADDRESS, BINDS if call.name == "bind" else CONNECTS
    return ROUTE_HOST, 0
