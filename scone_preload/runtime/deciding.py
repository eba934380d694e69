"""What the policy says of a call that a shim asks about: refused with its reason, allowed for how much, or a secret.

Paths come absolute, but with links and ".."; they are followed here as the process would follow them, so that a link
can't lead past a rule. What else a decision holds for is told to the shim: a directory that is allowed as a whole, and
that holds no link or secret, needs no second question about what lies directly in it.
"""

import grp
import os
import pwd
import socket
from collections.abc import Collection, Sequence
from ipaddress import ip_address
from itertools import islice

from scone_preload.policy.calls import decides_paths
from scone_preload.policy.decide import decide_file
from scone_preload.policy.decision import Asked, Decision
from scone_preload.policy.image import access_word, decides_addresses
from scone_preload.policy.match import first_path_match, is_pattern
from scone_preload.policy.model import Policy, Secret
from scone_preload.policy.sockets import Socket, decide_bind, decide_connect
from scone_preload.policy.system import READABLE, WRITABLE
from scone_preload.runtime import wire
from scone_preload.runtime.following import followed, root_prefix
from scone_preload.spec.model import Call as Row

AT_SYMLINK_NOFOLLOW, AT_SYMLINK_FOLLOW, O_NOFOLLOW, O_EXCL, O_CREAT = 0x100, 0x400, 0o400000, 0o200, 0o100
NOFOLLOW_CALLS = frozenset({
    "lstat", "readlink", "readlinkat", "unlink", "unlinkat", "rename", "renameat", "renameat2", "symlink", "symlinkat",
    "link", "rmdir", "lchown", "mkdir", "mkdirat", "mknod", "mknodat", "lsetxattr", "lgetxattr", "llistxattr",
    "lremovexattr",
})  # fmt: skip
OPEN_FLAGS_ARG = {"open": 1, "openat": 2}
AT_FLAGS_ARG = {"newfstatat": 3, "statx": 2, "faccessat2": 3, "fchownat": 4, "utimensat": 3, "fchmodat2": 3,
                "setxattrat": 2, "getxattrat": 2, "listxattrat": 2, "removexattrat": 2, "file_getattr": 4,
                "file_setattr": 4}  # fmt: skip
LINKAT_FLAGS_ARG = 4
ENTRIES_MAX = 4096  # looked at for links
FREE_FAMILIES = (socket.AF_UNSPEC, socket.AF_NETLINK)  # no rule is about them: no data leaves by them
SENDS = frozenset({"sendto", "sendmsg", "sendmmsg"})


def open_flags(row: Row, message: wire.Call) -> int:
    """Return the flags of open(2) in this call, 0 where it has none."""
    if row.name == "openat2":
        return int.from_bytes(message.strings.get(2, b"")[:8], "little")
    return message.args[OPEN_FLAGS_ARG[row.name]] & 0xFFFFFFFF if row.name in OPEN_FLAGS_ARG else 0


def path_decisions(policy: Policy, row: Row, message: wire.Call, pid: int) -> list[tuple[str, Decision]]:
    """Return each path of the call with its links followed, and what [files], volumes and secrets say of it; nothing
    where it has none, or nobody decides."""
    if not decides_paths(policy):
        return []
    word = access_word(row.name, open_flags(row, message))
    own = {secret.path for secret in policy.secrets}
    return [(path, decide_file(policy, path, word)) for path in real_paths(row, message, pid, own)]


def real_paths(row: Row, message: wire.Call, pid: int, own: Collection[str] = ()) -> list[str]:
    """Return the paths of a call, as process `pid` sees them, links followed where the call follows them; `own` as for
    `followed`."""
    found = []
    for about in (wire.ABOUT_PATH, wire.ABOUT_SECOND):
        raw = message.strings.get(about)
        if raw is not None:
            last = follows_last(row, message, second=about == wire.ABOUT_SECOND)
            found.append(followed(os.fsdecode(raw), pid, last=last, tid=message.header.tid, own=own))
    return found


def follows_last(row: Row, message: wire.Call, *, second: bool = False) -> bool:
    """Does the call follow a link that its path (the second one: where it makes a name) ends in?"""
    if row.name in NOFOLLOW_CALLS or second:
        return False
    if row.name == "linkat":
        return bool(message.args[LINKAT_FLAGS_ARG] & AT_SYMLINK_FOLLOW)
    if row.name in ("open", "openat", "openat2"):
        flags = open_flags(row, message)
        return not (flags & O_NOFOLLOW or flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL)
    at = AT_FLAGS_ARG.get(row.name)
    return at is None or not message.args[at] & AT_SYMLINK_NOFOLLOW


