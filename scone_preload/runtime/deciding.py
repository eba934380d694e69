"""What the policy says of a call that a shim asks about: refused with its reason, allowed for how much, or a secret.

Paths come absolute, but with links; they are followed here as the process would follow them, so that a link can't lead
past a rule. What a decision covers besides is told to the shim: a directory without a more exact rule below it needs no
second question.
"""

import os
import pwd
import socket
from collections.abc import Iterator
from ipaddress import ip_address

from scone_preload.policy.decide import decide_call, decide_file
from scone_preload.policy.decision import Decision
from scone_preload.policy.image import access_word, decides_addresses, decides_paths
from scone_preload.policy.match import first_path_match, is_below, is_pattern
from scone_preload.policy.model import Policy, Secret
from scone_preload.policy.sockets import Socket, decide_bind, decide_connect
from scone_preload.policy.system import READABLE, WRITABLE
from scone_preload.runtime import wire
from scone_preload.spec.model import Call as Row

AT_SYMLINK_NOFOLLOW, O_NOFOLLOW = 0x100, 0o400000
NOFOLLOW_CALLS = frozenset({"lstat", "readlink", "readlinkat", "unlink", "unlinkat", "rename", "renameat", "renameat2",
                            "symlink", "symlinkat", "link", "linkat", "rmdir", "lchown", "mkdir", "mkdirat"})  # fmt: skip
FLAGS_ARG = {"open": 1, "openat": 2, "newfstatat": 3, "statx": 2, "faccessat2": 3, "fchownat": 4, "utimensat": 3}
SOCK_DGRAM = 2


def open_flags(row: Row, message: wire.Call) -> int:
    """Return the flags of open(2) in this call, 0 where it has none."""
    if row.name == "openat2":
        return int.from_bytes(message.strings.get(2, b"")[:8], "little")
    return message.args[FLAGS_ARG[row.name]] & 0xFFFFFFFF if row.name in ("open", "openat") else 0


def path_decision(policy: Policy, row: Row, message: wire.Call, pid: int) -> Decision | None:
    """Return what [files], volumes and secrets say of the call's path; None where it has none or nobody decides."""
    raw = message.strings.get(wire.ABOUT_PATH)
    if raw is None or not decides_paths(policy):
        return None
    path = resolved(os.fsdecode(raw), pid, follows=follows_last(row, message))
    return decide_file(policy, path, access_word(row.name, open_flags(row, message)))


def follows_last(row: Row, message: wire.Call) -> bool:
    """Does the call follow a link that its path ends in?"""
    if row.name in NOFOLLOW_CALLS:
        return False
    at = FLAGS_ARG.get(row.name)
    flags = 0 if at is None else message.args[at]
    return not flags & (O_NOFOLLOW if row.name in ("open", "openat") else AT_SYMLINK_NOFOLLOW)


def resolved(path: str, pid: int, *, follows: bool) -> str:
    """Return a path with its links followed, as process `pid` sees them."""
    root = f"/proc/{pid}/root"
    if _is_ours(root):
        root = ""
    folder, _, name = path.rpartition("/")
    whole = path if follows else folder or "/"
    real = os.path.realpath(f"{root}{whole}")
    if root and real.startswith(os.path.realpath(root)):
        real = real[len(os.path.realpath(root)) :] or "/"
    return real if follows else f"{real.rstrip('/')}/{name}"


def _is_ours(root: str) -> bool:
    try:
        theirs, ours = os.stat(root), os.stat("/")
    except OSError:
        return True
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def scope(policy: Policy, path: str, word: str) -> tuple[str, bool]:
    """Return the widest directory that holds `path`, all of it allowed for this access (and True); else the path."""
    for folder in _ancestors(path):
        if _is_open(policy, folder, word) and not _has_rules_below(policy, folder):
            return folder, True
    return path, False


def _ancestors(path: str) -> Iterator[str]:
    yield "/"
    at = 1
    while (at := path.find("/", at)) > 0:
        yield path[:at]
        at += 1


def _is_open(policy: Policy, folder: str, word: str) -> bool:
    files = policy.files
    if files.unlisted == "pass":
        return True
    lists = {"look": (*files.read, *files.write, *files.execute), "read": (*files.read, *files.write, *files.execute),
             "write": files.write}[word]  # fmt: skip
    if files.unlisted == "system":
        lists += WRITABLE if word == "write" else READABLE + WRITABLE
    whole = tuple(pattern for pattern in lists if pattern.endswith("/") and not is_pattern(pattern))
    return first_path_match(whole, folder) is not None


def _has_rules_below(policy: Policy, folder: str) -> bool:
    """Whether some path below is decided otherwise: a secret's."""
    return any(is_below(secret.path, folder) for secret in policy.secrets)


def address_decision(policy: Policy, row: Row, message: wire.Call, pid: int) -> Decision | None:
    """Return what [network] says of the call's address; None where it names none, or one of no network."""
    raw = message.strings.get(wire.ABOUT_ADDRESS)
    if raw is None or not decides_addresses(policy):
        return None
    end = socket_of(raw, protocol_of(pid, message.args[0] & 0xFFFFFFFF))
    if end is None:
        return None
    return decide_bind(policy, end) if row.name == "bind" else decide_connect(policy, end)


def socket_of(raw: bytes, protocol: str) -> Socket | None:
    """Return the end that a socket address names; None for families that no rule is about (netlink, AF_UNSPEC)."""
    family = int.from_bytes(raw[:2], "little")
    port = int.from_bytes(raw[2:4], "big")
    if family == socket.AF_INET and len(raw) >= 8:
        return Socket(protocol=protocol, address=str(ip_address(raw[4:8])), port=port)
    if family == socket.AF_INET6 and len(raw) >= 24:
        address = ip_address(raw[8:24])
        return Socket(protocol=protocol, address=str(getattr(address, "ipv4_mapped", None) or address), port=port)
    if family == socket.AF_UNIX and len(raw) > 2:
        name = raw[2:]
        text = "@" + os.fsdecode(name[1:]) if name[:1] == b"\0" else os.fsdecode(name.split(b"\0")[0])
        return Socket(address=f"unix:{text}")
    return None


def protocol_of(pid: int, fd: int) -> str:
    """Return "udp" for a datagram socket of the process, as far as the kernel lets us look; else "tcp"."""
    try:
        inode = os.readlink(f"/proc/{pid}/fd/{fd}").removeprefix("socket:[").removesuffix("]")
        for table in ("udp", "udp6"):
            with open(f"/proc/{pid}/net/{table}", encoding="ascii") as file:
                if any(line.split()[9] == inode for line in list(file)[1:]):
                    return "udp"
    except (OSError, IndexError):
        return "tcp"
    return "tcp"


def call_decision(policy: Policy, row: Row | None, nr: int) -> Decision:
    """Return what [calls] says of a call."""
    return decide_call(policy, row.name if row else nr)


def secret_at(policy: Policy, path: str) -> Secret | None:
    """Return the secret that is served at a path, if one is."""
    return next((secret for secret in policy.secrets if secret.path == path), None)


def owner_of(secret: Secret, process: tuple[int, int]) -> tuple[int, int]:
    """Return uid and gid of a secret's file: the policy's owner, else the process's; an unknown name raises KeyError."""
    if not secret.owner:
        return process
    if secret.owner.isdigit():
        return int(secret.owner), int(secret.owner)
    entry = pwd.getpwnam(secret.owner)
    return entry.pw_uid, entry.pw_gid
