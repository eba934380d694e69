"""A policy as libshim takes it (libshim/wire/policy.h): which calls are denied, asked about, or go on.

The table of `calls.compile_calls` says what [calls] says. Where it leaves a call to the host, the other tables may want
it asked about: paths when [files], secrets or volumes decide, socket addresses when [network] does. Paths that [files]
names without signs of a pattern are answered in advance, so that a start need not ask; a directory with a secret in it
is not. They hold as the program writes them, while questions are answered for where links lead.
"""

import struct
from os import O_ACCMODE, O_CREAT, O_PATH, O_TRUNC, fsencode

from scone_preload.policy.calls import CALL_COUNT, ENTRY, ROUTE_HOST, call_numbered, compile_calls
from scone_preload.policy.match import is_below, is_pattern
from scone_preload.policy.model import Policy
from scone_preload.policy.system import READABLE, WRITABLE
from scone_preload.spec.model import ArgKind, Call

MAGIC, VERSION = 0x4C4F5053, 1
HEAD = struct.Struct("<IHHII")
ANSWER = struct.Struct("<BBH")
PATH_MAX = 250  # of an answer that the shim keeps
ROUTE_PATHS, ROUTE_ADDRESS = 5, 6
LOOKS, READS, WRITES, OPENS, CONNECTS, BINDS = (1 << bit for bit in range(6))

OPEN = frozenset({"open", "openat", "openat2", "creat"})
LOOK = frozenset({
    "stat", "lstat", "newfstatat", "statx", "access", "faccessat", "faccessat2", "readlink", "readlinkat", "statfs",
    "chdir", "getxattr", "lgetxattr", "listxattr", "llistxattr", "inotify_add_watch", "name_to_handle_at",
    "file_getattr", "getxattrat", "listxattrat", "statmount",
})  # fmt: skip
# A path that is none of the file tree, or that exec's own question decides about.
NO_PATH = frozenset({"memfd_create", "execve", "execveat", "sethostname", "setdomainname", "init_module", "add_key",
                     "request_key", "delete_module", "fsconfig", "fsopen"})  # fmt: skip
ADDRESSED = frozenset({ArgKind.IN_SOCKADDR, ArgKind.MSG_IN, ArgKind.MSGS_IN})


def policy_image(policy: Policy) -> bytes:
    """Return the image: 16 bytes of head, then 4 for each call number."""
    table = compile_calls(policy.calls)
    asks_paths, asks_addresses = decides_paths(policy), decides_addresses(policy)
    entries = []
    for nr in range(CALL_COUNT):
        route, access, error = ENTRY.unpack_from(table, nr * ENTRY.size)
        call = call_numbered(nr)
        if route == ROUTE_HOST and call is not None:
            route, access = _asked(call, asks_paths=asks_paths, asks_addresses=asks_addresses)
        entries.append(ENTRY.pack(route, access, error))
    answers = [_answer(*one) for one in answered(policy)] if asks_paths else []
    body = b"".join((*entries, *answers))
    return HEAD.pack(MAGIC, VERSION, 0, HEAD.size + len(body), len(answers)) + body


def _answer(path: str, access: int, below: bool) -> bytes:
    raw = fsencode(path)
    return ANSWER.pack(access, below, len(raw)) + raw


def answered(policy: Policy) -> list[tuple[str, int, bool]]:
    """Return what need not be asked about: path, access, and whether it holds for all below."""
    files = policy.files
    if files.unlisted == "pass":
        return []
    found: dict[tuple[str, bool], int] = {}
    system = files.unlisted == "system"
    readable = (*files.read, *files.execute, *(READABLE if system else ()))
    writable = (*files.write, *(WRITABLE if system else ()))
    for patterns, access in ((readable, LOOKS | READS), (writable, LOOKS | READS | WRITES)):
        for pattern in patterns:
            key = (pattern.rstrip("/") or "/", pattern.endswith("/"))
            if not is_pattern(pattern) and len(fsencode(pattern)) <= PATH_MAX and not _holds_secret(policy, *key):
                found[key] = found.get(key, 0) | access
    ways = {parent for path, _ in found for parent in _parents(path)}
    for parent in sorted(ways):
        found.setdefault((parent, False), LOOKS)
    return [(path, access, below) for (path, below), access in found.items()]


def _holds_secret(policy: Policy, path: str, below: bool) -> bool:
    return any(is_below(one.path, path) if below else one.path == path for one in policy.secrets)


def _parents(path: str) -> list[str]:
    """The directories on the way to a path: realpath() looks at each."""
    names = path.split("/")[1:-1]
    return ["/", *("/" + "/".join(names[:count]) for count in range(1, len(names) + 1))]


def decides_paths(policy: Policy) -> bool:
    """Return whether some path may be refused, or is served by the runtime."""
    return policy.files.unlisted != "pass" or bool(policy.secrets)


def decides_addresses(policy: Policy) -> bool:
    """Return whether some socket may be refused."""
    network = policy.network
    return network.unlisted != "pass" or any(rule.shield != "pass" for rule in (*network.listen, *network.connect))


def _asked(call: Call, *, asks_paths: bool, asks_addresses: bool) -> tuple[int, int]:
    if asks_paths and call.name not in NO_PATH and any(arg.kind is ArgKind.PATH for arg in call.args):
        return ROUTE_PATHS, access_bit(call.name)
    if asks_addresses and any(arg.kind in ADDRESSED for arg in call.args):
        return ROUTE_ADDRESS, BINDS if call.name == "bind" else CONNECTS
    return ROUTE_HOST, 0


def access_bit(name: str) -> int:
    """Return what a call does with its path, as a bit; what is not known counts as writing."""
    return OPENS if name in OPEN else LOOKS if name in LOOK else WRITES


def access_word(name: str, flags: int) -> str:
    """Return the same as decide_file's word; `flags` are those of open(2)."""
    bit = access_bit(name)
    if bit == OPENS:
        bit = _opened(name, flags)
    return {LOOKS: "look", READS: "read", WRITES: "write"}[bit]


def _opened(name: str, flags: int) -> int:
    if flags & O_PATH:
        return LOOKS
    return WRITES if name == "creat" or flags & (O_ACCMODE | O_CREAT | O_TRUNC) else READS