def covers_directory(policy: Policy, path: str, real: str, word: str, pid: int) -> bool:
    """Is all that lies directly in the directory of `path` allowed for this access, and can no link there lead out?

    `path` is what the shim knows, `real` the same with its links followed: where they differ, only this path is known.
    """
    folder = path.rpartition("/")[0] or "/"
    if path != real or not _is_open(policy, folder, word) or root_prefix(pid):
        return False
    if any(secret.path.rpartition("/")[0] == folder for secret in policy.secrets):
        return False
    return not _may_lead_out(folder)


def _may_lead_out(folder: str) -> bool:
    """Whether a directory holds a link, or too much to tell; one that isn't there holds nothing."""
    if folder.startswith("/proc"):
        return True
    try:
        with os.scandir(folder) as entries:
            looked = [entry.is_symlink() for entry in islice(entries, ENTRIES_MAX + 1)]
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return len(looked) > ENTRIES_MAX or any(looked)


def _is_open(policy: Policy, folder: str, word: str) -> bool:
    files = policy.files
    if any(volume.path for volume in policy.volumes):
        return False
    if files.unlisted == "pass":
        return True
    lists = {"look": (*files.read, *files.write, *files.execute), "read": (*files.read, *files.write, *files.execute),
             "write": files.write}[word]  # fmt: skip
    if files.unlisted == "system":
        lists += WRITABLE if word == "write" else READABLE + WRITABLE
    whole = tuple(pattern for pattern in lists if pattern.endswith("/") and not is_pattern(pattern))
    return first_path_match(whole, folder) is not None


def address_decision(policy: Policy, row: Row, message: wire.Call, pid: int) -> Decision | None:
    """Return what [network] says of the call's address; None where it names none, or one of no network."""
    raw = message.strings.get(wire.ABOUT_ADDRESS)
    if raw is None or not decides_addresses(policy):
        return None
    family = int.from_bytes(raw[:2], "little")
    end = socket_of(raw, row, message, pid)
    if end is None:
        return None if family in FREE_FAMILIES or policy.network.unlisted == "pass" else _foreign(policy, row, family)
    return decide_bind(policy, end) if row.name == "bind" else decide_connect(policy, end)


def _foreign(policy: Policy, row: Row, family: int) -> Decision:
    verb = "listen" if row.name == "bind" else "connect"
    word = policy.network.unlisted
    remedy = f"no rule is about such sockets: only {policy.place('network.unlisted')} could say pass"
    return Asked(policy, f"{verb} by address family {family}").no(
        "network.unlisted", rule=f'network.unlisted = "{word}"', remedy=remedy
    )


def socket_of(raw: bytes, row: Row, message: wire.Call, pid: int) -> Socket | None:
    """Return the end that a call's socket address names; None for families that no rule is about."""
    family = int.from_bytes(raw[:2], "little")
    if family == socket.AF_UNSPEC and row.name in (*SENDS, "bind"):
        family = socket.AF_INET  # as the kernel takes it
    protocol = "udp" if message.is_datagram else "tcp"
    port = int.from_bytes(raw[2:4], "big")
    if family == socket.AF_INET and len(raw) >= 8:
        return Socket(protocol=protocol, address=str(ip_address(raw[4:8])), port=port)
    if family == socket.AF_INET6 and len(raw) >= 24:
        address = ip_address(raw[8:24])
        return Socket(protocol=protocol, address=str(getattr(address, "ipv4_mapped", None) or address), port=port)
    if family == socket.AF_UNIX and len(raw) > 2:
        return Socket(address=f"unix:{_unix_name(raw[2:], row, message, pid)}")
    return None


def _unix_name(name: bytes, row: Row, message: wire.Call, pid: int) -> str:
    if name[:1] == b"\0":
        return "@" + os.fsdecode(name[1:])
    path = os.fsdecode(name.split(b"\0")[0])
    return followed(path, pid, last=row.name != "bind", tid=message.header.tid) if path.startswith("/") else path


def secret_among(policy: Policy, paths: Sequence[str]) -> Secret | None:
    """Return the secret that is served at one of these paths, links followed, if one is."""
    return next((secret for secret in policy.secrets if secret.path in paths), None)


def owner_of(secret: Secret, process: tuple[int, int]) -> tuple[int, int]:
    """Return uid and gid of a secret's file: the policy's owner, else the process's; KeyError for an unknown name."""
    user, _, group = secret.owner.partition(":")
    if not user:
        return process
    if user.isdigit():
        uid, gid = int(user), int(user)
    else:
        entry = pwd.getpwnam(user)
        uid, gid = entry.pw_uid, entry.pw_gid
    if group:
        gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    return uid, gid
